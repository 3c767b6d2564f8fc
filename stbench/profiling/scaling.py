"""How a cost grows with one size: y = c * x^exponent, by least squares of ln y on ln x."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stbench.errors import StbenchError, unknown_name

FORMULA = "y = c * x^exponent, least squares of ln y on ln x"
AXES = ("frames", "resolution", "width", "batch")
# What constructors call the width of their tokens or first feature maps.
WIDTH_ARGUMENTS = ("hidden_size", "dim", "width", "model_channels", "channels", "base_channels")
DEPTH_ARGUMENT = "depth"  # what they call the number of their blocks


@dataclass(frozen=True)
class Scale:
    """One axis and the sizes to go through.

    Attributes:
        axis: "frames"; "resolution", the side of the latents; "width", of tokens or first feature maps; or "batch".
        values: rising sizes.
    """

    axis: str
    values: tuple[int, ...]


def parse_scale(text: str) -> Scale:
    """Read "frames=8,16,32".

    Raises:
        StbenchError: for an unknown axis, or sizes that are not at least two different positive integers.
    """
    axis, _, sizes = text.partition("=")
    if axis not in AXES:
        raise unknown_name("axis of --scale", axis, AXES)
    words = sizes.split(",")
    if not all(word.strip().isdecimal() and int(word) > 0 for word in words) or len(set(words)) < 2:
        raise StbenchError(f"--scale {text}: expected at least two different positive integers, e.g. {axis}=8,16,32")
    return Scale(axis, tuple(sorted({int(word) for word in words})))


def fit_exponent(sizes: Sequence[float], costs: Sequence[float]) -> float | None:
    """The exponent of `FORMULA`; None for fewer than two points."""
    if len(sizes) < 2:
        return None
    slope, _ = np.polyfit(np.log(sizes), np.log(costs), 1)
    return float(slope)

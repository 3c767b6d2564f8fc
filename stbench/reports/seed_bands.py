"""Curves of runs that differ in their seed alone, put together: their mean in a band from the lowest to the highest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from stbench.records.statistics import mean

BAND = "Lines are means over seeds, bands reach from the lowest to the highest seed."
SMOOTHED_POINTS = 200  # of a curve with a point at every step


@dataclass(frozen=True)
class Curve:
    """One run's values over training steps; `status` marks how it ended."""

    label: str
    steps: Sequence[float]
    values: Sequence[float]
    status: str = "finished"

    def smoothed(self) -> Curve:
        """The running median over a 25th of the curve, at a bounded number of its steps."""
        values = pd.Series(self.values, dtype=float)
        median = values.rolling(max(1, len(values) // 25), center=True, min_periods=1).median()
        places = np.unique(np.linspace(0, len(values) - 1, SMOOTHED_POINTS).astype(int))
        return Curve(self.label, [self.steps[i] for i in places], median.iloc[places].tolist(), self.status)


@dataclass(frozen=True)
class Band:
    """The curves of one configuration.

    Attributes:
        steps: every step at which any seed has a value, in order; the next four have an entry for each.
        mean: over the seeds that have a value there.
        low, high: the lowest and the highest of these.
        seeds: how many they are.
        ended: (step, value, status) of runs that did not finish, where they ended.
    """

    label: str
    steps: Sequence[float]
    mean: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]
    seeds: Sequence[int]
    ended: Sequence[tuple[float, float, str]]


def seed_bands(curves: Sequence[Curve]) -> list[Band]:
    """Put curves of one label together, in the order in which labels first appear."""
    by_label: dict[str, list[Curve]] = {}
    for curve in curves:
        by_label.setdefault(curve.label, []).append(curve)
    return [_band(label, of_label) for label, of_label in by_label.items()]


def _band(label: str, curves: Sequence[Curve]) -> Band:
    at: dict[float, list[float]] = {}
    for curve in curves:
        for step, value in zip(curve.steps, curve.values, strict=True):
            at.setdefault(step, []).append(value)
    steps = sorted(at)
    low, high = ([figure(at[step]) for step in steps] for figure in (min, max))
    ended = [(curve.steps[-1], curve.values[-1], curve.status) for curve in curves if curve.status != "finished"]
    return Band(label, steps, [mean(at[step]) for step in steps], low, high, [len(at[step]) for step in steps], ended)

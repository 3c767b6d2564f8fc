"""How the shapes of `Shapes` move, one function per class of motion.

A motion turns chance and time into poses, in unit coordinates (x to the right, y down) and frames; it knows nothing of
pixels. Where a shape drifts out of the frame, the drawing brings it back on the other side.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from stbench.data.synthetic.noise import Floats


class Draws(NamedTuple):
    """What chance decides about the motion of some videos' shapes; each (B,K,1), K shapes a video, in [0,1)."""

    speed: Floats
    along: Floats
    across: Floats
    phase: Floats
    turn: Floats


class Pose(NamedTuple):
    """Where shapes are; each (B,K,F): centre in unit coordinates, angle in radians, factor on the radius."""

    x: Floats
    y: Floats
    angle: Floats
    scale: Floats


def at_rest(draws: Draws, time: Floats) -> Pose:
    """Return shapes that stay where they are."""
    still = np.zeros_like(draws.phase * time)
    return Pose(still + 0.3 + 0.4 * draws.along, still + draws.across, still + 2 * np.pi * draws.phase, still + 1)


def _travelled(draws: Draws, time: Floats) -> Floats:
    """Return the way of a drifting shape: 0.06 to 0.09 widths a frame, about the middle when 8 frames are half over."""
    num_shapes = draws.along.shape[1]
    return 0.5 + 0.1 * num_shapes * (draws.along - 0.5) + (0.06 + 0.03 * draws.speed) * (time - 3.5)


def _right(draws: Draws, time: Floats) -> Pose:
    return at_rest(draws, time)._replace(x=_travelled(draws, time))


def _left(draws: Draws, time: Floats) -> Pose:
    return at_rest(draws, time)._replace(x=1 - _travelled(draws, time))


def _down(draws: Draws, time: Floats) -> Pose:
    pose = at_rest(draws, time)
    return pose._replace(x=pose.y, y=_travelled(draws, time))


def _up(draws: Draws, time: Floats) -> Pose:
    pose = at_rest(draws, time)
    return pose._replace(x=pose.y, y=1 - _travelled(draws, time))


def _reflect(way: Floats) -> Floats:
    """Fold a line into [0.2, 0.8], as walls do with the way of a ball."""
    return 0.2 + np.abs((way + 0.6) % 1.2 - 0.6)


def _bounce(draws: Draws, time: Floats) -> Pose:
    speed = 0.12 + 0.06 * draws.speed
    heading = np.pi * (0.2 + 0.1 * draws.along)
    x = _reflect(1.2 * draws.phase + speed * np.cos(heading) * time)
    y = _reflect(1.2 * draws.turn + speed * np.sin(heading) * time)
    return at_rest(draws, time)._replace(x=x, y=y)


def _direction(draws: Draws) -> Floats:
    """Return +1 (clockwise on the screen) or -1."""
    return np.where(draws.turn < 0.5, np.float32(1), np.float32(-1))


def _rotate(draws: Draws, time: Floats) -> Pose:
    pose = at_rest(draws, time)
    return pose._replace(angle=pose.angle + _direction(draws) * (0.16 + 0.08 * draws.speed) * time)


def _pulse(draws: Draws, time: Floats) -> Pose:
    angle = 2 * np.pi * draws.phase + (0.55 + 0.25 * draws.speed) * time
    return at_rest(draws, time)._replace(scale=1 + 0.4 * np.sin(angle))


def _orbit(draws: Draws, time: Floats) -> Pose:
    radius = 0.24 + 0.06 * draws.along
    angle = 2 * np.pi * draws.phase + _direction(draws) * (0.3 + 0.1 * draws.speed) * time
    return at_rest(draws, time)._replace(x=0.5 + radius * np.cos(angle), y=0.5 + radius * np.sin(angle))


MOTIONS: dict[str, Callable[[Draws, Floats], Pose]] = {
    "right": _right,
    "left": _left,
    "up": _up,
    "down": _down,
    "bounce": _bounce,
    "rotate": _rotate,
    "pulse": _pulse,
    "orbit": _orbit,
}

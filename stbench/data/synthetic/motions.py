"""How the shapes of `Shapes` move, by kinds of motion.

A motion turns chance and time into poses, in unit coordinates (x to the right, y down) and frames; it knows nothing of
pixels. Where a shape drifts out of the frame, the drawing brings it back on the other side.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from stbench.data.synthetic.noise import Floats

# Motions along an axis: whether that is y, and whether they go against it.
_STRAIGHT = {"right": (False, False), "left": (False, True), "up": (True, True), "down": (True, False)}
MOTIONS = (*_STRAIGHT, "bounce", "rotate", "pulse", "orbit")
MIDDLE_TIME = 3.5  # when 8 frames are half over


class Draws(NamedTuple):
    """What chance decides about the motion of the shapes: each (B,K,1) in [0,1), for B videos of K shapes."""

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


def move(kind: str, draws: Draws, time: Floats, middle_time: float = MIDDLE_TIME) -> Pose:
    """Return shapes that move as `kind` says, one of `MOTIONS`; `middle_time` is for those that go straight on."""
    pose = at_rest(draws, time)
    sense = np.where(draws.turn < 0.5, np.float32(1), np.float32(-1))  # +1 is clockwise on the screen
    if kind == "bounce":
        speed, heading = 0.12 + 0.06 * draws.speed, np.pi * (0.2 + 0.1 * draws.along)
        x = _reflect(1.2 * draws.phase + speed * np.cos(heading) * time)
        return pose._replace(x=x, y=_reflect(1.2 * draws.turn + speed * np.sin(heading) * time))
    if kind == "rotate":
        return pose._replace(angle=pose.angle + sense * (0.16 + 0.08 * draws.speed) * time)
    if kind == "pulse":
        swing = np.sin(2 * np.pi * draws.phase + (0.55 + 0.25 * draws.speed) * time)
        return pose._replace(scale=1 + 0.4 * swing)
    if kind == "orbit":
        radius = 0.24 + 0.06 * draws.along
        angle = 2 * np.pi * draws.phase + sense * (0.3 + 0.1 * draws.speed) * time
        return pose._replace(x=0.5 + radius * np.cos(angle), y=0.5 + radius * np.sin(angle))
    # The four others go straight on, 0.06 to 0.09 widths a frame, through about the middle.
    num_shapes = draws.along.shape[1]
    way = 0.5 + 0.1 * num_shapes * (draws.along - 0.5) + (0.06 + 0.03 * draws.speed) * (time - middle_time)
    upright, backwards = _STRAIGHT[kind]
    way = 1 - way if backwards else way
    return pose._replace(x=pose.y, y=way) if upright else pose._replace(x=way)


def _reflect(way: Floats) -> Floats:
    """Fold a straight way into [0.2, 0.8], as a ball is thrown back by walls."""
    return 0.2 + np.abs((way + 0.6) % 1.2 - 0.6)

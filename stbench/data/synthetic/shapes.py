"""Coloured shapes that move, drawn on demand, to try a backbone where no dataset has been downloaded.

A video is a function of (seed, index) and of time in frames, drawn in unit coordinates: x to the right and y down, the
frame is [0,1] x [0,1]. Frame f of a clip shows time f * frame_stride; a higher resolution shows the same, but sharper.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stbench.data.synthetic.base import COLOR_STREAM, SCENE_STREAM, SyntheticDataset
from stbench.data.synthetic.motions import MIDDLE_TIME, MOTIONS, Draws, Pose, at_rest, move
from stbench.data.synthetic.noise import Floats, fractal_noise, pixel_centres, smoothstep, uniform
from stbench.errors import StbenchError, check_whole, unknown_name


def _towards_sides(x: Floats, y: Floats, num_sides: int) -> list[Floats]:
    """Return how far points lie from the centre in the direction of each side of a regular polygon."""
    angles = [2 * np.pi * side / num_sides + np.pi / 2 for side in range(num_sides)]
    return [x * float(np.cos(angle)) + y * float(np.sin(angle)) for angle in angles]


def _star(x: Floats, y: Floats) -> Floats:
    """A pentagram: within at least four of its five lines."""
    largest, *others = _towards_sides(x, y, 5)
    second = np.full_like(largest, -np.inf)
    for side in others:
        second = np.maximum(second, np.minimum(largest, side))
        largest = np.maximum(largest, side)
    return 0.4 - second


# From coordinates in radii about the shape's centre to the distance to its outline, positive inside.
SHAPES: dict[str, Callable[[Floats, Floats], Floats]] = {
    "disc": lambda x, y: 1 - np.sqrt(x * x + y * y),
    "square": lambda x, y: 0.85 - np.maximum(np.abs(x), np.abs(y)),
    "triangle": lambda x, y: 0.6 - reduce(np.maximum, _towards_sides(x, y, 3)),
    "ring": lambda x, y: 0.25 - np.abs(np.sqrt(x * x + y * y) - 0.8),
    "star": _star,
}
ROUND_SHAPES = ("disc", "ring")
SYMMETRY = {"square": 4, "triangle": 3, "star": 5}  # how many turns in a full one show the same, for the others

COLORS: dict[str, tuple[float, float, float]] = {
    "red": (0.93, 0.20, 0.20),
    "green": (0.20, 0.80, 0.30),
    "blue": (0.22, 0.42, 0.98),
    "yellow": (0.98, 0.85, 0.15),
    "magenta": (0.90, 0.30, 0.85),
    "cyan": (0.20, 0.85, 0.90),
    "orange": (0.98, 0.55, 0.12),
    "white": (0.95, 0.95, 0.95),
}
PLAIN_BACKGROUND = np.array([0.10, 0.10, 0.13], dtype=np.float32).reshape(3, 1, 1, 1, 1)
BACKGROUNDS = ("textured", "plain")
_TEXTURE_OCTAVES = 5


def coverage(shape: str, x: Floats, y: Floats, radius: Floats, angle: Floats, image_size: int) -> Floats:
    """Return how much of each pixel a shape covers, in [0,1]; the arguments are broadcast against each other.

    Args:
        shape: one of `SHAPES`.
        x: from the shape's centre to the pixel's, to the right, in widths of a frame.
        y: the same, downwards.
        radius: in widths.
        angle: by which the shape is turned, in radians, clockwise on the screen.
        image_size: height and width of a frame, in pixels.
    """
    if shape not in ROUND_SHAPES:
        cos, sin = np.cos(angle), np.sin(angle)
        x, y = cos * x + sin * y, cos * y - sin * x
    inside = SHAPES[shape](x / radius, y / radius) * radius
    return np.clip(inside * image_size + 0.5, 0, 1)


class _Scene(NamedTuple):
    """The shapes of B videos of K shapes.

    Attributes:
        kind: (B,K), indices into the dataset's `shapes`.
        color: (B,K), indices into the dataset's `colors`.
        radius: (B,K), in widths of a frame.
        pose: where they are, (B,K,F) each.
    """

    kind: NDArray[np.int64]
    color: NDArray[np.int64]
    radius: Floats
    pose: Pose


@dataclass(eq=False, kw_only=True)
class Shapes(SyntheticDataset):
    """Coloured shapes that move; the class is the kind of motion.

    Attributes:
        num_shapes: shapes in a video, all with the same kind of motion.
        shapes: which shapes occur, names of `SHAPES`.
        motions: the classes in order, names of `MOTIONS`.
        colors: which colours occur, names of `COLORS`.
        background: one of `BACKGROUNDS`: fractal noise of two dark colours, at rest, or one dark colour.
        middle_time: when shapes that go straight on are about the middle, in frames. Half-way through a clip neither
            place nor time alone tells their class, only both together: the hardest to learn.
    """

    num_shapes: int = 3
    shapes: Sequence[str] = tuple(SHAPES)
    motions: Sequence[str] = tuple(MOTIONS)
    colors: Sequence[str] = tuple(COLORS)
    background: str = "textured"
    middle_time: float = MIDDLE_TIME

    def __post_init__(self) -> None:
        super().__post_init__()
        check_whole(1, "dataset.", num_shapes=self.num_shapes)
        self.shapes = _known_names("shapes", self.shapes, SHAPES)
        self.motions = self.class_names = _known_names("motions", self.motions, MOTIONS)
        self.colors = _known_names("colors", self.colors, COLORS)
        self.background = _known_names("background", [self.background], BACKGROUNDS)[0]
        if "rotate" in self.motions and set(self.shapes) <= set(ROUND_SHAPES):
            raise StbenchError(
                "dataset.motions: 'rotate' cannot be seen on a disc or ring: add a square to dataset.shapes"
            )

    @property
    def mean_radius(self) -> float:
        """Of the shapes while they do not pulse, in widths of a frame."""
        return 0.2 * self.num_shapes ** (-1 / 3)

    def content(self) -> object:
        """Return the arguments that decide what the videos show."""
        return {
            "generator": "shapes-1",
            "seed": self.seed,
            "length": self.length,
            "num_shapes": self.num_shapes,
            "shapes": self.shapes,
            "motions": self.class_names,
            "colors": self.colors,
            "background": self.background,
            "middle_time": self.middle_time,
        }

    def _draw(self, videos: NDArray[np.int64]) -> Floats:
        canvas = np.empty((3, len(videos), self.num_frames, self.image_size, self.image_size), dtype=np.float32)
        if self.background == "plain":
            canvas[:] = PLAIN_BACKGROUND
        else:
            # Two dark colours (3,B,1,1,1), mixed by noise that stands still (B,1,H,W).
            still = np.zeros((_TEXTURE_OCTAVES, len(videos), 1), dtype=np.float32)
            noise = smoothstep(2.2 * fractal_noise(self.seed, videos, self.image_size, still, still) - 0.6)
            colors = 0.05 + 0.2 * uniform(self.seed, videos, COLOR_STREAM, (2, 3, 1, 1, 1))
            first, second = colors.transpose(1, 2, 0, 3, 4, 5)
            canvas[:] = first + second * noise
        # The shapes, one over the other.
        scene = self._scene(videos)
        palette = np.array([COLORS[name] for name in self.colors], dtype=np.float32)
        for shape in range(self.num_shapes):
            covered = self._coverage(scene, shape)
            color = palette[scene.color[:, shape]]
            for channel in range(3):
                canvas[channel] += covered * (color[:, channel, None, None, None] - canvas[channel])
        return canvas

    def _scene(self, videos: NDArray[np.int64]) -> _Scene:
        """Draw by chance what the shapes of each video are, and move them as its class says."""
        B, K, labels = len(videos), self.num_shapes, self._labels(videos)
        chance = uniform(self.seed, videos, SCENE_STREAM, (K, 8))
        kind, color, radius, across, speed, along, phase, turn = np.moveaxis(chance, -1, 0)
        kinds = (kind * len(self.shapes)).astype(np.int64)
        if "rotate" in self.motions:  # there, only among shapes that are not round
            rows = labels == self.class_names.index("rotate")
            turnable = np.array([index for index, name in enumerate(self.shapes) if name not in ROUND_SHAPES])
            kinds[rows] = turnable[(kind[rows] * len(turnable)).astype(np.int64)]
        # Each shape keeps to a lane of its own; the first takes a random colour, the others the colours that follow it.
        across = 0.2 + 0.6 * (np.arange(K, dtype=np.float32) + across) / K
        first_color = (color[:, :1] * len(self.colors)).astype(np.int64)
        draws = Draws(*(value.reshape(B, K, 1) for value in (speed, along, across, phase, turn)))
        pose = at_rest(draws, self.time)
        for label in np.unique(labels):
            rows = labels == label
            moved = move(self.class_names[label], Draws(*(value[rows] for value in draws)), self.time, self.middle_time)
            for whole, part in zip(pose, moved, strict=True):
                whole[rows] = part
        return _Scene(
            kind=kinds,
            color=(first_color + np.arange(K)) % len(self.colors),
            radius=(0.18 + 0.04 * radius) * K ** (-1 / 3),
            pose=pose,
        )

    def _coverage(self, scene: _Scene, shape: int) -> Floats:
        """Return how much of each pixel a shape covers, (B,F,H,W) in [0,1]."""
        B, F, S, pose = len(scene.kind), self.num_frames, self.image_size, scene.pose
        radius = (scene.radius[:, shape, None] * pose.scale[:, shape])[..., None, None]
        angle = pose.angle[:, shape, :, None, None]
        pixels = pixel_centres(S)
        covered = np.empty((B, F, S, S), dtype=np.float32)
        for kind in np.unique(scene.kind[:, shape]):
            rows = scene.kind[:, shape] == kind
            # Every pixel's offset from the centre; what leaves the frame comes back on the other side.
            x = (pixels - pose.x[rows, shape, :, None])[..., None, :]
            y = (pixels - pose.y[rows, shape, :, None])[..., :, None]
            x, y = x - np.round(x), y - np.round(y)
            covered[rows] = coverage(self.shapes[kind], x, y, radius[rows], angle[rows], S)
        return covered


def _known_names(option: str, names: Sequence[str], known: Iterable[str]) -> tuple[str, ...]:
    """Return `names` as a tuple when each is known, none is there twice and there is at least one."""
    for name in names:
        if name not in known:
            raise unknown_name(f"name in dataset.{option}", name, known)
    if not names or len(set(names)) != len(names):
        raise StbenchError(f"dataset.{option}={list(names)}: expected at least one name, each once")
    return tuple(names)

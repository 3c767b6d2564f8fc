"""Where the shapes of `Shapes` are in every frame of a clip, whoever made it: found by fitting, with no network.

How far a pixel lies on the way from the background to a known colour says how much of it a shape of that colour covers.
The centre of what is covered is a circular mean, since frames wrap round; moved to the middle, it is held against drawn
shapes of every kind, size and angle.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stbench.data.synthetic.noise import Floats, pixel_centres
from stbench.data.synthetic.shapes import COLORS, SYMMETRY, Shapes, coverage

_BRIGHT = 0.6  # backgrounds have no channel above 0.5, colours one of at least 0.8
# How far a pixel may lie from the line between background and colour: half of it counts at 0.225. Two colours of the
# palette are at least 0.3 apart.
_OFF_COLOR = 0.15
_RADII = np.exp(np.arange(-12, 9) * 0.06)  # of drawn shapes, in mean radii: 0.49 to 1.62
_NUM_ANGLES = 12  # of drawn shapes, within a turn that shows the same


@dataclass(frozen=True, kw_only=True)
class Tracks:
    """What is seen of the K shapes of N clips in each of F frames, whatever they are.

    Attributes:
        x: of the centre, in widths of a frame, which wraps round, (N,K,F).
        y: the same, downwards.
        radius: in widths, (N,K,F).
        angle: in radians, (N,K,F); it repeats after a full turn divided by `symmetry`.
        symmetry: how many turns in a full one show the same, (N,K); 0 for round shapes.
        color: the colour of the first shape, (N,F), an index into the dataset's `colors`.
        overlap: with the drawn shape that fits best, of the kind that fits all frames best, (N,K,F), from 0 to 1.
        best_overlap: the same, of any kind.
    """

    x: Floats
    y: Floats
    radius: Floats
    angle: Floats
    symmetry: NDArray[np.int64]
    color: NDArray[np.int64]
    overlap: Floats
    best_overlap: Floats


class ShapeFinder:
    """Finds the shapes of clips that are, or ought to be, like those of a dataset.

    Args:
        dataset: says how large frames are, and which shapes, how many and which colours occur.
    """

    def __init__(self, dataset: Shapes) -> None:
        self.dataset = dataset
        self.symmetry = np.array([SYMMETRY.get(name, 0) for name in dataset.shapes])
        drawn = [self._draw(kind) for kind in range(len(dataset.shapes))]
        self.outlines = np.concatenate([outlines for outlines, _ in drawn])  # (D, H*W)
        self.kind = np.repeat(range(len(drawn)), [len(outlines) for outlines, _ in drawn])
        self.angle, self.radius = np.concatenate([poses for _, poses in drawn]).T  # (D,)

    def find(self, clips: NDArray[np.uint8]) -> Tracks:
        """Return what is seen in clips (N,F,H,W,3)."""
        covered, color = self._of_each_shape(self._covered(clips))  # (N,K,F,H,W), (N,F)
        x, y = _centre(covered)
        overlap = self._overlap(_centred(covered, x, y))  # (N,K,F,D)
        by_kind = np.stack([overlap[..., self.kind == kind].max(-1) for kind in range(len(self.symmetry))], axis=-1)
        kind = by_kind.sum(axis=2).argmax(-1)  # (N,K)
        overlap = np.where(self.kind == kind[..., None, None], overlap, -1)
        best = overlap.argmax(-1)
        return Tracks(
            x=x,
            y=y,
            radius=self.radius[best],
            angle=self.angle[best],
            symmetry=self.symmetry[kind],
            color=color,
            overlap=overlap.max(-1),
            best_overlap=by_kind.max(-1),
        )

    def _draw(self, kind: int) -> tuple[Floats, Floats]:
        """Outlines of one kind in the middle of a frame, (D,H*W), and the angle and radius of each, (D,2)."""
        turn = self.symmetry[kind]
        angles = np.arange(_NUM_ANGLES if turn else 1, dtype=np.float32) * 2 * np.pi / _NUM_ANGLES / max(turn, 1)
        radii = (_RADII * self.dataset.mean_radius).astype(np.float32)
        angle, radius = (each.reshape(-1, 1, 1) for each in np.meshgrid(angles, radii))
        offset = pixel_centres(self.dataset.image_size) - 0.5
        size = self.dataset.image_size
        covered = _surely(coverage(self.dataset.shapes[kind], offset, offset[:, None], radius, angle, size))
        outlines = _centred(covered, *_centre(covered))
        return outlines.reshape(len(covered), -1), np.concatenate([angle, radius], axis=1)[..., 0]

    def _covered(self, clips: NDArray[np.uint8]) -> Floats:
        """How much of each pixel each colour covers, (N,C,F,H,W) in [0,1]."""
        pixels = clips.astype(np.float32) / 255
        still = _background(pixels)
        parts = []
        for name in self.dataset.colors:
            way = np.array(COLORS[name], dtype=np.float32) - still
            share = ((pixels - still) * way).sum(-1) / np.maximum((way * way).sum(-1), 1e-6)
            off = np.linalg.norm(pixels - still - share[..., None] * way, axis=-1)
            parts.append(_surely(share) * np.clip(2 - off / _OFF_COLOR, 0, 1))
        return np.stack(parts, axis=1)

    def _of_each_shape(self, covered: Floats) -> tuple[Floats, NDArray[np.int64]]:
        """What each shape covers, (N,K,F,H,W), and the colour of the first: the others have those that follow it."""
        num_colors = covered.shape[1]
        following = (np.arange(num_colors)[:, None] + np.arange(self.dataset.num_shapes)) % num_colors  # (C,K)
        area = covered.sum(axis=(3, 4))  # (N,C,F)
        first = area[:, following].sum(axis=2).argmax(axis=1)  # (N,F)
        chosen = np.moveaxis(following[first], -1, 1)  # (N,K,F)
        return np.take_along_axis(covered, chosen[..., None, None], axis=1), first

    def _overlap(self, centred: Floats) -> Floats:
        """Overlap (N,K,F,D) of what is seen with each outline: 1 where they are equal, 0 where they share nothing."""
        seen = centred.reshape(*centred.shape[:3], -1)
        area = (seen * seen).sum(-1, keepdims=True) + (self.outlines * self.outlines).sum(-1)
        return 2 * (seen @ self.outlines.T) / area


def _background(pixels: Floats) -> Floats:
    """The background of clips (N,F,H,W,3), which stands still, (N,1,H,W,3).

    Each pixel as it is in its darkest frame, or where that is bright, too, as most of the clip is.
    """
    brightness = pixels.max(-1)
    darkest = brightness.argmin(axis=1)[:, None]
    still = np.take_along_axis(pixels, darkest[..., None], axis=1)
    bright = np.take_along_axis(brightness, darkest, axis=1) > _BRIGHT
    return np.where(bright[..., None], np.median(pixels, axis=(1, 2, 3), keepdims=True), still)


def _surely(share: Floats) -> Floats:
    """From a share to what is surely covered: nothing below a quarter, all above three quarters; half stays half."""
    return np.clip(2 * share - 0.5, 0, 1)


def _centre(covered: Floats) -> tuple[Floats, Floats]:
    """The circular mean (x, y) of what is covered, in widths, each (...) for (...,H,W)."""
    turns = np.exp(2j * np.pi * pixel_centres(covered.shape[-1])).astype(np.complex64)
    x, y = covered.sum(axis=-2) @ turns, covered.sum(axis=-1) @ turns
    return np.angle(x) / (2 * np.pi) % 1, np.angle(y) / (2 * np.pi) % 1


def _centred(covered: Floats, x: Floats, y: Floats) -> Floats:
    """What is covered, (...,H,W), moved so that (x, y) is in the middle, by a phase of its Fourier transform."""
    size = covered.shape[-1]
    across, down = np.fft.rfftfreq(size, 1 / size), np.fft.fftfreq(size, 1 / size)[:, None]
    move_x, move_y = (each[..., None, None] - 0.5 for each in (x, y))
    phase = np.exp(2j * np.pi * (move_x * across + move_y * down))
    return np.fft.irfft2(np.fft.rfft2(covered) * phase, s=(size, size)).astype(np.float32)

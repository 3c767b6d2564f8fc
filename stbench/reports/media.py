"""Moving samples: strips of clips side by side as animated, lossless WebP.

Every strip of a data set has the same columns: where the samples are class-conditional, a column is a class, so that
one looks down a column to compare backbones on the same thing.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stbench.storage.clips import Clips

COLUMNS = 8
CLIP_PIXELS = 80  # small clips are enlarged by the whole factor that brings their longer side nearest to this
LARGEST_CLIP_PIXELS = 128  # larger ones are reduced by a whole factor to at most this
GAP_PIXELS = 4
FRAME_MS = 125  # 8 frames a second: slow enough to see single frames go wrong


@dataclass(frozen=True)
class Strip:
    """A row of clips: an animated WebP, its first frame as PNG for those who want no motion, and its size in pixels."""

    webp: bytes
    still: bytes
    width: int
    height: int


def choose_columns(sets: Sequence[Clips]) -> list[int] | None:
    """Return the label of each column, or None where the clips are not class-conditional.

    Args:
        sets: at least one; the first decides which classes are shown, in the order of their labels.
    """
    if all(len(np.unique(clips.labels)) < 2 for clips in sets):
        return None
    labels = [int(label) for label in np.unique(sets[0].labels)]
    return [labels[column % len(labels)] for column in range(COLUMNS)]


def column_names(clips: Clips, columns: list[int] | None) -> list[str]:
    """Return the class name of each column; a label without a name stands for itself, no classes give no names."""
    names = clips.class_names
    return [names[label] if 0 <= label < len(names) else str(label) for label in columns or []]


def make_strip(clips: Clips, columns: list[int] | None) -> Strip:
    """Lay clips side by side, one a column; a column whose class has no clip left stays empty.

    Clips of which none is of these classes stand in their order, whatever they are.
    """
    if columns is None:
        return _encode(_join([_tile(clip) for clip in clips.clips[:COLUMNS]]))
    # In each column the next clip of its class that no column before it shows.
    left = {label: iter(clips.clips[clips.labels == label]) for label in set(columns)}
    if not np.isin(clips.labels, columns).any():
        left = dict.fromkeys(columns, iter(clips.clips))
    chosen = [next(left[label], None) for label in columns]
    return _encode(_join([None if clip is None else _tile(clip) for clip in chosen]))


def make_sheet(clips: Clips) -> Strip:
    """Lay all clips out in rows of `COLUMNS`, in their order; the last row may have empty places."""
    tiles: list[NDArray[np.uint8] | None] = [_tile(clip) for clip in clips.clips]
    tiles += [None] * (-len(tiles) % COLUMNS)
    rows = [_join(tiles[start : start + COLUMNS]) for start in range(0, len(tiles), COLUMNS)]
    gap = np.zeros((len(rows[0]), GAP_PIXELS, *rows[0].shape[2:]), np.uint8)
    spaced = [part for row in rows for part in (row, gap)][:-1]
    return _encode(np.concatenate(spaced, axis=1))


def _encode(frames: NDArray[np.uint8]) -> Strip:
    """Encode frames (F, H, W, 4) as a moving and a still picture."""
    images = [Image.fromarray(frame, "RGBA") for frame in frames]
    webp, still = io.BytesIO(), io.BytesIO()
    images[0].save(webp, "WEBP", save_all=True, append_images=images[1:], duration=FRAME_MS, loop=0, lossless=True)
    images[0].save(still, "PNG")
    return Strip(webp.getvalue(), still.getvalue(), *images[0].size)


def _tile(clip: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Scale a clip (F, H, W, 3) by a whole factor: pixels repeated, or averaged over blocks."""
    longer = max(clip.shape[1:3])
    if longer <= LARGEST_CLIP_PIXELS:
        factor = max(1, round(CLIP_PIXELS / longer))
        return clip.repeat(factor, axis=1).repeat(factor, axis=2)
    factor = -(-longer // LARGEST_CLIP_PIXELS)
    return np.stack([np.asarray(Image.fromarray(frame).reduce(factor)) for frame in clip])


def _join(tiles: Sequence[NDArray[np.uint8] | None]) -> NDArray[np.uint8]:
    """Join tiles (F, H, W, 3) into frames (F, H, W_all, 4) with transparent gaps."""
    filled = next(tile for tile in tiles if tile is not None)
    F, H, W, _ = filled.shape
    frames = np.zeros((F, H, len(tiles) * (W + GAP_PIXELS) - GAP_PIXELS, 4), np.uint8)
    for column, tile in enumerate(tiles):
        if tile is not None:
            left = column * (W + GAP_PIXELS)
            frames[:, :, left : left + W, :3] = tile
            frames[:, :, left : left + W, 3] = 255
    return frames

"""What all datasets of drawn videos share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from stbench.data.clips import Clip, ClipDataset
from stbench.data.synthetic.noise import Floats
from stbench.errors import StbenchError, check_whole

# Streams of random numbers; those of the noise's octaves lie between.
SCENE_STREAM = 0
COLOR_STREAM = 16
# The seed of the videos that nothing is trained on: the last of those that `noise.uniform` tells apart.
HELD_OUT_SEED = 2**48 - 1
FRAME_RATE = 8.0  # frames per second, as reports show them
# Clips are drawn a few at a time, so that the arrays at work stay within a core's cache.
_PIXELS_AT_ONCE = 2**17


@dataclass(eq=False, kw_only=True)
class SyntheticDataset(ClipDataset):
    """Videos drawn on demand. A video has no end, and every draw shows it from its beginning.

    `frame_stride` is by how many frames time advances between two frames of a clip; another `seed` gives other videos.

    Attributes:
        length: number of videos; the classes take turns.
        time: of each frame of a clip, in frames, float32 (F,).
    """

    seed_draws_videos = True

    length: int = 10000
    time: Floats = field(init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_whole(1, "dataset.", length=self.length)
        self.time = np.arange(self.num_frames, dtype=np.float32) * self.frame_stride

    @property
    def frame_rate(self) -> float:
        """Nominal: time is counted in frames."""
        return FRAME_RATE

    def __len__(self) -> int:
        return self.length

    def video_id(self, index: int) -> str:
        """Return the name of video `index`."""
        return f"{type(self).__name__.lower()}-{index:06d}"

    def clip(self, index: int, draw: int) -> Clip:
        """Return the clip of video `index`; every draw is the same."""
        frames, labels = self.batch([index], [draw])
        return Clip(frames[0], int(labels[0]), self.video_id(index))

    def batch(self, indices: Sequence[int], draws: Sequence[int]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Return uint8 (B,F,H,W,3) and labels int64 (B,), drawn for many videos at once; every draw is the same."""
        videos = np.asarray(indices, dtype=np.int64)
        for index in videos[(videos < 0) | (videos >= self.length)]:
            raise IndexError(f"video {index} of {self.length}")
        at_once = max(1, _PIXELS_AT_ONCE // (self.num_frames * self.image_size**2))
        parts = [self._draw(videos[first : first + at_once]) for first in range(0, len(videos), at_once)]
        return np.concatenate([to_uint8(part) for part in parts]), self._labels(videos)

    def at_stride(self, frame_stride: int) -> SyntheticDataset:
        """See `ClipDataset.at_stride`."""
        return replace(self, frame_stride=frame_stride)

    def validation_set(self, num_videos: int) -> SyntheticDataset:
        """Return the first `num_videos` of another seed, which are nobody's training videos, the classes in turn."""
        if self.seed == HELD_OUT_SEED:
            raise StbenchError(f"dataset.seed={self.seed} draws the videos that are held out for validation")
        return replace(self, seed=HELD_OUT_SEED, length=num_videos)

    def _labels(self, videos: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the classes in turn, so that they are equally frequent; 0 when unconditional."""
        return videos % max(1, self.num_classes)

    @abstractmethod
    def _draw(self, videos: NDArray[np.int64]) -> Floats:
        """Return float32 (3,B,F,H,W) in [0,1]."""


def to_uint8(canvas: Floats) -> NDArray[np.uint8]:
    """Turn (3,B,F,H,W) in [0,1] into uint8 (B,F,H,W,3); values outside are clamped, the nearest integer is taken."""
    rounded = (np.clip(canvas, 0, 1) * 255 + 0.5).astype(np.uint8)
    return np.ascontiguousarray(np.moveaxis(rounded, 0, -1))

"""What a dataset of clips is, and which frames of a video make a clip.

A clip is `num_frames` frames of one video, every `frame_stride`-th, from a start frame that is a hash of
(seed, video, draw). No worker's random state takes part, so a clip does not depend on the number of workers, the batch
size or the order of reading: unseeded clip offsets are one reason why published FVD figures could not be repeated
(universome/stylegan-v issue 23).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stbench.errors import StbenchError
from stbench.storage.hashing import hash_uint64, sha256_of


@dataclass(frozen=True)
class Clip:
    """Some frames of one video.

    Attributes:
        frames: uint8 (F,H,W,3), RGB.
        label: the class, 0 when the dataset is unconditional.
        video_id: the video that the frames come from.
    """

    frames: NDArray[np.uint8]
    label: int
    video_id: str


@dataclass(frozen=True)
class Dropped:
    """A video that was found but cannot be used, and why."""

    video_id: str
    reason: str


def clip_span(num_frames: int, frame_stride: int) -> int:
    """Return how many consecutive frames of a video a clip reaches over, its first and last included."""
    return (num_frames - 1) * frame_stride + 1


def clip_start(seed: int, video_id: str, draw: int, num_starts: int) -> int:
    """Return the start frame of a clip, in [0, num_starts).

    Args:
        seed: the dataset's seed.
        video_id: which video.
        draw: the how-manieth clip of that video this is, e.g. the epoch.
        num_starts: how many start frames leave room for a whole clip.
    """
    return hash_uint64(seed, video_id, draw) % num_starts


class ClipDataset(ABC):
    """Videos of which clips can be had; `len()` is the number of usable videos.

    Attributes:
        image_size: height and width of a frame, in pixels.
        num_frames: frames of a clip.
        frame_stride: distance between two frames of a clip, in frames of the video.
        seed: decides, with a clip's index and draw alone, which frames it holds.
        class_names: names of the labels 0, 1, ...; empty when the dataset is unconditional.
        dropped: videos that were found but cannot be used.
    """

    def __init__(self, image_size: int, num_frames: int, frame_stride: int, seed: int) -> None:
        sizes = {"image_size": image_size, "num_frames": num_frames, "frame_stride": frame_stride}
        for name, value in sizes.items():
            if value < 1:
                raise StbenchError(f"dataset.{name}={value}: expected at least 1")
        self.image_size = image_size
        self.num_frames = num_frames
        self.frame_stride = frame_stride
        self.seed = seed
        self.class_names: tuple[str, ...] = ()
        self.dropped: list[Dropped] = []

    @property
    def num_classes(self) -> int:
        """Number of classes, 0 when the dataset is unconditional."""
        return len(self.class_names)

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def video_id(self, index: int) -> str:
        """Return the name of video `index`, unique within the dataset."""

    @abstractmethod
    def clip(self, index: int, draw: int) -> Clip:
        """Return clip number `draw` of video `index`; the same arguments always give the same clip."""

    @abstractmethod
    def content(self) -> object:
        """Return, as something JSON can hold, what decides the videos' content; its hash is `manifest_sha256`."""

    def batch(self, indices: Sequence[int], draws: Sequence[int]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Return clip `draws[i]` of video `indices[i]` for every i: uint8 (B,F,H,W,3) and labels int64 (B,)."""
        clips = [self.clip(index, draw) for index, draw in zip(indices, draws, strict=True)]
        return np.stack([clip.frames for clip in clips]), np.array([clip.label for clip in clips], dtype=np.int64)

    def describe(self) -> dict[str, Any]:
        """Return what was found, what was dropped and why, and the content's hash; JSON-able."""
        return {
            "dataset": type(self).__name__,
            "num_videos": len(self),
            "num_classes": self.num_classes,
            "class_names": list(self.class_names),
            "num_dropped": len(self.dropped),
            "dropped_by_reason": count_reasons(self.dropped),
            "manifest_sha256": sha256_of(self.content()),
        }


def count_reasons(dropped: Iterable[Dropped]) -> dict[str, int]:
    """Return how many videos were dropped for each reason, most frequent first."""
    return dict(Counter(video.reason for video in dropped).most_common())


def summarise_reasons(reasons: Iterable[str]) -> str:
    """Write "3 truncated, 1 empty", the most frequent first; what a reason has in brackets is left out."""
    kinds = Counter(reason.partition(" (")[0] for reason in reasons)
    return ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())

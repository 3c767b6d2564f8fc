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
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from stbench.errors import StbenchError, check_whole
from stbench.progress import say
from stbench.records.protocol import FIRST_FRAME
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


@dataclass(frozen=True)
class Description:
    """What a dataset says of itself.

    Attributes:
        dataset: name of its class.
        num_videos: how many can be used.
        class_names: names of the labels 0, 1, ...
        dropped_by_reason: how many cannot be used for each reason, most frequent first.
        manifest_sha256: SHA-256 of what decides the videos' content.
        root: the folder where they lie, None when they are drawn.
        probe: how their frames were counted, None when they are drawn.
        resize: how their frames become squares, of `SPATIAL_RULES`; None when they are drawn as squares.
    """

    dataset: str
    num_videos: int
    class_names: tuple[str, ...]
    dropped_by_reason: dict[str, int]
    manifest_sha256: str
    root: str | None = None
    probe: str | None = None
    resize: str | None = None


@dataclass(frozen=True)
class ClipRule:
    """Which frames of a video make a clip, and how they become squares; the fields are named as in a protocol.

    Attributes:
        num_frames: frames of a clip.
        frame_stride: distance between two frames of a clip, in frames of the video.
        resolution: height and width of a frame, in pixels.
        spatial_rule: how a frame becomes a square, one of `SPATIAL_RULES`.
        offset_rule: where in the video the clip begins, one of `OFFSET_RULES`.
        clip_seed: seed of the start frame, where `offset_rule` draws it by a hash.
    """

    num_frames: int
    frame_stride: int
    resolution: int
    spatial_rule: str
    offset_rule: str
    clip_seed: int

    @property
    def span(self) -> int:
        """How many consecutive frames of a video a clip reaches over, its first and last included."""
        return (self.num_frames - 1) * self.frame_stride + 1

    @property
    def too_short(self) -> str:
        """The reason for which a video with fewer frames than `span` is dropped."""
        return f"shorter than a clip, {self.span} frames"

    def indices(self, video_id: str, num_frames: int, draw: int = 0) -> range | None:
        """Return which frames of a video make its clip, None when the video is too short.

        Args:
            video_id: which video.
            num_frames: how many frames the video has.
            draw: number of the clip among those of this video, from 0, e.g. the epoch.
        """
        num_starts = num_frames - self.span + 1
        if num_starts < 1:
            return None
        first = self.offset_rule == FIRST_FRAME
        start = 0 if first else clip_start(self.clip_seed, video_id, draw, num_starts)
        return range(start, start + self.span, self.frame_stride)


def clip_start(seed: int, video_id: str, draw: int, num_starts: int) -> int:
    """Return the start frame of a clip by a hash, in [0, num_starts).

    Args:
        seed: of the dataset or the protocol.
        video_id: which video.
        draw: number of the clip among those of this video, from 0.
        num_starts: how many start frames leave room for a whole clip.
    """
    return hash_uint64(seed, video_id, draw) % num_starts


@dataclass(eq=False)
class ClipDataset(ABC):
    """Videos from which clips can be taken; `len()` is the number of usable videos.

    Attributes:
        seed_draws_videos: whether another seed gives other videos, instead of other clips of the same ones.
        image_size: height and width of a frame, in pixels.
        num_frames: frames of a clip.
        frame_stride: distance between two frames of a clip, in frames of the video.
        seed: decides, together with a clip's index and draw, which frames the clip holds.
        class_names: names of the labels 0, 1, ...; empty when the dataset is unconditional.
        dropped: videos that were found but cannot be used.
        lost: videos that turned out to be unreadable while clips were read, and why.
    """

    seed_draws_videos: ClassVar[bool] = False

    image_size: int
    num_frames: int
    frame_stride: int
    seed: int = 0
    class_names: tuple[str, ...] = field(init=False, repr=False, default=())
    dropped: list[Dropped] = field(init=False, repr=False, default_factory=list)
    lost: dict[str, str] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        sizes = {name: getattr(self, name) for name in ("image_size", "num_frames", "frame_stride")}
        check_whole(1, "dataset.", **sizes)
        check_whole(0, "dataset.", seed=self.seed)

    @property
    def num_classes(self) -> int:
        """Number of classes, 0 when the dataset is unconditional."""
        return len(self.class_names)

    @property
    def frame_rate(self) -> float | None:
        """Frames per second of the videos; None where that is not known, or differs between them."""
        return None

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

    def fps_of(self, index: int, draw: int) -> float | None:
        """Return the frames per second of that clip, where a network is told them; None where it is not."""
        return None

    def at_stride(self, frame_stride: int) -> ClipDataset:
        """Return the same videos, at least, read at another stride.

        Raises:
            StbenchError: an impossible stride, no video is long enough, or this is not to be had.
        """
        raise StbenchError(f"{type(self).__name__} is read at one stride: it has no at_stride of its own")

    def validation_set(self, num_videos: int) -> ClipDataset:
        """Return videos that are never trained on: the same whatever `seed` is, and `num_videos` where one may choose.

        Raises:
            StbenchError: there are none, and why.
        """
        raise StbenchError(
            f"{type(self).__name__} holds no videos out of training: it has no validation_set of its own"
        )

    def lose(self, video: Dropped) -> None:
        """Note a video that was found and turns out, while clips are read, not to be readable; said once.

        Raises:
            StbenchError: so many that the dataset is no longer what its name says.
        """
        if video.video_id not in self.lost:
            self.lost[video.video_id] = video.reason
            say(f"left out: {video.video_id}: {video.reason}")

    def batch(self, indices: Sequence[int], draws: Sequence[int]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Return clip `draws[i]` of video `indices[i]` for every i: uint8 (B,F,H,W,3) and labels int64 (B,).

        Raises:
            StbenchError: what `clip` returned is none; says of which video.
        """
        clips = [self._checked_clip(index, draw) for index, draw in zip(indices, draws, strict=True)]
        frames = np.array([clip.frames for clip in clips], dtype=np.uint8).reshape(-1, *self._shape)
        return frames, np.array([clip.label for clip in clips], dtype=np.int64)

    @property
    def _shape(self) -> tuple[int, int, int, int]:
        """(F, H, W, 3) of the frames of a clip."""
        return self.num_frames, self.image_size, self.image_size, 3

    def _checked_clip(self, index: int, draw: int) -> Clip:
        """A clip, seen to be one: NumPy would make some array of anything."""
        clip, where = self.clip(index, draw), f"{type(self).__name__}: video {self.video_id(index)!r}"
        if not isinstance(clip, Clip):
            raise StbenchError(f"{where}: expected a Clip, got {type(clip).__name__}")
        frames, last = np.asarray(clip.frames), max(0, self.num_classes - 1)
        if (frames.dtype, frames.shape) != (np.uint8, self._shape):
            raise StbenchError(f"{where}: expected frames uint8 {self._shape}, got {frames.dtype} {frames.shape}")
        if not 0 <= clip.label <= last:
            raise StbenchError(f"{where}: label {clip.label}: expected 0 to {last}")
        return clip

    def describe(self) -> Description:
        """Return what was found, what was dropped and why, and the content's hash.

        Raises:
            StbenchError: `content` is nothing that JSON can hold.
        """
        try:
            manifest_sha256 = sha256_of(self.content())
        except (TypeError, ValueError) as error:
            raise StbenchError(f"{type(self).__name__}: content() is nothing that JSON can hold: {error}") from error
        return Description(
            dataset=type(self).__name__,
            num_videos=len(self),
            class_names=self.class_names,
            dropped_by_reason=count_reasons(self.dropped),
            manifest_sha256=manifest_sha256,
        )


def count_reasons(dropped: Iterable[Dropped]) -> dict[str, int]:
    """Return how many videos were dropped for each reason, most frequent first."""
    return dict(Counter(video.reason for video in dropped).most_common())


def summarise_reasons(reasons: Iterable[str]) -> str:
    """Write "3 truncated, 1 empty", the most frequent first; a reason's details, which stand in brackets, are cut."""
    kinds = Counter(reason.partition(" (")[0] for reason in reasons)
    return ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())

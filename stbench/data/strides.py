"""Videos read at several strides, so that their clips have several frame rates."""

from __future__ import annotations

from collections.abc import Sequence

from stbench.data.clips import Clip, ClipDataset, Dropped
from stbench.errors import StbenchError
from stbench.storage.hashing import hash_uint64


class MixedStrides(ClipDataset):
    """The videos of a dataset, of which every clip has one of several strides, and a network is told its frame rate.

    Which stride that is, is a hash of (seed, video, draw), as its start frame is. Videos that are too short for one of
    the strides are left out: each stride shows the same ones.

    Args:
        dataset: the videos; what it holds out of training stays out.
        frame_strides: those that clips may have.

    Attributes:
        fps: frames per second of the clips of `dataset`, which are at its own stride.

    Raises:
        StbenchError: the frame rate of the videos is not known, a stride is impossible, or no video is long enough.
    """

    def __init__(self, dataset: ClipDataset, frame_strides: Sequence[int]) -> None:
        super().__init__(dataset.image_size, dataset.num_frames, dataset.frame_stride, dataset.seed)
        rate = dataset.frame_rate
        if rate is None:
            raise StbenchError(f"{type(dataset).__name__} does not know one frame rate of all its videos")
        if not frame_strides:
            raise StbenchError("expected at least one stride")
        self.dataset, self.frame_strides, self._frame_rate = dataset, tuple(frame_strides), rate
        self.fps = rate / dataset.frame_stride
        self.class_names, self.lost = dataset.class_names, dataset.lost
        self._readings = [dataset.at_stride(stride) for stride in frame_strides]
        self._indices = [{each.video_id(index): index for index in range(len(each))} for each in self._readings]
        videos = [dataset.video_id(index) for index in range(len(dataset))]
        self._videos = [video for video in videos if all(video in indices for indices in self._indices)]
        if not self._videos:
            raise StbenchError(f"none of {len(videos)} videos is long enough for all strides")
        reason = f"shorter than a clip of train.frame_strides={list(frame_strides)}"
        short = [Dropped(video, reason) for video in sorted(set(videos) - set(self._videos))]
        self.dropped = [*dataset.dropped, *short]

    @property
    def frame_rate(self) -> float:
        """Frames per second of the videos."""
        return self._frame_rate

    def __len__(self) -> int:
        return len(self._videos)

    def video_id(self, index: int) -> str:
        """Return the name of video `index`."""
        return self._videos[index]

    def clip(self, index: int, draw: int) -> Clip:
        """Return clip number `draw` of video `index` at the stride that falls to it."""
        choice = self._choice(index, draw)
        return self._readings[choice].clip(self._indices[choice][self.video_id(index)], draw)

    def fps_of(self, index: int, draw: int) -> float:
        """Return the frames per second of that clip."""
        return self.frame_rate / self.frame_strides[self._choice(index, draw)]

    def content(self) -> object:
        """Return what decides the videos' content: the dataset's."""
        return self.dataset.content()

    def lose(self, video: Dropped) -> None:
        """Note it where the videos come from."""
        self.dataset.lose(video)

    def _choice(self, index: int, draw: int) -> int:
        """Which of the strides a clip has."""
        return hash_uint64("frame stride", self.seed, self.video_id(index), draw) % len(self.frame_strides)

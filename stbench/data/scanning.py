"""Videos in a folder: which of them can be used, and which are left out and why.

The rules are the same for every layout. The folder is searched in a fixed order. A video shorter than a clip is left
out and listed; the frame stride is never shrunk to make it fit. A video that cannot be read is left out and listed too,
and when too many cannot be read, nothing runs: a dataset that lacks a tenth of its videos gives another score under the
same name. Videos are held out of training where `held_out` asks for it, and chosen by a hash of their names.
"""

from __future__ import annotations

import copy
import os
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from typing import ClassVar

from rich.console import Console
from rich.progress import track

from stbench.data.clips import Clip, ClipDataset, ClipRule, Description, Dropped, count_reasons
from stbench.data.spatial import DEFAULT_SPATIAL_RULE, check_spatial_rule
from stbench.data.video import (
    MissingFramesError,
    UnreadableVideoError,
    count_frames,
    frame_rate,
    image_files,
    is_image,
    is_video,
    read_frames,
)
from stbench.errors import StbenchError, check_whole, unknown_name
from stbench.records.protocol import HASHED_OFFSET
from stbench.storage.hashing import hash_uint64, sampled_sha256, sha256_of

_ARCHIVE_SUFFIXES = (".rar", ".zip", ".tar", ".gz", ".tgz", ".7z")
_PROBES = ("metadata", "decode")
_PROGRESS_FROM_VIDEOS = 500
VALIDATION_SEED = 0  # of the frames that clips of a validation set take


@dataclass(frozen=True)
class Video:
    """A video that was found in a folder: a file, or a folder of images.

    Attributes:
        video_id: its path below the root, with forward slashes.
        path: where it lies.
        label: its class.
        size_bytes: of the file, or of all images together; 0 when it is not there.
        num_frames: how many frames it has; 0 when it cannot be read.
        sample_sha256: of some of its bytes, see `manifest`; empty when it cannot be read.
        fault: why it cannot be read, None when it can.
    """

    video_id: str
    path: Path
    label: int
    size_bytes: int
    num_frames: int
    sample_sha256: str = ""
    fault: str | None = None


def manifest(videos: Iterable[Video]) -> list[list[str | int]]:
    """Return `[video_id, size_bytes, num_frames, sample_sha256]` of every video, sorted by `video_id`.

    These identify a dataset as one SHA-256. Not all bytes are hashed, because that would read hundreds of gigabytes
    before the first step: of a video file up to 1 MiB, and nine pieces of a larger one (`sampled_sha256`); of a folder
    of images the names and sizes of all, and as much of the first, the middle and the last. So a copy that was cut,
    re-encoded, resized or is incomplete is another dataset, and that is what made published scores of "the same"
    dataset differ (Vchitect/Latte issue 80: FVD 233.66 on one copy of SkyTimelapse, 49.99 on another). Pixels painted
    over in between, with no byte more or less, are not seen.
    """
    return sorted([video.video_id, video.size_bytes, video.num_frames, video.sample_sha256] for video in videos)


@dataclass(eq=False, kw_only=True)
class FolderDataset(ClipDataset):
    """Clips from the videos below a folder; each subclass knows one layout.

    Attributes:
        root: the folder.
        max_broken: fraction of the videos that may be unreadable before nothing runs.
        probe: how frames are counted: "metadata" (what the container declares, fast) or "decode" (every frame, exact).
        spatial_rule: how frames become squares, one of `SPATIAL_RULES`.
        held_out: how many of the videos are kept from training, as a validation set.
        folder: `root` as a path that is known to be a folder.
        videos: all that were found there, in the order of `_find`; looked at once, and shared by `with_reading`.
        rule: which frames of a video make a clip.

    Raises:
        StbenchError: no root, another layout, too many unreadable videos, or none that is long enough.
    """

    name: ClassVar[str]
    expected: ClassVar[str]
    obtain: ClassVar[str]

    root: str | None = None
    max_broken: float = 0.05
    probe: str = "metadata"
    spatial_rule: str = DEFAULT_SPATIAL_RULE
    held_out: int = 0
    folder: Path = field(init=False, repr=False)
    videos: tuple[Video, ...] = field(init=False, repr=False)
    rule: ClipRule = field(init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_spatial_rule(self.spatial_rule, "dataset.spatial_rule")
        check_whole(0, "dataset.", held_out=self.held_out)
        if self.probe not in _PROBES:
            raise unknown_name("dataset.probe", self.probe, _PROBES)
        if self.root is None:
            raise StbenchError(
                f"{self.name} needs its folder, dataset.root=...: expected {self.expected}; get it from {self.obtain}"
            )
        self.folder = Path(self.root).expanduser()
        if not self.folder.is_dir():
            what = "is not a folder" if self.folder.exists() else "does not exist"
            raise StbenchError(f"dataset.root={self.root} {what}: {self.name} expects {self.expected}")
        # Find the videos, and look at each; when there are many, with a progress bar on standard error.
        found = self._find()
        if not found:
            raise self.wrong_layout()
        one_by_one: Iterable[tuple[Path, int]] = found
        if len(found) >= _PROGRESS_FROM_VIDEOS:
            one_by_one = track(found, description=f"scanning {self.name}", console=Console(stderr=True))
        self.videos = tuple(examine(path, self.id_of(path), label, self.probe) for path, label in one_by_one)
        self._choose_videos()

    def _choose_videos(self) -> None:
        """Sort the videos that were found into those of which clips can be taken and those that are dropped."""
        self.rule = ClipRule(
            num_frames=self.num_frames,
            frame_stride=self.frame_stride,
            resolution=self.image_size,
            spatial_rule=self.spatial_rule,
            offset_rule=HASHED_OFFSET,
            clip_seed=self.seed,
        )
        broken = [Dropped(video.video_id, video.fault) for video in self.videos if video.fault is not None]
        self._check_broken(broken)
        readable = [video for video in self.videos if video.fault is None]
        self._usable = [video for video in readable if video.num_frames >= self.rule.span]
        short = [video for video in readable if video.num_frames < self.rule.span]
        self.dropped = [Dropped(video.video_id, self.rule.too_short) for video in short] + broken
        if not self._usable:
            reasons = ", ".join(f"{count} {reason}" for reason, count in count_reasons(self.dropped).items())
            raise StbenchError(
                f"dataset.root={self.folder}: none of {len(self.videos)} videos can be used: {reasons} "
                f"(dataset.num_frames={self.num_frames}, dataset.frame_stride={self.frame_stride})"
            )
        self._hold_out()

    def _hold_out(self) -> None:
        """Take the videos of the validation set from those to train on."""
        if self.held_out >= len(self._usable):
            raise StbenchError(
                f"dataset.held_out={self.held_out} leaves nothing to train on: {len(self._usable)} videos can be used"
            )
        ranked = sorted(self._usable, key=lambda video: hash_uint64("held out", video.video_id))
        self._held_out = tuple(ranked[: self.held_out])
        kept = set(ranked[self.held_out :])
        self._usable = [video for video in self._usable if video in kept]

    def _check_broken(self, broken: Sequence[Dropped]) -> None:
        """Refuse a dataset of which too much cannot be read."""
        if len(broken) > self.max_broken * len(self.videos):
            first = ", ".join(f"{video.video_id} ({video.reason})" for video in broken[:3])
            raise StbenchError(
                f"dataset.root={self.folder}: {len(broken)} of {len(self.videos)} videos cannot be read, more than "
                f"dataset.max_broken={self.max_broken} allows: {first}{', ...' if len(broken) > 3 else ''}"
            )

    def lose(self, video: Dropped) -> None:
        """Note it, and refuse to go on when more are lost than `max_broken` allows."""
        super().lose(video)
        broken = [known for known in self.dropped if known.reason != self.rule.too_short]
        self._check_broken([*broken, *(Dropped(*each) for each in self.lost.items())])

    def with_reading(self, *, frame_stride: int, spatial_rule: str, seed: int, held_out: int = 0) -> FolderDataset:
        """Return the same videos read otherwise, without looking at them again; this dataset when nothing would differ.

        Raises:
            StbenchError: an impossible stride or rule, or no video is long enough for such a clip.
        """
        own = (self.frame_stride, self.spatial_rule, self.seed, self.held_out)
        if (frame_stride, spatial_rule, seed, held_out) == own:
            return self
        other = copy.copy(self)
        other.frame_stride, other.seed, other.held_out = frame_stride, seed, held_out
        other.spatial_rule = check_spatial_rule(spatial_rule, "dataset.spatial_rule")
        ClipDataset.__post_init__(other)
        other._choose_videos()
        return other

    @property
    def frame_rate(self) -> float | None:
        """That of the files, where all have the same; folders of images have none."""
        rates = {frame_rate(video.path) for video in self._usable}
        return rates.pop() if len(rates) == 1 else None

    def at_stride(self, frame_stride: int) -> FolderDataset:
        """See `ClipDataset.at_stride`; the videos that are held out of training are among them."""
        return self.with_reading(frame_stride=frame_stride, spatial_rule=self.spatial_rule, seed=self.seed)

    def validation_set(self, num_videos: int) -> FolderDataset:
        """Return the videos that `held_out` keeps from training, or else those of the official test split.

        Raises:
            StbenchError: nothing is held out and there is no such split, or it cannot be used.
        """
        if not self.held_out:
            return self._test_split()
        other = copy.copy(self)
        other.videos, other.held_out, other.seed = self._held_out, 0, VALIDATION_SEED
        other._choose_videos()
        return other

    def _test_split(self) -> FolderDataset:
        """The official test split where this is the training split; layouts that have one say which."""
        raise StbenchError(
            f"no videos of {self.name} are held out of training: dataset.held_out=... keeps that many from it"
        )

    def __len__(self) -> int:
        return len(self._usable)

    def video_id(self, index: int) -> str:
        """Return the path of video `index` below the root, with forward slashes."""
        return self._usable[index].video_id

    def clip(self, index: int, draw: int) -> Clip:
        """Return clip number `draw` of video `index`, from a start frame that is a hash of (seed, video, draw).

        Raises:
            UnreadableVideoError: the video cannot be decoded after all; it is never replaced by another here.
        """
        video, rule = self._usable[index], self.rule
        indices = rule.indices(video.video_id, video.num_frames, draw)
        assert indices is not None  # only videos that are long enough were chosen
        try:
            frames = read_frames(video.path, indices, rule.resolution, rule.spatial_rule)
        except MissingFramesError as error:
            hint = "dataset.probe=decode counts the frames that really are"
            reason = f"{error.reason}, though {video.num_frames} frames are declared: {hint}"
            raise UnreadableVideoError(video.path, reason) from error
        return Clip(frames, video.label, video.video_id)

    def content(self) -> object:
        """Return path, size and number of frames of every video found, the dropped ones included."""
        return manifest(self.videos)

    def describe(self) -> Description:
        """Return what was found, what was dropped and why, how frames are resized, and the content's hash."""
        return replace(super().describe(), root=str(self.folder), probe=self.probe, resize=self.spatial_rule)

    def id_of(self, path: Path) -> str:
        """Return the name of the video at `path`: the path below the root, with forward slashes."""
        return readable(path.relative_to(self.folder))

    def wrong_layout(self, advice: str = "") -> StbenchError:
        """Build the error that says what lies directly in the folder, what was expected, and what to do about it."""
        paths = [path for path in sorted(self.folder.iterdir()) if not path.name.startswith(".")]
        kinds = {
            "folder": [path for path in paths if path.is_dir()],
            "video": [path for path in paths if is_video(path)],
            "image": [path for path in paths if is_image(path)],
            "archive": [path for path in paths if path.suffix.lower() in _ARCHIVE_SUFFIXES],
        }
        counted = []  # such as "1 folder (sky_train)" and "101 videos (a.avi, b.avi, c.avi, ...)"
        for kind, some in kinds.items():
            names = [path.name for path in some[:3]] + ["..."] * (len(some) > 3)
            if some:
                counted.append(f"{len(some)} {kind}{'s' * (len(some) > 1)} ({', '.join(names)})")
        found = " and ".join(counted) or (f"only {paths[0].name}" if paths else "an empty folder")
        return StbenchError(
            f"dataset.root={self.folder}: found {found}; {self.name} expects {self.expected}{advice and '; '}{advice}"
        )

    @abstractmethod
    def _find(self) -> list[tuple[Path, int]]:
        """Return path and label of every video in a fixed order, and set `class_names`; [] when there are none."""


def examine(path: Path, video_id: str, label: int, probe: str) -> Video:
    """Look at one video: its size, frames and some of its bytes, or why it cannot be read; arguments as in `Video`."""
    num_frames, sample, fault = 0, "", None
    try:
        num_frames = count_frames(path, probe)
        sample = _sample_sha256(path)
    except UnreadableVideoError as error:
        fault = error.reason
    if path.is_dir():
        size_bytes = sum(file.stat().st_size for file in path.iterdir() if is_image(file))
    else:
        size_bytes = path.stat().st_size if path.exists() else 0
    return Video(video_id, path, label, size_bytes, num_frames, sample, fault)


def _sample_sha256(path: Path) -> str:
    """SHA-256 of some bytes of a video, see `manifest`."""
    try:
        if not path.is_dir():
            return sampled_sha256(path)
        images = image_files(path)
        listed = [[image.name, image.stat().st_size] for image in images]
        return sha256_of([listed, *(sampled_sha256(images[at]) for at in (0, len(images) // 2, -1))])
    except OSError as error:
        raise UnreadableVideoError(path, f"unreadable ({error.strerror})") from error


def folders_in(folder: Path) -> list[Path]:
    """Return the folders directly in `folder`, sorted, hidden ones left out."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith((".", "__MACOSX")))


def files_below(root: Path) -> Iterator[Path]:
    """Yield every file below `root` in sorted order, hidden ones left out; links to folders are followed.

    Raises:
        StbenchError: a folder cannot be listed, so that nobody knows what is missing.
    """
    return _files_below(root, ())


def _files_below(folder: Path, above: tuple[Path, ...]) -> Iterator[Path]:
    real = folder.resolve()
    if real in above:
        return  # a link to a folder that it lies in
    try:
        with os.scandir(folder) as entries:
            shown = [entry for entry in entries if not entry.name.startswith((".", "__MACOSX"))]
            names = {is_folder: sorted(e.name for e in shown if e.is_dir() == is_folder) for is_folder in (False, True)}
    except OSError as error:
        raise StbenchError(f"{folder} cannot be listed: {error.strerror}") from error
    yield from (folder / name for name in names[False])
    for name in names[True]:
        yield from _files_below(folder / name, (*above, real))


def readable(path: PurePath) -> str:
    """Return a path as text with forward slashes; bytes of names that are not UTF-8 stand as \\xe9, for instance."""
    return os.fsencode(path.as_posix()).decode("utf-8", "backslashreplace")

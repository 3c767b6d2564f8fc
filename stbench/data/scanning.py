"""Videos in a folder: which of them can be used, and which are left out and why.

The rules are the same for every layout. The folder is searched in a fixed order. A video shorter than a clip is left
out and listed; the frame stride is never shrunk to make it fit. A video that cannot be read is left out and listed too,
and when there are too many of them nothing runs: a dataset without its tenth part gives another score under its name.
"""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

from stbench.data.clips import Clip, ClipDataset, Dropped, clip_span, clip_start, count_reasons
from stbench.data.spatial import check_spatial_rule
from stbench.data.video import (
    MissingFramesError,
    UnreadableVideoError,
    declared_num_frames,
    decodable_num_frames,
    is_image,
    is_video,
    read_frames,
)
from stbench.errors import StbenchError, unknown_name

_ARCHIVE_SUFFIXES = (".rar", ".zip", ".tar", ".gz", ".tgz", ".7z")
_PROBES = ("metadata", "decode")
_PROGRESS_FROM_VIDEOS = 500


@dataclass(frozen=True)
class Video:
    """A video found in a folder: a file, or a folder of images."""

    path: Path
    label: int


class FolderDataset(ClipDataset):
    """Clips from the videos below a folder.

    Args:
        image_size: height and width that frames are brought to, in pixels.
        num_frames: frames of a clip.
        frame_stride: distance between two frames of a clip, in frames of the video.
        seed: decides where in a video a clip starts.
        root: the folder.
        max_broken: fraction of the videos that may be unreadable before nothing runs.
        probe: how frames are counted: "metadata" (the container's word, fast) or "decode" (every frame, exact).
        spatial_rule: how frames become squares, of `SPATIAL_RULES`.

    Raises:
        StbenchError: no root, another layout, too many unreadable videos, or none that is long enough.
    """

    name: str
    expected: str
    obtain: str

    def __init__(
        self,
        image_size: int,
        num_frames: int,
        frame_stride: int,
        seed: int,
        root: str | None,
        max_broken: float,
        probe: str,
        spatial_rule: str,
    ) -> None:
        super().__init__(image_size, num_frames, frame_stride, seed)
        self.spatial_rule = check_spatial_rule(spatial_rule, "dataset.spatial_rule")
        if probe not in _PROBES:
            raise unknown_name("dataset.probe", probe, _PROBES)
        self.root = self._checked_root(root)
        self.probe = probe
        self._videos: list[Video] = []
        self._num_frames: list[int] = []
        self._entries: list[ManifestEntry] = []
        found = self._find()
        if not found:
            raise self.wrong_layout()
        broken = self._scan(found)
        self._refuse_broken(broken, max_broken)
        self._refuse_empty()

    def __len__(self) -> int:
        return len(self._videos)

    def video_id(self, index: int) -> str:
        """Return the path of video `index` below the root, with forward slashes."""
        return self.id_of(self._videos[index].path)

    def clip(self, index: int, draw: int) -> Clip:
        """Return clip number `draw` of video `index`, from a start frame that is a hash of (seed, video, draw).

        Raises:
            StbenchError: the video cannot be decoded after all; it is never replaced by another.
        """
        video, video_id = self._videos[index], self.video_id(index)
        num_starts = self._num_frames[index] - clip_span(self.num_frames, self.frame_stride) + 1
        start = clip_start(self.seed, video_id, draw, num_starts)
        indices = range(start, start + self.num_frames * self.frame_stride, self.frame_stride)
        try:
            return Clip(read_frames(video.path, indices, self.image_size, self.spatial_rule), video.label, video_id)
        except MissingFramesError as error:
            hint = "dataset.probe=decode counts the frames that really are"
            raise StbenchError(f"{error}, though {self._num_frames[index]} frames are declared: {hint}") from error

    def content(self) -> object:
        """Return path, size and number of frames of every video found, the dropped ones included."""
        return manifest_rows(self._entries)

    def describe(self) -> dict[str, Any]:
        """Return what was found, what was dropped and why, how frames are resized, and the content's hash."""
        return {**super().describe(), "root": str(self.root), "probe": self.probe, "resize": self.spatial_rule}

    def id_of(self, path: Path) -> str:
        """Return the name of the video at `path`: the path below the root, with forward slashes."""
        return path.relative_to(self.root).as_posix()

    def wrong_layout(self, advice: str = "") -> StbenchError:
        """Build the error that says what was found, what was expected, and what to do about it."""
        found, expected = _what_is_in(self.root), f"{self.name} expects {self.expected}"
        return StbenchError(f"dataset.root={self.root}: found {found}; {expected}{advice and '; '}{advice}")

    @abstractmethod
    def _find(self) -> list[Video]:
        """Return the videos in a fixed order, and set `class_names`; an empty list when there are none."""

    def _scan(self, found: Sequence[Video]) -> list[Dropped]:
        """Sort what was found into usable and dropped; return the unreadable among the dropped."""
        span = clip_span(self.num_frames, self.frame_stride)
        broken = []
        for video in _with_progress(found, self.name):
            num_frames = 0
            try:
                num_frames = count_frames(video.path, self.probe)
            except UnreadableVideoError as error:
                broken.append(Dropped(self.id_of(video.path), error.reason))
            if num_frames >= span:
                self._videos.append(video)
                self._num_frames.append(num_frames)
            elif num_frames > 0:
                self.dropped.append(Dropped(self.id_of(video.path), f"shorter than a clip, {span} frames"))
            self._entries.append(ManifestEntry(self.id_of(video.path), _size_bytes(video.path), num_frames))
        self.dropped += broken
        return broken

    def _checked_root(self, root: str | None) -> Path:
        if root is None:
            raise StbenchError(
                f"{self.name} needs its folder, dataset.root=...: expected {self.expected}; get it from {self.obtain}"
            )
        path = Path(root).expanduser()
        if not path.is_dir():
            what = "is not a folder" if path.exists() else "does not exist"
            raise StbenchError(f"dataset.root={root} {what}: {self.name} expects {self.expected}")
        return path

    def _refuse_broken(self, broken: Sequence[Dropped], max_broken: float) -> None:
        if len(broken) <= max_broken * len(self._entries):
            return
        first = ", ".join(f"{video.video_id} ({video.reason})" for video in broken[:3])
        raise StbenchError(
            f"dataset.root={self.root}: {len(broken)} of {len(self._entries)} videos cannot be read, more than "
            f"dataset.max_broken={max_broken} allows: {first}{', ...' if len(broken) > 3 else ''}"
        )

    def _refuse_empty(self) -> None:
        if not self._videos:
            reasons = ", ".join(f"{count} {reason}" for reason, count in count_reasons(self.dropped).items())
            raise StbenchError(
                f"dataset.root={self.root}: none of {len(self._entries)} videos can be used: {reasons} "
                f"(dataset.num_frames={self.num_frames}, dataset.frame_stride={self.frame_stride})"
            )


def count_frames(path: Path, probe: str = "metadata") -> int:
    """Return the number of frames, at least 1.

    Args:
        path: a video file, or a folder of images.
        probe: as for `FolderDataset`.

    Raises:
        UnreadableVideoError: it is not there, cannot be read, or holds no frames.
    """
    if not path.exists():
        raise UnreadableVideoError(path, "is not there")
    num_frames = declared_num_frames(path) if probe == "metadata" else 0
    # GIF and WebM do not say.
    num_frames = num_frames or decodable_num_frames(path)
    if num_frames == 0:
        raise UnreadableVideoError(path, "has no frames")
    return num_frames


def _size_bytes(path: Path) -> int:
    """Return the size of a file, or of all images in a folder; 0 when it is not there."""
    if path.is_dir():
        return sum(file.stat().st_size for file in path.iterdir() if is_image(file))
    return path.stat().st_size if path.exists() else 0


def folders_in(folder: Path) -> list[Path]:
    """Return the folders directly in `folder`, sorted, hidden ones left out."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith((".", "__MACOSX")))


def files_below(root: Path) -> Iterator[Path]:
    """Yield every file below `root` in sorted order, hidden ones left out."""
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__MACOSX")))
        yield from (Path(folder) / name for name in sorted(files) if not name.startswith("."))


def _what_is_in(root: Path) -> str:
    """Describe a folder in a few words: what lies directly in it."""
    paths = [path for path in sorted(root.iterdir()) if not path.name.startswith(".")]
    if not paths:
        return "an empty folder"
    kinds = {
        "folder": [path for path in paths if path.is_dir()],
        "video": [path for path in paths if is_video(path)],
        "image": [path for path in paths if is_image(path)],
        "archive": [path for path in paths if path.suffix.lower() in _ARCHIVE_SUFFIXES],
    }
    return " and ".join(_counted(kind, some) for kind, some in kinds.items() if some) or f"only {paths[0].name}"


def _counted(kind: str, paths: Sequence[Path]) -> str:
    """Write "1 folder (sky_train)" or "101 folders (ApplyEyeMakeup, ApplyLipstick, Archery, ...)"."""
    names = [path.name for path in paths[:3]] + ["..."] * (len(paths) > 3)
    return f"{len(paths)} {kind}{'s' * (len(paths) > 1)} ({', '.join(names)})"


def _with_progress(videos: Sequence[Video], name: str) -> Iterable[Video]:
    """Go through `videos`; when there are many, with a progress bar on standard error."""
    if len(videos) < _PROGRESS_FROM_VIDEOS:
        return videos
    return track(videos, description=f"scanning {name}", console=Console(stderr=True))


@dataclass(frozen=True)
class ManifestEntry:
    """One video of a dataset's manifest: its path below the root (forward slashes), its size and its number of frames.

    These identify a dataset as one SHA-256. The pixels are not hashed, because that would read hundreds of gigabytes
    before the first step; a copy of a dataset that was cut, re-encoded, resized or is incomplete still differs in size
    or number, and that is what made published scores of "the same" dataset differ (Vchitect/Latte issue 80: FVD 233.66
    on one copy of SkyTimelapse, 49.99 on another).
    """

    video_id: str
    size_bytes: int
    num_frames: int


def manifest_rows(entries: Iterable[ManifestEntry]) -> list[list[str | int]]:
    """Return `[video_id, size_bytes, num_frames]` of every entry, sorted by `video_id`."""
    return sorted([entry.video_id, entry.size_bytes, entry.num_frames] for entry in entries)

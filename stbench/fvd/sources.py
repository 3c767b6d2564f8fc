"""Where the clips of one side of a comparison come from: a folder of videos, or an .npz file of clips.

A source hands out one clip of each video that is asked for, or the reason why there is none. Which frames make the clip
is a function of the rule and the video alone, so no batch, worker or process can change it; what cannot be used is
never replaced here, and never passed over in silence.
"""

from __future__ import annotations

import hashlib
import os
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import DataLoader

from stbench.data.clips import ClipRule
from stbench.data.folders import find_videos
from stbench.data.scanning import files_below, readable
from stbench.data.spatial import square
from stbench.data.video import (
    UnreadableVideoError,
    check_whole,
    count_frames,
    frame_size,
    image_files,
    is_image,
    is_video,
    read_frames,
)
from stbench.errors import StbenchError
from stbench.signals import leave_to_parent
from stbench.storage.arrays import read_header
from stbench.storage.hashing import file_sha256, hash_uint64

Clip = NDArray[np.uint8]
_NPZ_ERRORS = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True)
class Reading:
    """What came of reading one video.

    Attributes:
        video_id: which video.
        fingerprint: SHA-256 of what the clip was read from, or why no clip could be chosen.
        clip: uint8 (F,H,W,3), or None.
        reason: why there is no clip, or None.
    """

    video_id: str
    fingerprint: str
    clip: Clip | None
    reason: str | None


class ClipSource(ABC):
    """Videos to take one clip each of.

    Attributes:
        path: where they lie.
        video_ids: name of each video, unique and independent of where the source lies.
        ignored: files beside them that are neither videos nor images by their names.
        storage: how they are kept, for the protocol.
    """

    path: Path
    video_ids: list[str]
    ignored: list[str]
    storage: str

    @abstractmethod
    def readings(self, video_ids: Sequence[str], rule: ClipRule) -> Iterator[Reading]:
        """Read one clip of each of these videos; one reading for each, in any order."""

    @abstractmethod
    def fingerprints(self, video_ids: Sequence[str], rule: ClipRule) -> Iterator[tuple[str, str]]:
        """Yield the id and the fingerprint of each of these videos without decoding them, in any order."""

    @abstractmethod
    def short_side(self) -> int:
        """Return the shorter side of a frame, in pixels, of the first video that can be opened."""


def ranked(video_ids: Iterable[str], seed: int) -> list[str]:
    """Return the videos in the order in which they are chosen: by a hash of (seed, id), as `evaluation_clips` does."""
    return sorted(video_ids, key=lambda video_id: (hash_uint64(seed, video_id), video_id))


class FolderSource(ClipSource):
    """Every video file and every folder of images below a folder.

    Args:
        path: the folder.
        num_workers: processes that decode; 0 decodes in this one. Does not change what is read.

    Raises:
        StbenchError: there is no video by its name.
    """

    def __init__(self, path: Path, num_workers: int = 0) -> None:
        self.path, self.num_workers = path, num_workers
        paths = find_videos(path)
        if not paths:
            raise StbenchError(f"{path}: holds no videos and no folders of images")
        self._paths = {readable(each.relative_to(path)): each for each in paths}
        self.video_ids = list(self._paths)
        self.ignored = [
            readable(each.relative_to(path)) for each in files_below(path) if not (is_video(each) or is_image(each))
        ]
        files = [file for each in paths for file in (image_files(each) if each.is_dir() else [each])]
        self.storage = ", ".join(sorted({file.suffix.lower() for file in files}))

    def readings(self, video_ids: Sequence[str], rule: ClipRule) -> Iterator[Reading]:
        """Yield the readings in the order of `video_ids`."""
        videos: Any = [(self._paths[video_id], video_id) for video_id in video_ids]  # any sequence is a data set
        yield from DataLoader(
            videos,
            batch_size=None,
            num_workers=self.num_workers,
            collate_fn=partial(read_video, rule),  # runs in the workers
            generator=torch.Generator(),  # without one of its own, a DataLoader draws from the global one
            worker_init_fn=leave_to_parent,
        )

    def fingerprints(self, video_ids: Sequence[str], rule: ClipRule) -> Iterator[tuple[str, str]]:
        """Yield them in the order of `video_ids`."""
        for video_id in video_ids:
            yield video_id, _plan(self._paths[video_id], video_id, rule)[0]

    def short_side(self) -> int:
        """Return that of the first video that can be opened."""
        for path in self._paths.values():
            try:
                return max(1, min(frame_size(path)))
            except UnreadableVideoError:
                continue
        raise StbenchError(f"{self.path}: none of {len(self._paths)} videos can be opened")


class ClipsFile(ClipSource):
    """An .npz file with uint8 `clips` (N,F,H,W,3), as `stbench sample` writes it; read as a stream, in its own order.

    Raises:
        StbenchError: the file cannot be read, or its clips are of another type or shape.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with zipfile.ZipFile(path) as archive, archive.open("clips.npy") as member:
                shape, dtype = _c_ordered(member)
        except _NPZ_ERRORS as error:
            raise StbenchError(f"{path}: expected an .npz file of clips: {error}") from error
        if dtype != np.uint8 or len(shape) != 5 or shape[-1] != 3 or 0 in shape:
            raise StbenchError(f"{path}: expected clips uint8 (N,F,H,W,3), got {dtype} {shape}")
        self._shape = shape
        self.video_ids = [str(index) for index in range(shape[0])]
        self.ignored: list[str] = []
        self.storage = "uint8, lossless"

    def readings(self, video_ids: Sequence[str], rule: ClipRule) -> Iterator[Reading]:
        """Yield the readings in the order of the file."""
        for video_id, clip in self._stream(set(video_ids)):
            fingerprint = hashlib.sha256(clip.data).hexdigest()
            indices = rule.indices(video_id, len(clip))
            if indices is None:
                yield Reading(video_id, fingerprint, None, rule.too_short)
                continue
            frames = [square(Image.fromarray(clip[index]), rule.resolution, rule.spatial_rule) for index in indices]
            yield Reading(video_id, fingerprint, np.stack(frames), None)

    def fingerprints(self, video_ids: Sequence[str], rule: ClipRule) -> Iterator[tuple[str, str]]:
        """Yield them in the order of the file."""
        for video_id, clip in self._stream(set(video_ids)):
            yield video_id, hashlib.sha256(clip.data).hexdigest()

    def short_side(self) -> int:
        """Return that of all clips."""
        return min(self._shape[2:4])

    def _stream(self, wanted: set[str]) -> Iterator[tuple[str, Clip]]:
        """Yield the wanted clips (F,H,W,3), one at a time in memory."""
        size = int(np.prod(self._shape[1:]))
        try:
            with zipfile.ZipFile(self.path) as archive, archive.open("clips.npy") as member:
                _c_ordered(member)
                for video_id in self.video_ids:
                    clip = np.frombuffer(member.read(size), dtype=np.uint8).reshape(self._shape[1:])
                    if video_id in wanted:
                        yield video_id, clip
        except _NPZ_ERRORS as error:
            raise StbenchError(f"{self.path}: damaged: {error}") from error


def read_video(rule: ClipRule, video: tuple[Path, str]) -> Reading:
    """Read the clip of one video file or folder of images; whatever is wrong with it becomes the reading's reason.

    Args:
        rule: which frames make the clip.
        video: where the video lies, and its name.
    """
    path, video_id = video
    fingerprint, indices = _plan(path, video_id, rule)
    if indices is None:
        return Reading(video_id, fingerprint, None, fingerprint)
    try:
        check_whole(path)
        return Reading(video_id, fingerprint, read_frames(path, indices, rule.resolution, rule.spatial_rule), None)
    except UnreadableVideoError as error:
        return Reading(video_id, fingerprint, None, error.reason)


def _plan(path: Path, video_id: str, rule: ClipRule) -> tuple[str, range | None]:
    """Return the fingerprint of a video and the frames of its clip; without frames, the reason is the fingerprint.

    The fingerprint is the SHA-256 of a video file, or of the names and the content of those images of a folder that are
    in the clip.
    """
    try:
        indices = rule.indices(video_id, count_frames(path))
        if indices is None:
            return rule.too_short, None
        if not path.is_dir():
            return file_sha256(path), indices
        digest, files = hashlib.sha256(), image_files(path)
        for index in indices:
            digest.update(os.fsencode(files[index].name) + b"\0" + files[index].read_bytes())
        return digest.hexdigest(), indices
    except UnreadableVideoError as error:
        return error.reason, None
    except OSError as error:
        return f"unreadable ({error.strerror or error})", None


def _c_ordered(member: IO[bytes]) -> tuple[tuple[int, ...], np.dtype]:
    """Read the header of an array that is laid out clip after clip."""
    shape, fortran_order, dtype = read_header(member)
    if fortran_order:
        raise ValueError("the clips are in Fortran order")
    return shape, dtype

"""Decode chosen frames of one video: a file that FFmpeg reads (through PyAV), or a folder of images.

Every frame is brought to a square by one named rule, `RESIZE_RULE`. Which filter does the resizing moves a Fréchet
distance as much as a better model does (Parmar, Zhang and Zhu, CVPR 2022, arXiv 2104.11222), so there is no second.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stbench.errors import StbenchError

RESIZE_RULE = "short side to image_size (Pillow, Lanczos, antialiased), then centre crop"

VIDEO_SUFFIXES = (".avi", ".gif", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm")
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")

# Codecs of which every packet shows exactly one frame, and a key packet needs none before it. Not GIF (a frame is a
# difference to the last), VP8 (packets that show nothing) and MPEG-4 Part 2 (two frames to a packet in many AVI files).
_SEEKABLE_CODECS = ("h264", "vp9")


class UnreadableVideoError(StbenchError):
    """A video that cannot be decoded; `reason` is short, without the name of the file."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.reason = reason


class MissingFramesError(UnreadableVideoError):
    """A video that ended before the frames that were asked for."""


def is_video(path: Path) -> bool:
    """Say whether the name is that of a video file, and not a hidden one."""
    return path.suffix.lower() in VIDEO_SUFFIXES and not path.name.startswith(".")


def is_image(path: Path) -> bool:
    """Say whether the name is that of an image file, and not a hidden one (macOS leaves ._0001.jpg beside 0001.jpg)."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")


def natural_order(path: Path) -> list[tuple[int, str]]:
    """Sort key by which frame_2 comes before frame_10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"([0-9]+)", path.name)]


def image_files(folder: Path) -> list[Path]:
    """Return the images directly in `folder`, in natural order."""
    return sorted((path for path in folder.iterdir() if is_image(path)), key=natural_order)


def square(image: Image.Image, image_size: int) -> NDArray[np.uint8]:
    """Apply `RESIZE_RULE`: return uint8 (image_size, image_size, 3), RGB."""
    scale = image_size / min(image.size)
    width, height = (max(image_size, round(side * scale)) for side in image.size)
    resized = image.convert("RGB").resize((width, height), Image.Resampling.LANCZOS)
    left, top = (width - image_size) // 2, (height - image_size) // 2
    return np.asarray(resized.crop((left, top, left + image_size, top + image_size)))


def declared_num_frames(path: Path) -> int:
    """Return the number of frames by the container's own word, or 0 when it says nothing; of a folder its images."""
    if path.is_dir():
        return len(image_files(path))
    with _opened(path) as container:
        return int(container.streams.video[0].frames)


def decodable_num_frames(path: Path) -> int:
    """Return how many frames can really be decoded (containers are often off by one); reads the whole file.

    Raises:
        UnreadableVideoError: it cannot be opened, or decoding fails on the way.
    """
    if path.is_dir():
        return len(image_files(path))
    with _opened(path) as container:
        return sum(1 for _ in container.decode(video=0))


def read_frames(path: Path, indices: Sequence[int], image_size: int) -> NDArray[np.uint8]:
    """Decode the frames with these `indices`, in this order: uint8 (F, image_size, image_size, 3), RGB.

    Raises:
        MissingFramesError: the video ends before the last of them.
        UnreadableVideoError: the file or one of its frames cannot be decoded.
    """
    decode = _read_images if path.is_dir() else _read_container
    frames = decode(path, set(indices), image_size)
    if missing := sorted(set(indices) - frames.keys()):
        raise MissingFramesError(path, f"frame {missing[0]} is not there or cannot be decoded")
    return np.stack([frames[index] for index in indices])


def _read_images(folder: Path, wanted: set[int], image_size: int) -> dict[int, NDArray[np.uint8]]:
    files = image_files(folder)
    return {index: _read_image(files[index], image_size) for index in wanted if index < len(files)}


def _read_image(path: Path, image_size: int) -> NDArray[np.uint8]:
    try:
        with Image.open(path) as image:
            return square(image, image_size)
    except (OSError, SyntaxError, ValueError) as error:
        raise UnreadableVideoError(path, f"unreadable image ({error})") from error


def _read_container(path: Path, wanted: set[int], image_size: int) -> dict[int, NDArray[np.uint8]]:
    frames = _read_from_key_frame(path, wanted, image_size)
    return frames if wanted <= frames.keys() else _read_from_start(path, wanted, image_size)


def _read_from_start(path: Path, wanted: set[int], image_size: int) -> dict[int, NDArray[np.uint8]]:
    """Decode from the first frame on and count."""
    frames = {}
    with _opened(path) as container:
        for index, frame in enumerate(container.decode(video=0)):
            if index in wanted:
                frames[index] = square(frame.to_image(), image_size)
            if len(frames) == len(wanted):
                break
    return frames


def _read_from_key_frame(path: Path, wanted: set[int], image_size: int) -> dict[int, NDArray[np.uint8]]:
    """Decode from the key frame before the first wanted frame on; {} or a part when that is not safe in this file."""
    index_of, key_time = _timeline(path, min(wanted))
    frames: dict[int, NDArray[np.uint8]] = {}
    if key_time is None:
        return frames
    with _opened(path) as container:
        container.seek(key_time, stream=container.streams.video[0])
        for frame in container.decode(video=0):
            index = -1 if frame.pts is None else index_of.get(frame.pts, -1)
            if index in wanted:
                frames[index] = square(frame.to_image(), image_size)
            if index >= max(wanted):
                break
    return frames


def _timeline(path: Path, first: int) -> tuple[dict[int, int], int | None]:
    """Return the index of the frame shown at each time stamp, and the stamp of the last key frame up to frame `first`.

    The second is None when decoding from there would save nothing, or could give other frames than counting from the
    start: a codec not known to be safe, or packets that have no time stamp of their own or are not to be shown.
    """
    with _opened(path) as container:
        if container.streams.video[0].codec_context.name not in _SEEKABLE_CODECS:
            return {}, None
        packets = [
            (None if packet.is_discard else packet.pts, packet.is_keyframe)
            for packet in container.demux(video=0)
            if packet.size
        ]
    is_key = {time: key for time, key in packets if time is not None}
    if len(is_key) != len(packets):
        return {}, None
    index_of = {time: index for index, time in enumerate(sorted(is_key))}
    keys = [time for time, index in index_of.items() if is_key[time] and 0 < index <= first]
    return index_of, max(keys, default=None)


@contextmanager
def _opened(path: Path) -> Iterator[av.container.InputContainer]:
    """Open a video file that has a video stream; whatever FFmpeg finds wrong in it becomes a `UnreadableVideoError`."""
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise UnreadableVideoError(path, "unreadable (no video stream)")
            yield container
    except (av.FFmpegError, OSError) as error:
        raise UnreadableVideoError(path, f"unreadable ({error.strerror or error})") from error

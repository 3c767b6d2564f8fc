"""Decode chosen frames of one video: a file that FFmpeg reads (through PyAV), or a folder of images.

Every frame is brought to a square by a rule of `spatial`.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stbench.data.spatial import DEFAULT_SPATIAL_RULE, square
from stbench.errors import StbenchError, first_line

VIDEO_SUFFIXES = (
    *(".3gp", ".avi", ".flv", ".gif", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ogv", ".ts"),
    *(".webm", ".wmv", ".y4m"),
)
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
# Pillow's, by content. Not all it knows: an EPS file is a program, which it hands to Ghostscript.
_IMAGE_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF")
LARGEST_FRAME_PIXELS = 2**26  # 8192x8192, twice a frame of 8K: a file of a few kilobytes can claim any size

# FFmpeg's demuxers of these files. Not those of playlists (hls, dash, concat, sdp, ...), which open what a text names:
# other files, or addresses on the network. FFmpeg tells a format by the content, whatever the name ends in.
_DEMUXERS = (
    *("mov", "mp4", "3gp", "3g2", "matroska", "webm", "avi", "flv", "gif", "mpegts", "mpeg", "mpegvideo", "ogg", "asf"),
    *("yuv4mpegpipe", "m4v", "h264", "hevc", "mjpeg"),
)
_OPENING = {"format_whitelist": ",".join(_DEMUXERS), "protocol_whitelist": "file"}

# Codecs in which every packet shows exactly one frame, and a key packet needs no packet before it. Not GIF (a frame is
# stored as what changed), VP8 (some packets show nothing) and MPEG-4 Part 2 (two frames in a packet in many AVI files).
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
    """Return the images directly in `folder`, in natural order; what is no file, such as a pipe, is left out."""
    with os.scandir(folder) as entries:
        found = [Path(entry) for entry in entries if is_image(Path(entry)) and entry.is_file()]
    return sorted(found, key=natural_order)


def count_frames(path: Path, probe: str = "metadata") -> int:
    """Return the number of frames, at least 1.

    Args:
        path: a video file, or a folder of images.
        probe: "metadata" (what the container declares, often off by one; how many images there are), or "decode" (what
            can really be decoded).

    Raises:
        UnreadableVideoError: it is not there, cannot be read, or holds no frames.
    """
    if not path.exists():
        raise UnreadableVideoError(path, "is not there")
    if path.is_dir():
        files = image_files(path)
        num_frames = len(files)
        for file in files if probe == "decode" else ():
            with _opened_image(file) as image:
                image.load()
    else:
        with _opened(path) as container:
            num_frames = int(container.streams.video[0].frames) if probe == "metadata" else 0
            if num_frames == 0:  # GIF and WebM declare no number
                num_frames = sum(1 for _ in container.decode(video=0))
    if num_frames == 0:
        raise UnreadableVideoError(path, "has no frames")
    return num_frames


def frame_size(path: Path) -> tuple[int, int]:
    """Return width and height in pixels as the container declares them; of a folder, those of its first image."""
    if path.is_dir():
        with _opened_image(image_files(path)[0]) as image:
            return image.size
    with _opened(path) as container:
        context = container.streams.video[0].codec_context
        return context.width, context.height


def frame_rate(path: Path) -> float | None:
    """Return the mean frames per second that the container declares; None of a folder of images, or where none are."""
    if path.is_dir():
        return None
    with _opened(path) as container:
        rate = container.streams.video[0].average_rate
    return float(rate) if rate else None


def check_whole(path: Path) -> None:
    """Refuse a file that was cut off, or a folder of numbered images in which a number is missing.

    A file is read through, but not decoded. Numbers of images may step by more than 1; one is missing where a step is
    at least twice the smallest.

    Raises:
        UnreadableVideoError: says what is missing.
    """
    if path.is_dir():
        files = image_files(path)
        numbers = [int(found[-1]) for file in files if (found := re.findall(r"[0-9]+", file.stem))]
        steps = [after - before for before, after in pairwise(numbers)]
        if len(numbers) < len(files) or min(steps, default=0) < 1:
            return  # not numbered from the first to the last
        for step, (before, after) in zip(steps, pairwise(files), strict=True):
            if step >= 2 * min(steps):
                raise UnreadableVideoError(path, f"a frame is missing (between {before.name} and {after.name})")
        return
    with _opened(path) as container:
        declared = int(container.streams.video[0].frames)
        # The last packet is empty: it tells the decoder to give what it still holds.
        held = sum(1 for packet in container.demux(video=0) if packet.size) if declared else 0
    if held < declared - 1:  # containers of whole files are often off by one
        raise UnreadableVideoError(path, f"truncated (declares {declared} frames, holds {held})")


def read_frames(
    path: Path, indices: Sequence[int], image_size: int, spatial_rule: str = DEFAULT_SPATIAL_RULE
) -> NDArray[np.uint8]:
    """Decode the frames with these `indices`, in this order: uint8 (F, image_size, image_size, 3), RGB.

    Raises:
        MissingFramesError: the video ends before the last of them.
        UnreadableVideoError: the file or one of its frames cannot be decoded, or the frames differ in size.
    """
    wanted, to_square = set(indices), _Squares(path, image_size, spatial_rule)
    if path.is_dir():
        frames = {}
        for index, file in enumerate(image_files(path)):
            if index in wanted:
                with _opened_image(file) as image:
                    frames[index] = to_square(image)
    else:
        frames = _decode(path, wanted, to_square, _timeline(path, min(wanted)))
        if not wanted <= frames.keys():
            frames = _decode(path, wanted, to_square, None)
    if missing := sorted(wanted - frames.keys()):
        raise MissingFramesError(path, f"frame {missing[0]} is not there or cannot be decoded")
    return np.stack([frames[index] for index in indices])


@dataclass
class _Squares:
    """Brings the frames of one video to squares, and refuses a frame of another size than the first."""

    path: Path
    image_size: int
    rule: str
    size: tuple[int, int] | None = None

    def __call__(self, image: Image.Image) -> NDArray[np.uint8]:
        self.size = self.size or image.size
        if image.size != self.size:
            sizes = " and ".join(f"{width}x{height}" for width, height in (self.size, image.size))
            raise UnreadableVideoError(self.path, f"changes size within a clip ({sizes})")
        return square(image, self.image_size, self.rule)


def _decode(
    path: Path, wanted: set[int], to_square: _Squares, timeline: tuple[dict[int, int], int] | None
) -> dict[int, NDArray[np.uint8]]:
    """Decode the wanted frames of a file, as far as they are there.

    Args:
        path: the file.
        wanted: indices of frames.
        to_square: what brings them to squares.
        timeline: see `_timeline`: decode from its key frame on, and tell frames by their time stamps. When None, decode
            from the first frame on, and count.
    """
    frames = {}
    index_of, key_time = timeline or ({}, None)
    with _opened(path) as container:
        if key_time is not None:
            container.seek(key_time, stream=container.streams.video[0])
        for count, frame in enumerate(container.decode(video=0)):
            index = count
            if key_time is not None:
                index = -1 if frame.pts is None else index_of.get(frame.pts, -1)
            if index in wanted:
                frames[index] = to_square(frame.to_image())
            if index >= max(wanted):
                break
    return frames


def _timeline(path: Path, first: int) -> tuple[dict[int, int], int] | None:
    """Return the index of the frame shown at each time stamp, and the time stamp of the last key frame up to `first`.

    None where decoding from there would save nothing, or could give other frames than counting from the start does: the
    codec is not known to be safe, some packets have no time stamp of their own or are not shown, or the file does not
    begin with a key frame (it was cut out of another), so that decoders pass over its first packets.
    """
    with _opened(path) as container:
        if container.streams.video[0].codec_context.name not in _SEEKABLE_CODECS:
            return None
        packets = [
            (None if packet.is_discard else packet.pts, packet.is_keyframe)
            for packet in container.demux(video=0)
            if packet.size
        ]
    is_key = {time: key for time, key in packets if time is not None}
    if len(is_key) != len(packets):
        return None
    index_of = {time: index for index, time in enumerate(sorted(is_key))}
    begins_with_key = next(iter(is_key.items()), None) == (min(is_key, default=None), True)
    if not begins_with_key:
        return None
    keys = [time for time, index in index_of.items() if is_key[time] and 0 < index <= first]
    return (index_of, max(keys)) if keys else None


@contextmanager
def _opened(path: Path) -> Iterator[av.container.InputContainer]:
    """Open a video file that has a video stream; whatever FFmpeg finds wrong becomes an `UnreadableVideoError`.

    FFmpeg takes "http:/a/b.mp4" and "concat:a.mp4|b.mp4" for addresses: it is given an absolute path that says so.
    """
    if fault := _fault_of_file(path):
        raise UnreadableVideoError(path, fault)
    try:
        # Titles in old files are not always UTF-8.
        with av.open(f"file:{path.absolute()}", metadata_errors="ignore", options=_OPENING) as container:
            if not container.streams.video:
                raise UnreadableVideoError(path, "unreadable (no video stream)")
            context = container.streams.video[0].codec_context
            if context is None:
                raise UnreadableVideoError(path, "unreadable (unknown codec)")
            if fault := _fault_of_size(context.width, context.height):
                raise UnreadableVideoError(path, fault)
            yield container
    # The last three come from PyAV: a title that is no text, a stream that was not announced, an absurd size.
    except (av.FFmpegError, OSError, ValueError, IndexError, MemoryError) as error:
        raise UnreadableVideoError(path, f"unreadable ({getattr(error, 'strerror', None) or error})") from error


@contextmanager
def _opened_image(path: Path) -> Iterator[Image.Image]:
    """Open an image; whatever Pillow finds wrong, at once or on decoding, becomes an `UnreadableVideoError`."""
    try:
        if fault := _fault_of_file(path):
            raise ValueError(fault)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # this size is judged below
            image = Image.open(path, formats=_IMAGE_FORMATS)
        with image:
            if fault := _fault_of_size(*image.size):
                raise ValueError(fault)
            yield image
    except UnreadableVideoError:
        raise
    except Exception as error:  # on damaged images decoders raise what they please: struct.error, zlib.error, ...
        raise UnreadableVideoError(path, f"unreadable image ({path.name}: {first_line(error)})") from error


def _fault_of_file(path: Path) -> str | None:
    """Why nothing can be read: a pipe or a device, for instance, might never end."""
    if not path.is_file():
        return "is not a file" if path.exists() else "is not there"
    return "empty (0 bytes)" if path.stat().st_size == 0 else None


def _fault_of_size(width: int, height: int) -> str | None:
    if width * height <= LARGEST_FRAME_PIXELS:
        return None
    return f"too large ({width}x{height}, more than {LARGEST_FRAME_PIXELS} pixels)"

"""Videos that tests write for themselves with PyAV."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

WriteVideo = Callable[..., Path]


def moving_bar(num_frames: int, height: int, width: int) -> NDArray[np.uint8]:
    """Frames that are easy to compress and to tell apart: the brightness rises and a bar goes to the right."""
    frames = np.empty((num_frames, height, width, 3), dtype=np.uint8)
    for index, frame in enumerate(frames):
        frame[:] = 20 + 200 * index // num_frames
        frame[:, 4 * index % width :][:, :4] = (250, 30, 30)
    return frames


@pytest.fixture
def write_video(tmp_path: Path) -> WriteVideo:
    def write(
        name: str, codec: str = "mpeg4", num_frames: int = 20, key_every: int = 6, size: tuple[int, int] = (48, 64)
    ) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=25)
            stream.height, stream.width = size
            stream.pix_fmt = {"gif": "rgb8", "mjpeg": "yuvj420p"}.get(codec, "yuv420p")
            stream.codec_context.gop_size = key_every
            for frame in moving_bar(num_frames, *size):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            container.mux(stream.encode())
        return path

    return write


@pytest.fixture
def write_images(tmp_path: Path) -> WriteVideo:
    def write(name: str, num_frames: int = 20, suffix: str = "png", size: tuple[int, int] = (12, 16)) -> Path:
        folder = tmp_path / name
        folder.mkdir(parents=True)
        for index, frame in enumerate(moving_bar(num_frames, *size)):
            # Not padded with zeros: sorted as text, frame_10 would come before frame_2.
            Image.fromarray(frame).save(folder / f"frame_{index}.{suffix}")
        return folder

    return write

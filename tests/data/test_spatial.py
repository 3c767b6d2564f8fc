"""How a frame becomes a square: each rule against the arithmetic of its release, written down again."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn.functional import interpolate

from stbench.data.folders import VideoFolder
from stbench.data.spatial import (
    DEFAULT_SPATIAL_RULE,
    SPATIAL_RULES,
    check_spatial_rule,
    scaled_down,
    scaled_up,
    square,
)
from stbench.errors import StbenchError
from stbench.metrics.protocol import PROTOCOLS
from stbench.records.protocol import Protocol

# Widths and heights: those of UCF101, of Taichi-HD and the like, square ones, and margins of every remainder by 4.
SIZES = [(320, 240), (640, 360), (240, 320), (256, 256), (50, 50), (37, 101), (101, 40), (101, 39), (101, 38), (9, 5)]
Bytes = NDArray[np.uint8]


def picture(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def torchvision_resize(image: Image.Image, size: int) -> Image.Image:
    """functional.resize with an int, of a PIL image."""
    short, long = sorted(image.size)
    new_long = int(size * long / short)
    new = (size, new_long) if image.width <= image.height else (new_long, size)
    return image if image.size == new else image.resize(new, Image.Resampling.LANCZOS)


def torchvision_center_crop(image: Image.Image, size: int) -> Image.Image:
    """functional.center_crop of an image that is not smaller."""
    top, left = round((image.height - size) / 2.0), round((image.width - size) / 2.0)
    return image.crop((left, top, left + size, top + size))


def latte(image: Image.Image, size: int) -> Bytes:
    """tools/convert_videos_to_frames.py."""
    return np.asarray(torchvision_resize(torchvision_center_crop(image, min(image.size)), size))


def styleganv(image: Image.Image, size: int) -> Bytes:
    """src/scripts/convert_videos_to_frames.py."""
    return np.asarray(torchvision_center_crop(torchvision_resize(image, size), size))


def cdfvd_frames(image: Image.Image, size: int) -> Bytes:
    """FrameDataset of cdfvd/utils/data_utils.py, and the bytes that its caller makes of floats."""
    margin = abs(image.width - image.height) // 2
    side = min(image.size)
    left, top = (margin, 0) if image.width > image.height else (0, margin)
    cropped = image.crop((left, top, left + side, top + side)).resize((size, size), Image.Resampling.LANCZOS)
    return (torch.from_numpy(np.asarray(cropped, np.float32) / np.float32(255)) * 255).byte().numpy()


def cdfvd_videos(image: Image.Image, size: int) -> Bytes:
    """VideoDataset of the same module, which takes a whole clip at once."""
    clip = torch.from_numpy(np.stack([np.asarray(image), np.zeros((image.height, image.width, 3), np.uint8)]))
    scale = size / min(image.size)
    wide = image.height < image.width
    new = (size, math.ceil(image.width * scale)) if wide else (math.ceil(image.height * scale), size)
    scaled = interpolate(clip.permute(0, 3, 1, 2).float() / 255.0, new, mode="bilinear", antialias=True)
    top, left = (new[0] - size) // 2, (new[1] - size) // 2
    cropped = scaled[:, :, top : top + size, left : left + size]
    return (cropped * 255).byte().permute(0, 2, 3, 1)[0].numpy()


RELEASES = {
    "crop-resize-lanczos": latte,
    "resize-crop-lanczos": styleganv,
    "cdfvd-frames": cdfvd_frames,
    "cdfvd-videos": cdfvd_videos,
}


@pytest.mark.parametrize("image_size", [16, 128, 256])
@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("rule", SPATIAL_RULES)
def test_every_rule_is_its_release(rule: str, size: tuple[int, int], image_size: int) -> None:
    image = picture(*size)
    assert np.array_equal(square(image, image_size, rule), RELEASES[rule](image, image_size))


def test_the_rules_differ_as_the_releases_do() -> None:
    def shown(width: int, height: int) -> int:
        image = picture(width, height)
        return len({square(image, 16, rule).tobytes() for rule in SPATIAL_RULES})

    assert shown(48, 48) == 2  # cd-fvd's video files alone: another filter
    assert shown(64, 48) == 3  # and the order: a margin of 16 is halved alike
    assert shown(51, 48) == 4  # 1.5 is rounded to 2 by torchvision, down by cd-fvd


@pytest.mark.parametrize("rule", SPATIAL_RULES)
def test_a_square_of_the_right_size_stays_as_it_is(rule: str) -> None:
    image = picture(16, 16)
    assert np.array_equal(square(image, 16, rule), np.asarray(image))


def test_sizes_are_rounded_as_the_releases_round_them() -> None:
    assert scaled_down(240, 320, 128) == (128, 170)
    assert scaled_up(240, 320, 128) == (128, 171)
    assert scaled_down(50, 50, 224) == (224, 224)
    assert [size for size in range(25, 1025) if scaled_up(size, size, 224) == (225, 224)][:4] == [25, 41, 43, 50]


def test_every_protocol_names_the_rule_of_its_release() -> None:
    rules = {name: protocol.spatial_rule for name, protocol in PROTOCOLS.items()}
    assert rules == {
        "builtin": DEFAULT_SPATIAL_RULE,
        "styleganv-2048-16f": "resize-crop-lanczos",
        "latte-2048-16f": "crop-resize-lanczos",
        "latte-taichi": "crop-resize-lanczos",
        "cdfvd-i3d": "cdfvd-videos",
        "cdfvd-i3d-frames": "cdfvd-frames",
        "cdfvd-videomae": "cdfvd-videos",
        "cdfvd-videomae-frames": "cdfvd-frames",
        "tganv2-is-2048-16f": DEFAULT_SPATIAL_RULE,
        "mocogan-hd-2048-16f": "crop-resize-lanczos",
        "styleganv-2048-128f": "resize-crop-lanczos",
    }
    assert Protocol(detector="i3d", preprocessing="styleganv").spatial_rule == DEFAULT_SPATIAL_RULE


@pytest.mark.parametrize("order", [">u2", "<u2"])
def test_16_bits_become_their_upper_8(order: str) -> None:
    ramp = np.tile(np.arange(256, dtype=np.uint16), (256, 1))
    image = Image.fromarray((ramp * 256 + 128).astype(order))
    assert image.mode.startswith("I;16")
    assert np.array_equal(square(image, 256), np.stack([ramp] * 3, axis=-1))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV"])
def test_other_pixels_are_taken_as_they_are_stored(mode: str) -> None:
    image = picture(16, 16).convert("RGB" if mode == "PA" else mode)
    if mode == "PA":
        image = image.convert("P").convert("PA")
    if mode.endswith("A"):
        image.putalpha(0)  # the colours are there, though nobody sees them
    pixels = square(image, 16)
    assert np.array_equal(pixels, np.asarray(image.convert("RGB")))
    assert 50 < pixels.mean() < 200


@pytest.mark.parametrize("mode", ["I", "F"])
def test_pixels_without_a_white_are_refused(mode: str) -> None:
    with pytest.raises(StbenchError, match=rf"^32-bit pixels \(mode {mode}\), of which none is known to be white"):
        square(picture(16, 16).convert(mode), 16)


def test_another_rule_is_refused() -> None:
    with pytest.raises(StbenchError, match=r"unknown protocol\.spatial_rule 'crop-resize': did you mean 'crop-resize-"):
        check_spatial_rule("crop-resize", "protocol.spatial_rule")
    with pytest.raises(StbenchError, match=r"unknown dataset\.spatial_rule 'stretch'"):
        VideoFolder(16, 4, 1, root=".", spatial_rule="stretch")

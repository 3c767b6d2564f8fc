"""How a frame becomes a square: which comes first, the crop or the resize, and what neither may change."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from stbench.data.folders import VideoFolder
from stbench.data.spatial import DEFAULT_SPATIAL_RULE, SPATIAL_RULES, check_spatial_rule, square
from stbench.errors import StbenchError
from stbench.metrics.protocol import PROTOCOLS

SIZES = [(64, 48), (48, 64), (37, 101), (320, 240), (16, 16), (9, 5)]


def picture(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_crop_comes_before_the_resize(width: int, height: int) -> None:
    image, side = picture(width, height), min(width, height)
    pixels = np.asarray(image)
    top, left = (height - side) // 2, (width - side) // 2
    cropped = Image.fromarray(pixels[top : top + side, left : left + side])
    expected = np.asarray(cropped.resize((16, 16), Image.Resampling.LANCZOS))
    assert np.array_equal(square(image, 16, "crop-resize-lanczos"), expected)


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_resize_comes_before_the_crop(width: int, height: int) -> None:
    image, short = picture(width, height), min(width, height)
    size = (round(width * 16 / short), round(height * 16 / short))
    pixels = np.asarray(image.resize(size, Image.Resampling.LANCZOS))
    top, left = (size[1] - 16) // 2, (size[0] - 16) // 2
    assert np.array_equal(square(image, 16, "resize-crop-lanczos"), pixels[top : top + 16, left : left + 16])


def test_the_order_changes_pixels_of_oblong_frames_only() -> None:
    oblong, even = picture(64, 49), picture(48, 48)
    first, second = SPATIAL_RULES
    assert not np.array_equal(square(oblong, 16, first), square(oblong, 16, second))
    assert np.array_equal(square(even, 16, first), square(even, 16, second))


@pytest.mark.parametrize("rule", SPATIAL_RULES)
def test_a_square_of_the_right_size_stays_as_it_is(rule: str) -> None:
    image = picture(16, 16)
    assert np.array_equal(square(image, 16, rule), np.asarray(image))


def test_every_protocol_names_a_rule_that_there_is() -> None:
    assert {protocol.spatial_rule for protocol in PROTOCOLS.values()} == set(SPATIAL_RULES)
    assert PROTOCOLS["cdfvd-i3d"].spatial_rule == "resize-crop-lanczos"
    assert PROTOCOLS["styleganv-2048-16f"].spatial_rule == DEFAULT_SPATIAL_RULE == "crop-resize-lanczos"


def test_another_rule_is_refused() -> None:
    with pytest.raises(StbenchError, match=r"unknown protocol\.spatial_rule 'crop-resize': did you mean 'crop-resize-"):
        check_spatial_rule("crop-resize", "protocol.spatial_rule")
    with pytest.raises(StbenchError, match=r"unknown dataset\.spatial_rule 'stretch'"):
        VideoFolder(16, 4, 1, root=".", spatial_rule="stretch")

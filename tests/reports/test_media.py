"""Strips of samples: the right clip in the right column, and pixels that survive."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageSequence

from stbench.reports import media
from stbench.reports.media import Clips


def numbered(labels: list[int], size: int = 16) -> Clips:
    """Return clips whose every pixel is the clip's own index times 10, plus the frame's index."""
    shape = (len(labels), 3, size, size, 3)
    index = np.arange(len(labels), dtype=np.uint8)[:, None, None, None, None] * 10
    frame = np.arange(3, dtype=np.uint8)[None, :, None, None, None]
    return Clips(np.broadcast_to(index + frame, shape).copy(), np.array(labels), ("circle", "square"))


def shown(strip: media.Strip, frame: int, columns: int) -> list[int | None]:
    """Return the value in the middle of each column, None where the strip is transparent."""
    image = Image.open(io.BytesIO(strip.webp))
    image.seek(frame)
    pixels = np.asarray(image.convert("RGBA"))
    step = (strip.width + media.GAP_PIXELS) / columns
    middles = [pixels[strip.height // 2, int((column + 0.5) * step)] for column in range(columns)]
    return [int(pixel[0]) if pixel[3] else None for pixel in middles]


def test_columns_are_classes_in_every_set() -> None:
    real, samples = numbered([1, 0, 1, 0]), numbered([0, 0, 1])
    columns = media.choose_columns([real, samples])
    assert columns == [0, 1, 0, 1, 0, 1, 0, 1]
    assert media.column_names(real, columns)[:2] == ["circle", "square"]
    assert shown(media.make_strip(real, columns), 0, 8) == [10, 0, 30, 20, None, None, None, None]
    assert shown(media.make_strip(samples, columns), 2, 8) == [2, 22, 12, None, None, None, None, None]


def test_clips_of_other_classes_than_the_columns_stand_in_order() -> None:
    columns = media.choose_columns([numbered([0, 1]), numbered([7, 5])])
    strip = media.make_strip(numbered([7, 5]), columns)
    assert shown(strip, 2, 8) == [2, 12, None, None, None, None, None, None]
    assert strip.width == media.make_strip(numbered([0, 1]), columns).width


def test_clips_without_classes_stand_in_order() -> None:
    clips = numbered([0, 0, 0])
    assert media.choose_columns([clips]) is None
    strip = media.make_strip(clips, None)
    assert shown(strip, 1, 3) == [1, 11, 21]
    assert (strip.width, strip.height) == (3 * 80 + 2 * media.GAP_PIXELS, 80)  # 16 pixels enlarged 5 times


@pytest.mark.parametrize(("size", "height"), [(16, 80), (32, 64), (64, 64), (100, 100), (128, 128), (256, 128)])
def test_clips_are_scaled_by_whole_factors(size: int, height: int) -> None:
    assert media.make_strip(numbered([0], size), None).height == height


def test_a_label_without_a_name_stands_for_itself() -> None:
    assert media.column_names(numbered([0, 1]), [1, 7]) == ["square", "7"]


def test_a_sheet_holds_every_clip_in_rows() -> None:
    sheet = media.make_sheet(numbered([0] * 11))
    step = 80 + media.GAP_PIXELS
    assert (sheet.width, sheet.height) == (media.COLUMNS * step - media.GAP_PIXELS, 2 * step - media.GAP_PIXELS)
    picture = np.asarray(Image.open(io.BytesIO(sheet.still)))
    seen = [picture[row * step, column * step, 3] > 0 for row in range(2) for column in range(media.COLUMNS)]
    assert seen == [True] * 11 + [False] * 5
    values = [picture[(i // 8) * step, (i % 8) * step, 0] for i in range(11)]
    assert values == [10 * i for i in range(11)]


def test_a_strip_moves_through_every_frame_forever() -> None:
    strip = media.make_strip(numbered([0, 1]), [0, 1])
    moving, still = (Image.open(io.BytesIO(data)) for data in (strip.webp, strip.still))
    assert (moving.format, moving.info["loop"]) == ("WEBP", 0)
    assert len(list(ImageSequence.Iterator(moving))) == 3
    assert (still.format, still.size) == ("PNG", (strip.width, strip.height))
    assert [shown(strip, frame, 2) for frame in range(3)] == [[0, 10], [1, 11], [2, 12]]


def test_pixels_of_small_clips_survive() -> None:
    clips = Clips(np.random.default_rng(0).integers(0, 256, (1, 2, 20, 20, 3), np.uint8), np.zeros(1, np.int64), ("a",))
    picture = Image.open(io.BytesIO(media.make_strip(clips, None).webp))
    for frame in range(2):
        picture.seek(frame)
        assert np.array_equal(np.asarray(picture.convert("RGB"))[::4, ::4], clips.clips[0, frame])


def test_large_clips_are_averaged_over_blocks() -> None:
    board = np.indices((256, 256)).sum(axis=0) % 2 * 200  # a chessboard of 0 and 200
    clips = Clips(
        np.broadcast_to(board[None, None, :, :, None], (1, 1, 256, 256, 3)).astype(np.uint8), np.zeros(1, np.int64), ()
    )
    picture = np.asarray(Image.open(io.BytesIO(media.make_strip(clips, None).still)).convert("RGB"))
    assert picture.shape == (128, 128, 3)
    assert set(np.unique(picture)) == {100}


def test_gaps_between_clips_are_transparent() -> None:
    strip = media.make_strip(numbered([0, 0], size=128), None)
    opacity = np.asarray(Image.open(io.BytesIO(strip.still)).convert("RGBA"))[..., 3]
    assert (opacity[:, :128] == 255).all() and (opacity[:, 132:] == 255).all()
    assert (opacity[:, 128:132] == 0).all()


def test_a_long_narrow_clip_is_not_enlarged_by_its_short_side() -> None:
    """2000x1 pixels were once drawn 160,000 wide."""
    strip = media.make_strip(Clips(np.zeros((1, 2, 1, 2000, 3), np.uint8), np.zeros(1, np.int64)), None)
    assert strip.width <= media.LARGEST_CLIP_PIXELS

"""Which frames of a video make a clip, and what every dataset of clips says of itself."""

from __future__ import annotations

import hashlib
import inspect
import json
import re
from collections import Counter
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pytest

from stbench.data.clips import Clip, ClipDataset, ClipRule, Dropped, clip_start, count_reasons, summarise_reasons
from stbench.errors import StbenchError
from stbench.records.protocol import FIRST_FRAME, HASHED_OFFSET

RULE = ClipRule(
    num_frames=4,
    frame_stride=3,
    resolution=8,
    spatial_rule="crop-resize-lanczos",
    offset_rule=HASHED_OFFSET,
    clip_seed=5,
)


class Counting(ClipDataset):
    """Frames that hold index and draw."""

    def __init__(self, image_size: int = 2, num_frames: int = 3, frame_stride: int = 1, seed: int = 0) -> None:
        super().__init__(image_size, num_frames, frame_stride, seed)
        self.class_names = ("even", "odd")
        self.dropped = [Dropped("x", "short"), Dropped("y", "short"), Dropped("z", "broken")]

    def __len__(self) -> int:
        return 5

    def video_id(self, index: int) -> str:
        return f"video-{index}"

    def clip(self, index: int, draw: int) -> Clip:
        frames = np.full((self.num_frames, 2, 2, 3), 10 * index + draw, dtype=np.uint8)
        return Clip(frames, index % 2, self.video_id(index))

    def content(self) -> object:
        return ["counting"]


def test_nothing_is_held_out_where_a_dataset_does_not_say_what() -> None:
    with pytest.raises(StbenchError, match=r"^Counting holds no videos out of training: it has no validation_set"):
        Counting().validation_set(3)


def test_content_that_cannot_be_hashed_is_refused() -> None:
    class Opaque(Counting):
        def content(self) -> object:
            return object()

    with pytest.raises(StbenchError, match=r"^Opaque: content\(\) is nothing that JSON can hold: "):
        Opaque().describe()


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        (Clip(np.zeros((3, 2, 2, 3), np.float32), 0, "v"), "got float32 (3, 2, 2, 3)"),  # [0, 1] would become black
        (Clip(np.zeros((3, 3, 2, 2), np.uint8), 0, "v"), "got uint8 (3, 3, 2, 2)"),  # as many values, mixed up
        (Clip(np.zeros((6, 2, 2, 3), np.uint8), 0, "v"), "got uint8 (6, 2, 2, 3)"),  # would be two clips
        (Clip(np.zeros((3, 2, 2, 3), np.uint8), 2, "v"), "label 2: expected 0 to 1"),  # would be the null class
        (Clip(np.zeros((3, 2, 2, 3), np.uint8), -1, "v"), "label -1: expected 0 to 1"),
        ((np.zeros((3, 2, 2, 3), np.uint8), 0), "expected a Clip, got tuple"),
    ],
)
def test_what_is_no_clip_is_refused(returned: Any, said: str) -> None:
    class Broken(Counting):
        def clip(self, index: int, draw: int) -> Clip:
            return returned if index == 1 else super().clip(index, draw)

    Broken().batch([0, 2], [0, 0])
    with pytest.raises(StbenchError, match=f"^Broken: video 'video-1': .*{re.escape(said)}"):
        Broken().batch([0, 1], [0, 0])


@pytest.mark.parametrize(("num_frames", "stride", "span"), [(1, 1, 1), (1, 9, 1), (16, 1, 16), (16, 3, 46), (8, 2, 15)])
def test_span_counts_first_and_last_frame(num_frames: int, stride: int, span: int) -> None:
    rule = replace(RULE, num_frames=num_frames, frame_stride=stride, offset_rule=FIRST_FRAME)
    assert rule.span == span == len(range(0, num_frames * stride, stride)) * stride - stride + 1
    indices = rule.indices("any", span)
    assert indices is not None
    assert (indices[0], indices[-1], len(indices)) == (0, span - 1, num_frames)


@pytest.mark.parametrize("offset_rule", [FIRST_FRAME, HASHED_OFFSET])
def test_a_video_shorter_than_its_clip_has_no_frames_to_give(offset_rule: str) -> None:
    rule = replace(RULE, offset_rule=offset_rule)
    assert rule.indices("any", 9) is None
    assert rule.indices("any", 10) == range(0, 10, 3)
    assert rule.too_short == "shorter than a clip, 10 frames"


@pytest.mark.parametrize("draw", [0, 1, 7])
def test_a_hashed_clip_begins_where_the_hash_says_and_stays_in_the_video(draw: int) -> None:
    start = clip_start(5, "beach/waves.mp4", draw, 100 - 10 + 1)
    assert RULE.indices("beach/waves.mp4", 100, draw) == range(start, start + 10, 3)
    assert start + 9 < 100


def test_the_first_frame_rule_knows_neither_seed_nor_draw() -> None:
    rule = replace(RULE, offset_rule=FIRST_FRAME)
    assert {rule.indices(name, 100, draw) for name in "ab" for draw in range(5)} == {range(0, 10, 3)}


def test_start_is_the_same_everywhere() -> None:
    # hashlib.blake2b(b"0\x1fv_Archery_g01_c01\x1f0", digest_size=8), little endian, modulo 100; then draws 1, 2, 3.
    assert [clip_start(0, "v_Archery_g01_c01", draw, 100) for draw in range(4)] == [65, 19, 63, 99]


def test_starts_are_spread_evenly() -> None:
    starts = Counter(
        clip_start(seed, f"video-{video}", draw, 5) for seed in (0, 1) for video in range(40) for draw in range(25)
    )
    assert set(starts) == set(range(5))
    # 2000 draws: each start has 400 expected, standard deviation 18.
    assert all(310 < count < 490 for count in starts.values())


def test_a_single_start_is_the_first_frame() -> None:
    assert clip_start(3, "any", 7, 1) == 0


def test_batch_stacks_clips() -> None:
    clips, labels = Counting().batch([4, 1], [0, 2])
    assert clips.shape == (2, 3, 2, 2, 3)
    assert clips.dtype == np.uint8
    assert labels.dtype == np.int64
    assert clips[:, 0, 0, 0, 0].tolist() == [40, 12]
    assert labels.tolist() == [0, 1]


def test_batch_needs_a_draw_for_every_index() -> None:
    with pytest.raises(ValueError, match="shorter"):
        Counting().batch([1, 2], [0])


def test_description_counts_reasons_and_is_json() -> None:
    description = asdict(Counting().describe())
    assert json.loads(json.dumps(description)) == {
        "dataset": "Counting",
        "num_videos": 5,
        "class_names": ["even", "odd"],
        "dropped_by_reason": {"short": 2, "broken": 1},
        "manifest_sha256": hashlib.sha256(b'["counting"]').hexdigest(),
        "root": None,
        "probe": None,
        "resize": None,
    }
    assert Counting().num_classes == 2


@pytest.mark.parametrize(("name", "least"), [("image_size", 1), ("num_frames", 1), ("frame_stride", 1), ("seed", 0)])
def test_what_is_no_size_or_seed_is_refused(name: str, least: int) -> None:
    wrong: tuple[Any, ...] = (least - 1, 1.5, "S", None, [1], True)
    for value in wrong:
        message = f"dataset.{name}={value}: expected a whole number, at least {least}"
        with pytest.raises(StbenchError, match=f"^{re.escape(message)}$"):
            Counting(**{name: value})


def test_a_plain_subclass_may_call_the_constructor_by_position() -> None:
    plain = Counting(8, 4, 2, 7)
    assert (plain.image_size, plain.num_frames, plain.frame_stride, plain.seed) == (8, 4, 2, 7)
    assert repr(plain) == "Counting(image_size=8, num_frames=4, frame_stride=2, seed=7)"


def test_a_dataclass_declares_its_own_arguments_and_no_other() -> None:
    @dataclass(eq=False, kw_only=True)
    class Numbered(Counting):
        length: int
        names: str = "v"

    parameters = inspect.signature(Numbered).parameters
    assert [str(each) for each in parameters.values()] == [
        *("image_size: 'int'", "num_frames: 'int'", "frame_stride: 'int'", "seed: 'int' = 0"),
        *("length: 'int'", "names: 'str' = 'v'"),
    ]
    assert Numbered(2, 3, 1, length=9).length == 9


def test_reasons_are_counted_with_their_details_most_frequent_first() -> None:
    dropped = [Dropped("a", "empty"), Dropped("b", "cut (3 of 9)"), Dropped("c", "cut (3 of 9)"), Dropped("d", "cut")]
    assert list(count_reasons(dropped).items()) == [("cut (3 of 9)", 2), ("empty", 1), ("cut", 1)]


def test_reasons_are_summarised_without_their_details() -> None:
    reasons = ["empty (0 bytes)", "truncated (declares 9 frames, holds 3)", "truncated (declares 80 frames, holds 7)"]
    assert summarise_reasons(reasons) == "2 truncated, 1 empty"
    assert summarise_reasons([]) == ""

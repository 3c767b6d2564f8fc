import json
from collections import Counter

import numpy as np
import pytest

from stbench.data.clips import Clip, ClipDataset, Dropped, clip_span, clip_start, summarise_reasons
from stbench.errors import StbenchError


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


@pytest.mark.parametrize(("num_frames", "stride", "span"), [(1, 1, 1), (1, 9, 1), (16, 1, 16), (16, 3, 46), (8, 2, 15)])
def test_span_counts_first_and_last_frame(num_frames: int, stride: int, span: int) -> None:
    assert clip_span(num_frames, stride) == span == len(range(0, num_frames * stride, stride)) * stride - stride + 1


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
    description = json.loads(json.dumps(Counting().describe()))
    assert description["num_videos"] == 5
    assert description["class_names"] == ["even", "odd"]
    assert description["num_classes"] == 2
    assert description["num_dropped"] == 3
    assert description["dropped_by_reason"] == {"short": 2, "broken": 1}
    assert len(description["manifest_sha256"]) == 64


@pytest.mark.parametrize("name", ["image_size", "num_frames", "frame_stride"])
def test_sizes_below_one_are_refused(name: str) -> None:
    with pytest.raises(StbenchError, match=rf"dataset\.{name}=0: expected at least 1"):
        Counting(**{name: 0})


def test_reasons_are_summarised_without_their_details() -> None:
    reasons = ["empty (0 bytes)", "truncated (declares 9 frames, holds 3)", "truncated (declares 80 frames, holds 7)"]
    assert summarise_reasons(reasons) == "2 truncated, 1 empty"
    assert summarise_reasons([]) == ""

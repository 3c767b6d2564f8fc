"""The order of clips is a function of (seed, step), and their values survive the way to torch and back."""

from __future__ import annotations

import os
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch

from stbench.data.clips import Clip, ClipDataset
from stbench.data.folders import VideoFolder
from stbench.data.loading import Batch, clips_to_tensor, evaluation_clips, tensor_to_clips, training_batches
from stbench.data.synthetic.clouds import Clouds
from stbench.data.synthetic.shapes import Shapes
from stbench.data.video import UnreadableVideoError
from stbench.errors import StbenchError


class Numbered(ClipDataset):
    """Clips whose pixels are (index, draw, 0)."""

    def __init__(self, length: int, names: str = "v") -> None:
        super().__init__(image_size=2, num_frames=2, frame_stride=1, seed=0)
        self.class_names = ("even", "odd")
        self.length = length
        self.names = names

    def __len__(self) -> int:
        return self.length

    def video_id(self, index: int) -> str:
        return f"{self.names}{index}"

    def clip(self, index: int, draw: int) -> Clip:
        frames = np.broadcast_to(np.array([index, draw, 0], dtype=np.uint8), (2, 2, 2, 3))
        return Clip(frames, index % 2, self.video_id(index))

    def content(self) -> object:
        return self.length


def seen(batches: Iterator[Batch]) -> list[list[tuple[int, int]]]:
    """(index, draw) of every clip of every batch of `Numbered`."""
    pixels = [tensor_to_clips(batch.clips)[:, 0, 0, 0, :2] for batch in batches]
    return [[(int(index), int(draw)) for index, draw in batch] for batch in pixels]


def flat(batches: list[list[tuple[int, int]]]) -> list[tuple[int, int]]:
    return list(chain.from_iterable(batches))


def test_round_trip_is_exact_for_every_value() -> None:
    clips = np.arange(256, dtype=np.uint8).reshape(1, 2, 4, 32, 1).repeat(3, axis=-1)
    tensor = clips_to_tensor(clips)
    assert tensor.shape == (1, 3, 2, 4, 32)
    assert tensor.dtype == torch.float32
    assert tensor.is_contiguous()
    assert (tensor.min(), tensor.max()) == (-1, 1)
    assert np.array_equal(tensor_to_clips(tensor), clips)


def test_values_are_x_over_127_5_minus_1_in_their_place() -> None:
    clips = np.zeros((2, 3, 4, 5, 3), dtype=np.uint8)
    clips[1, 2, 3, 4] = (51, 102, 255)
    assert clips_to_tensor(clips)[1, :, 2, 3, 4].tolist() == pytest.approx([-0.6, -0.2, 1.0])
    assert (clips_to_tensor(clips)[0] == -1).all()


def test_values_outside_are_clamped_not_wrapped() -> None:
    tensor = torch.tensor([-7.0, -1.001, 1.001, 3.0]).reshape(1, 1, 1, 1, 4).expand(1, 3, 1, 1, 4)
    assert tensor_to_clips(tensor)[0, 0, 0, :, 0].tolist() == [0, 0, 255, 255]


def test_half_precision_is_rounded_to_the_nearest() -> None:
    clips = np.full((1, 1, 2, 2, 3), 200, dtype=np.uint8)
    assert np.array_equal(tensor_to_clips(clips_to_tensor(clips).half()), clips)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_refused(value: float) -> None:
    tensor = torch.zeros(1, 3, 1, 2, 2)
    tensor[0, 1, 0, 1, 1] = value
    with pytest.raises(StbenchError, match="1 of 12 values are not finite"):
        tensor_to_clips(tensor)


def test_wrong_shapes_and_types_are_refused() -> None:
    with pytest.raises(StbenchError, match=r"expected uint8 \(B,F,H,W,3\), got torch.float32 \(1, 2, 4, 4, 3\)"):
        clips_to_tensor(torch.zeros(1, 2, 4, 4, 3))
    with pytest.raises(StbenchError, match=r"got torch.uint8 \(1, 3, 2, 4, 4\)"):
        clips_to_tensor(torch.zeros(1, 3, 2, 4, 4, dtype=torch.uint8))
    with pytest.raises(StbenchError, match=r"expected \(B,3,F,H,W\), got \(1, 2, 3, 4, 4\)"):
        tensor_to_clips(torch.zeros(1, 2, 3, 4, 4))


def test_an_epoch_shows_every_video_once_with_its_number_as_draw() -> None:
    clips = [clip for batch in seen(training_batches(Numbered(10), 4, 0, 0, 10)) for clip in batch]
    for epoch in range(4):
        shown = clips[10 * epoch : 10 * epoch + 10]
        assert sorted(shown) == [(index, epoch) for index in range(10)]
    assert clips[:10] != [(index, 0) for index, _ in clips[10:20]]


def test_labels_go_with_their_clips() -> None:
    for batch in training_batches(Numbered(10), 4, 0, 0, 3):
        indices = tensor_to_clips(batch.clips)[:, 0, 0, 0, 0]
        assert batch.labels is not None
        assert batch.labels.dtype == torch.int64
        assert batch.labels.tolist() == (indices % 2).tolist()


def test_unconditional_batches_have_no_labels() -> None:
    batch = next(training_batches(Clouds(16, 2, 1), 2, 0, 0, 1))
    assert batch.labels is None
    assert batch.clips.shape == (2, 3, 2, 16, 16)


@pytest.mark.parametrize("first_step", [1, 2, 5, 9])
def test_resuming_continues_the_same_order(first_step: int) -> None:
    whole = seen(training_batches(Numbered(7), 3, 11, 0, 10))
    rest = seen(training_batches(Numbered(7), 3, 11, first_step, 10 - first_step))
    assert rest == whole[first_step:]


def test_workers_change_nothing() -> None:
    dataset = Shapes(16, 2, 1, length=9)
    alone = list(training_batches(dataset, 4, 0, 3, 5))
    together = list(training_batches(dataset, 4, 0, 3, 5, num_workers=2))
    assert len(alone) == len(together) == 5
    for one, other in zip(alone, together, strict=True):
        assert torch.equal(one.clips, other.clips)
        assert one.labels is not None
        assert other.labels is not None
        assert torch.equal(one.labels, other.labels)


def test_a_batch_may_be_larger_than_the_dataset() -> None:
    (batch,) = seen(training_batches(Numbered(3), 8, 0, 0, 1))
    assert Counter(draw for _, draw in batch) == {0: 3, 1: 3, 2: 2}


def test_another_seed_gives_another_order() -> None:
    assert seen(training_batches(Numbered(50), 50, 0, 0, 1)) != seen(training_batches(Numbered(50), 50, 1, 0, 1))


def test_global_random_state_is_left_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    list(training_batches(Numbered(5), 2, 0, 0, 2))
    list(evaluation_clips(Numbered(5), 2, 0, 2))
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("batch_size", [1, 3, 8, 100])
def test_evaluation_takes_the_same_videos_whatever_the_batch(batch_size: int) -> None:
    batches = seen(evaluation_clips(Numbered(20), 8, 0, batch_size))
    assert flat(batches) == seen(evaluation_clips(Numbered(20), 8, 0, 8))[0]
    assert max(len(batch) for batch in batches) == min(batch_size, 8)


def test_evaluation_takes_each_video_once() -> None:
    chosen = flat(seen(evaluation_clips(Numbered(20), 20, 0, 6)))
    assert sorted(chosen) == [(index, 0) for index in range(20)]


def test_evaluation_yields_all_there_are() -> None:
    assert len(flat(seen(evaluation_clips(Numbered(5), 2048, 0, 4)))) == 5


def test_evaluation_sets_are_nested_and_depend_on_the_seed() -> None:
    ten = flat(seen(evaluation_clips(Numbered(50), 10, 0, 4)))
    assert flat(seen(evaluation_clips(Numbered(50), 25, 0, 4)))[:10] == ten
    assert flat(seen(evaluation_clips(Numbered(50), 10, 1, 4))) != ten


def test_evaluation_follows_the_names_not_the_numbers() -> None:
    one, other = Numbered(50), Numbered(50, names="w")
    assert seen(evaluation_clips(one, 10, 0, 10)) != seen(evaluation_clips(other, 10, 0, 10))


# ---- videos that turn out to be unreadable ---------------------------------------------------------------------------


class Frail(Numbered):
    """`Numbered`, of which some videos cannot be read."""

    def __init__(self, length: int, broken: set[int]) -> None:
        super().__init__(length)
        self.broken = broken

    def clip(self, index: int, draw: int) -> Clip:
        if index in self.broken:
            raise UnreadableVideoError(Path(f"v{index}"), "cut off")
        return super().clip(index, draw)


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("first_step", [0, 3])
def test_the_next_video_stands_in_for_one_that_cannot_be_read(num_workers: int, first_step: int) -> None:
    whole = flat(seen(training_batches(Numbered(10), 4, 0, first_step, 6)))
    frail = Frail(10, {3, 4, 9})
    instead = {3: 5, 4: 5, 9: 0}
    found = flat(seen(training_batches(frail, 4, 0, first_step, 6, num_workers=num_workers)))
    assert found == [(instead.get(index, index), draw) for index, draw in whole]
    assert frail.lost == dict.fromkeys(("v3", "v4", "v9"), "cut off")


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize(("num_clips", "batch_size"), [(6, 4), (6, 1), (10, 3), (20, 8)])
def test_an_evaluation_is_as_if_the_unreadable_were_not_there(
    num_workers: int, num_clips: int, batch_size: int
) -> None:
    frail = Frail(12, {1, 2, 11})
    found = seen(evaluation_clips(frail, num_clips, 0, batch_size, num_workers))
    every = [clip for clip in flat(seen(evaluation_clips(Numbered(12), 12, 0, 12))) if clip[0] not in frail.broken]
    assert flat(found) == every[:num_clips]
    assert all(len(batch) == batch_size for batch in found[:-1])


def test_where_nothing_can_be_read_the_reason_is_told() -> None:
    with pytest.raises(StbenchError, match=r"^none of 3 videos can be read: cut off$"):
        list(training_batches(Frail(3, {0, 1, 2}), 2, 0, 0, 2))


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_video_that_breaks_is_named_once_and_too_many_end_the_work(
    tmp_path: Path, write_video: Callable[..., Path], num_workers: int, capfd: pytest.CaptureFixture[str]
) -> None:
    for name in ("frail.avi", "other.avi", "sound.avi"):
        write_video(name)
    dataset = VideoFolder(16, 4, 1, root=str(tmp_path), max_broken=0.4)
    (tmp_path / "frail.avi").write_bytes(b"gone")
    assert len(list(training_batches(dataset, 2, 0, 0, 6, num_workers=num_workers))) == 6
    assert capfd.readouterr().err.count("left out: frail.avi: unreadable") == 1
    (tmp_path / "other.avi").write_bytes(b"gone")
    with pytest.raises(
        StbenchError, match=r"2 of 3 videos cannot be read, more than dataset\.max_broken=0\.4"
    ) as caught:
        list(training_batches(dataset, 2, 0, 0, 6, num_workers=num_workers))
    assert "\n" not in str(caught.value)


class Failing(Numbered):
    def __init__(self, way: str) -> None:
        super().__init__(10)
        self.way = way

    def clip(self, index: int, draw: int) -> Clip:
        if self.way == "exit":
            sys.exit(0)
        if self.way == "killed":
            os.kill(os.getpid(), signal.SIGKILL)  # as by a system that is out of memory
        raise KeyError("index")


@pytest.mark.parametrize(
    ("way", "num_workers", "said"),
    [
        ("error", 0, r"^KeyError: 'index' \(.*test_loading.py:\d+\)$"),
        ("error", 1, r"^KeyError: 'index' \(.*test_loading.py:\d+\)$"),
        ("exit", 1, r"^SystemExit: 0 \(.*test_loading.py:\d+\)$"),
        ("killed", 1, r"^DataLoader worker .* while it read clips: did memory or /dev/shm run out"),
    ],
)
def test_what_goes_wrong_in_a_dataset_is_one_line_wherever_it_is_read(way: str, num_workers: int, said: str) -> None:
    with pytest.raises(StbenchError, match=said):
        next(training_batches(Failing(way), 2, 0, 0, 2, num_workers=num_workers))

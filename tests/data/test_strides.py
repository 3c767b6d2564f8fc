"""Clips at several strides: which one is a function of (seed, video, draw), and the frame rate goes with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from stbench.data.clips import ClipDataset
from stbench.data.folders import UCF101, VideoFolder
from stbench.data.loading import clips_to_tensor, tensor_to_clips, training_batches
from stbench.data.strides import MixedStrides
from stbench.data.synthetic.shapes import Shapes
from stbench.data.video import frame_rate
from stbench.errors import StbenchError

WriteVideo = Callable[..., Path]


def shapes(seed: int = 0, length: int = 40) -> Shapes:
    return Shapes(image_size=8, num_frames=3, frame_stride=2, seed=seed, length=length)


def strides_of(dataset: MixedStrides, draw: int = 0) -> list[float]:
    return [8 / dataset.fps_of(index, draw) for index in range(len(dataset))]


def test_a_clip_is_what_the_dataset_shows_at_its_stride() -> None:
    plain, mixed = shapes(), MixedStrides(shapes(), (1, 3))
    for index in range(6):
        stride = round(8 / mixed.fps_of(index, 5))
        assert (mixed.clip(index, 5).frames == plain.at_stride(stride).clip(index, 5).frames).all()
    assert (mixed.fps, mixed.class_names, mixed.content()) == (4, plain.class_names, plain.content())


def test_strides_are_drawn_by_seed_video_and_draw_alone() -> None:
    drawn = strides_of(MixedStrides(shapes(), (1, 3)))
    assert sorted(set(drawn)) == [1, 3]
    assert drawn == strides_of(MixedStrides(shapes(length=80), (1, 3)))[:40]
    assert drawn != strides_of(MixedStrides(shapes(), (1, 3)), draw=1)
    assert drawn != strides_of(MixedStrides(shapes(seed=1), (1, 3)))
    assert 400 < sum(stride == 3 for stride in strides_of(MixedStrides(shapes(length=1000), (1, 3)))) < 600


@pytest.mark.parametrize("num_workers", [0, 2])
def test_batches_tell_the_rate_of_each_clip_whoever_reads_it_and_when(num_workers: int) -> None:
    dataset = MixedStrides(shapes(length=7), (1, 3))
    whole = list(training_batches(dataset, 3, 0, 0, 5))
    rest = list(training_batches(dataset, 3, 0, 2, 3, num_workers=num_workers))
    for one, other in zip(whole[2:], rest, strict=True):
        assert one.fps is not None
        assert other.fps is not None
        assert torch.equal(one.fps, other.fps)
        assert torch.equal(one.clips, other.clips)
        assert set(one.fps.tolist()) <= {8.0, torch.tensor(8 / 3).item()}
    assert next(training_batches(shapes(), 3, 0, 0, 1)).fps is None


def test_files_say_their_rate_where_they_agree(
    tmp_path: Path, write_video: WriteVideo, write_images: WriteVideo
) -> None:
    path = write_video("videos/a.avi", num_frames=12)
    rate = frame_rate(path)
    assert rate is not None
    dataset = VideoFolder(16, 4, 1, root=str(tmp_path / "videos"))
    assert dataset.frame_rate == rate
    assert MixedStrides(dataset, (2,)).fps_of(0, 0) == rate / 2
    images = write_images("videos/b", num_frames=12)
    assert frame_rate(images) is None
    assert VideoFolder(16, 4, 1, root=str(tmp_path / "videos")).frame_rate is None


def test_the_rate_of_ucf101_is_the_paper_s(tmp_path: Path, write_video: WriteVideo) -> None:
    write_video("ucf/jump/v_jump_g01_c01.avi", num_frames=12)
    assert UCF101(16, 4, 1, root=str(tmp_path / "ucf")).frame_rate == 25


def of_lengths(folder: Path, write_video: WriteVideo, held_out: int = 0) -> VideoFolder:
    """Videos of 4, 8, 12 and 16 frames, in clips of 4."""
    for num_frames in (4, 8, 12, 16):
        write_video(f"lengths/{num_frames:02d}.avi", num_frames=num_frames)
    return VideoFolder(16, 4, 2, root=str(folder / "lengths"), held_out=held_out)


def test_videos_too_short_for_one_stride_are_left_out_and_listed(tmp_path: Path, write_video: WriteVideo) -> None:
    dataset = MixedStrides(of_lengths(tmp_path, write_video), (1, 3))
    assert [dataset.video_id(index) for index in range(len(dataset))] == ["12.avi", "16.avi"]
    assert dataset.describe().dropped_by_reason == {
        "shorter than a clip, 7 frames": 1,
        "shorter than a clip of train.frame_strides=[1, 3]": 1,
    }


@pytest.mark.parametrize("strides", [(1,), (1, 3)])
def test_what_is_held_out_stays_out(strides: tuple[int, ...], tmp_path: Path, write_video: WriteVideo) -> None:
    plain = of_lengths(tmp_path, write_video, held_out=1)
    held_out, mixed = plain.validation_set(1), MixedStrides(plain, strides)
    assert held_out.video_id(0) not in [mixed.video_id(index) for index in range(len(mixed))]


def test_a_video_that_breaks_is_noted_and_its_stand_in_s_rate_is_told(tmp_path: Path, write_video: WriteVideo) -> None:
    plain = of_lengths(tmp_path, write_video)
    plain.max_broken = 0.5
    dataset = MixedStrides(plain, (1, 2))
    (tmp_path / "lengths" / "12.avi").write_bytes(b"gone")
    for batch in training_batches(dataset, 3, 0, 0, 4):
        assert batch.fps is not None
        for clip, fps in zip(tensor_to_clips(batch.clips), batch.fps.tolist(), strict=True):
            assert fps in matching_rates(dataset, clips_to_tensor(clip[None]))
    assert list(plain.lost) == ["12.avi"]


def matching_rates(dataset: MixedStrides, clip: torch.Tensor) -> list[float]:
    """The rates at which a readable video shows this clip, in any draw."""
    places = [(index, draw) for index in (0, 2) for draw in range(5)]
    return [
        dataset.fps_of(*place)
        for place in places
        if torch.equal(clips_to_tensor(dataset.clip(*place).frames[None]), clip)
    ]


class NoRate(Shapes):
    frame_rate = None  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("dataset", "strides", "message"),
    [
        (NoRate(8, 3, 1), (1,), "NoRate does not know one frame rate of all its videos"),
        (shapes(), (), "expected at least one stride"),
        (shapes(), (1, 0), r"dataset\.frame_stride=0"),
    ],
)
def test_what_cannot_be_read_so_is_refused(dataset: ClipDataset, strides: tuple[int, ...], message: str) -> None:
    with pytest.raises(StbenchError, match=message):
        MixedStrides(dataset, strides)


def test_a_dataset_of_one_s_own_has_one_stride() -> None:
    with pytest.raises(StbenchError, match="Shapes is read at one stride: it has no at_stride of its own"):
        ClipDataset.at_stride(shapes(), 2)

"""What is given of a clip: nothing more and nothing less, and never what is to be made."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from stbench.errors import StbenchError
from stbench.settings.schema import InterpolateConfig, Settings, UpscaleConfig
from stbench.tasks.restorations import (
    Animation,
    Interpolation,
    Restoration,
    Stage,
    Upscaling,
    motion_strength,
    restoration_of,
)

STAGES = (Interpolation(3), Upscaling(2))
RESTORATIONS = (*STAGES, Animation())


def as_they_are(clips: Tensor) -> Tensor:
    """The encoder of pixels."""
    return clips


@pytest.fixture
def clips() -> Tensor:
    """Two clips of eight frames of 8x8."""
    return torch.randn(2, 3, 8, 8, 8, generator=torch.Generator().manual_seed(0))


def test_a_frame_that_is_to_be_made_is_not_given(clips: Tensor) -> None:
    given = Interpolation(3).of(clips, clips, as_they_are)
    mask = torch.tensor([1, 0, 0, 1, 0, 0, 1, 1.0])
    assert torch.equal(given[:, 3], mask[:, None, None].expand(2, 8, 8, 8))
    assert torch.equal(given[:, :3, mask == 1], clips[:, :, mask == 1])
    assert not given[:, :3, mask == 0].any()
    assert Interpolation(3).made(8) == [1, 2, 4, 5]


def test_all_that_is_given_of_a_clip_of_fewer_pixels_are_their_means(clips: Tensor) -> None:
    given = Upscaling(2).of(clips, clips, as_they_are)
    means = clips.unflatten(-1, (4, 2)).unflatten(-3, (4, 2)).mean(dim=(-3, -1))
    signs = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).tile(4, 4)  # whose mean is 0 in every square
    other = clips + signs * torch.randn(2, 3, 8, 4, 4).repeat_interleave(2, 3).repeat_interleave(2, 4)
    assert torch.allclose(Upscaling(2).shrunk(clips), means, atol=1e-6)
    assert torch.allclose(Upscaling(2).of(other, other, as_they_are), given, atol=1e-5), (
        "equal means, equal parts given"
    )


def test_frames_are_enlarged_each_by_itself(clips: Tensor) -> None:
    whole = Upscaling(2).plain(clips)
    frames = [Upscaling(2).plain(clips[:, :, [frame]]) for frame in range(8)]
    assert torch.allclose(whole, torch.cat(frames, dim=2), atol=1e-6)


@pytest.mark.parametrize("restoration", RESTORATIONS)
def test_what_is_given_has_the_shape_that_it_says(restoration: Restoration, clips: Tensor) -> None:
    assert restoration.of(clips, clips, as_they_are).shape == (2, restoration.num_channels(3), 8, 8, 8)


@pytest.mark.parametrize("restoration", RESTORATIONS)
def test_a_clip_that_is_the_same_everywhere_needs_no_network(restoration: Restoration) -> None:
    still = torch.full((1, 3, 8, 8, 8), 0.3)
    assert torch.allclose(restoration.plain(still), still)


def test_without_a_network_frames_between_are_blends_and_given_ones_stay(clips: Tensor) -> None:
    blended = Interpolation(3).plain(clips)
    assert torch.equal(blended[:, :, [0, 3, 6, 7]], clips[:, :, [0, 3, 6, 7]])
    assert torch.allclose(blended[:, :, 1], (2 * clips[:, :, 0] + clips[:, :, 3]) / 3, atol=1e-6)
    assert torch.allclose(blended[:, :, 5], (clips[:, :, 3] + 2 * clips[:, :, 6]) / 3, atol=1e-6)


@pytest.mark.parametrize(
    ("restoration", "num_frames", "image_size", "told"),
    [
        (Interpolation(4), 2, 8, r"interpolate\.keep_every=4: of dataset\.num_frames=2 nothing is left to make"),
        (Animation(), 1, 8, r"task=animate: of dataset\.num_frames=1 nothing is left to make"),
        (Upscaling(3), 8, 16, r"upscale\.factor=3 does not divide dataset\.image_size=16: the nearest size is 15"),
    ],
)
def test_clips_that_do_not_fit_are_refused(
    restoration: Restoration, num_frames: int, image_size: int, told: str
) -> None:
    restoration.check_fit(9, 24)
    with pytest.raises(StbenchError, match=told):
        restoration.check_fit(num_frames, image_size)


def test_a_task_has_its_restoration() -> None:
    settings = Settings(interpolate=InterpolateConfig(keep_every=2), task="interpolate")
    assert restoration_of(settings) == Interpolation(2)
    assert restoration_of(Settings(task="upscale", upscale=UpscaleConfig(2, shared_noise=True))) == Upscaling(2, True)
    assert restoration_of(Settings(task="animate")) == Animation()
    assert restoration_of(Settings()) is None
    with pytest.raises(StbenchError, match=r"interpolate\.keep_every is of task=interpolate, and this is"):
        restoration_of(replace(settings, task="generate"))


@pytest.mark.parametrize("restoration", STAGES)
def test_a_network_is_told_the_same_of_a_part_as_of_the_clip(restoration: Stage, clips: Tensor) -> None:
    whole = clips[:, :, :7]  # frames 0, 3 and 6 are given
    part = whole[:, :, ::3] if isinstance(restoration, Interpolation) else Upscaling(2).shrunk(whole)
    told = restoration.concat(part, 7, as_they_are)
    assert torch.allclose(told, restoration.of(whole, whole, as_they_are), atol=1e-6)


@pytest.mark.parametrize(
    ("restoration", "num_given", "expected"),
    [
        (Interpolation(3), 5, [range(3), range(2, 5)]),  # a network for 7 frames, of which it is given 3
        (Upscaling(2), 7, [range(7)]),
        (Upscaling(2), 16, [range(7), range(7, 14), range(9, 16)]),
    ],
)
def test_windows_cover_every_frame_and_join_to_one_clip(
    restoration: Stage, num_given: int, expected: list[range]
) -> None:
    windows = restoration.windows(num_given, 7)
    assert windows == expected
    size = 4 if isinstance(restoration, Interpolation) else 8
    given = np.full((2, num_given, 4, 4, 3), 200, np.uint8)
    made = np.full((2, len(windows), 7, size, size, 3), 0, np.uint8)
    made += np.arange(1, len(windows) + 1, dtype=np.uint8).reshape(1, -1, 1, 1, 1, 1)
    joined = restoration.join(given, made, windows)
    assert joined.shape == (2, restoration.num_joined(num_given), size, size, 3)
    levels = joined[0, :, 0, 0, 0].tolist()
    if isinstance(restoration, Interpolation):
        assert levels == [200, 1, 1, 200, 1, 1, 200, 2, 2, 200, 2, 2, 200]
    else:
        assert levels == [1] * 7 + ([2] * 2 + [3] * 7 if num_given > 7 else [])


@pytest.mark.parametrize(
    ("restoration", "num_given", "told"),
    [
        (Interpolation(4), 5, "interpolate.keep_every=4: the last two frames given of dataset.num_frames=7 are only 2"),
        (Interpolation(3), 4, "expected clips of 2 times a whole number of frames, and 1, got 4"),
        (Upscaling(2), 6, "is given 7 frames at once: expected clips of no fewer, got 6"),
    ],
)
def test_frames_that_cannot_be_shared_out_are_refused(restoration: Stage, num_given: int, told: str) -> None:
    with pytest.raises(StbenchError, match=re.escape(told)):
        restoration.windows(num_given, 7)


def test_of_an_animation_is_given_the_first_frame_and_where_the_clip_leaves_it() -> None:
    clips = torch.randn(2, 3, 1, 8, 8, generator=torch.Generator().manual_seed(0)).repeat(1, 1, 5, 1, 1)
    clips[0, 1, 3, 2, 4] += 1  # one channel, of one frame
    clips[1, :, 1:, :, 6:] += 0.01  # too little to count
    given = Animation().of(clips, clips, as_they_are)
    assert torch.equal(given[:, :3], clips[:, :, :1].expand_as(clips))
    assert given[:, 3].nonzero().tolist() == [[0, frame, 2, 4] for frame in range(5)]
    assert torch.equal(given[:, 4], motion_strength(clips)[:, None, None, None].expand(2, 5, 8, 8))
    assert torch.equal(Animation().plain(clips), clips[:, :, :1].expand_as(clips))
    assert Animation().made(5) == [1, 2, 3, 4]


def test_strength_of_a_clip_by_its_formula() -> None:
    clips = torch.randn(2, 4, 5, 3, 6)
    expected = [
        10 * sum(float((clip[:, f + 1] - clip[:, f]).abs().mean()) for f in range(4)) for clip in clips.unbind(0)
    ]
    torch.testing.assert_close(motion_strength(clips), torch.tensor(expected))


def test_strength_of_steady_change() -> None:
    ramp = 0.25 * torch.arange(5.0)[None, None, :, None, None].expand(1, 4, 5, 2, 2)
    torch.testing.assert_close(motion_strength(torch.cat([ramp, -2 * ramp])), torch.tensor([10.0, 20.0]))
    assert not motion_strength(torch.ones(1, 4, 3, 2, 2)).any()

from __future__ import annotations

import pytest
import torch
from torch import Generator, Tensor

from stbench.errors import StbenchError
from stbench.metrics.distortions import DISTORTIONS, FRAME_DISTORTIONS, ORDER_DISTORTIONS, black_rectangles, blur

STRENGTHS = (0.25, 0.5, 0.75, 1.0)


def _clips(N: int = 6, F: int = 8, S: int = 16) -> Tensor:
    return torch.rand((N, 3, F, S, S), generator=Generator().manual_seed(1)) * 2 - 1


def _numbered_clips(N: int = 6, F: int = 8) -> Tensor:
    """Every frame is one value, N and F told apart by it."""
    numbers = torch.arange(N * F, dtype=torch.float32).view(N, 1, F, 1, 1) / (N * F)
    return numbers.expand(N, 3, F, 4, 4).contiguous()


def _apply(name: str, clips: Tensor, strength: float, seed: int = 0) -> Tensor:
    return DISTORTIONS[name](clips, strength, Generator().manual_seed(seed))


def test_the_table_holds_the_eight_distortions_of_the_paper() -> None:
    assert list(FRAME_DISTORTIONS) == ["gaussian_noise", "blur", "salt_and_pepper", "black_rectangles"]
    assert list(ORDER_DISTORTIONS) == ["local_swap", "global_swap", "interleave", "switch"]
    assert DISTORTIONS == FRAME_DISTORTIONS | ORDER_DISTORTIONS


@pytest.mark.parametrize("name", DISTORTIONS)
def test_strength_zero_is_the_identity(name: str) -> None:
    clips = _clips()
    assert torch.equal(_apply(name, clips, 0.0), clips)


@pytest.mark.parametrize("name", DISTORTIONS)
@pytest.mark.parametrize("F", [4, 9])
def test_shape_and_range_stay_and_the_input_is_not_written_to(name: str, F: int) -> None:
    clips = _clips(F=F)
    before = clips.clone()
    for strength in STRENGTHS:
        damaged = _apply(name, clips, strength)
        assert damaged.shape == clips.shape
        assert damaged.abs().max() <= 1 + 1e-6
    assert not torch.equal(_apply(name, clips, 1.0), clips)
    assert torch.equal(clips, before)


@pytest.mark.parametrize("name", [name for name in DISTORTIONS if name != "blur"])
def test_the_generator_alone_decides(name: str) -> None:
    clips = _clips(N=16)
    assert torch.equal(_apply(name, clips, 0.5), _apply(name, clips, 0.5))
    assert not torch.equal(_apply(name, clips, 0.5), _apply(name, clips, 0.5, seed=1))


@pytest.mark.parametrize("name", DISTORTIONS)
def test_damage_rises_with_strength(name: str) -> None:
    clips = torch.sin(torch.linspace(0, 3, 64).view(64, 1, 1, 1, 1) + torch.linspace(0, 3, 8).view(1, 1, 8, 1, 1))
    clips = (clips * torch.rand((1, 1, 1, 16, 16), generator=Generator().manual_seed(2))).expand(64, 3, 8, 16, 16)
    damage = [float((_apply(name, clips, strength) - clips).square().mean()) for strength in (0.0, *STRENGTHS)]
    assert damage == sorted(damage)
    assert damage[0] == 0


@pytest.mark.parametrize("name", ["local_swap", "global_swap"])
def test_swaps_only_reorder_the_frames_of_a_clip(name: str) -> None:
    clips = _numbered_clips()
    damaged = _apply(name, clips, 1.0)
    assert torch.equal(damaged.sort(dim=2).values, clips)


@pytest.mark.parametrize(("name", "pattern"), [("interleave", [1, 0, 1, 0, 1, 0, 1, 0]), ("switch", [0] * 4 + [1] * 4)])
def test_mixing_takes_whole_frames_of_one_other_clip_at_their_own_time(name: str, pattern: list[int]) -> None:
    clips = _numbered_clips()
    frames = (_apply(name, clips, 1.0)[:, 0, :, 0, 0] * clips.shape[0] * 8).round().long()
    source, time = frames // 8, frames % 8
    assert torch.equal(time, torch.arange(8).expand(6, 8))
    foreign = source != torch.arange(6)[:, None]
    assert foreign.long().tolist() == [pattern] * 6
    assert all(len(set(row[mask].tolist())) == 1 for row, mask in zip(source, foreign, strict=True))


def test_a_rectangle_stays_where_it_is_and_has_the_size_asked_for() -> None:
    clips = torch.ones(5, 3, 4, 16, 16)
    black = black_rectangles(clips, 0.5, Generator().manual_seed(0)) == -1
    assert torch.equal(black, black[:, :1, :1].expand_as(black))
    assert black[:, 0, 0].sum(dim=(1, 2)).tolist() == [64] * 5


def test_blur_keeps_flat_frames_and_spreads_a_point_evenly() -> None:
    flat = torch.full((1, 3, 2, 16, 16), 0.3)
    torch.testing.assert_close(blur(flat, 1.0, Generator()), flat)
    point = torch.zeros(1, 3, 1, 33, 33)
    point[..., 16, 16] = 1
    spread = blur(point, 0.5, Generator())[0, 0, 0]
    offsets = torch.arange(33.0) - 16
    variance = (spread * offsets.square()).sum() / spread.sum()
    assert variance.sqrt() == pytest.approx(0.5 * 33 / 8, rel=0.05)
    torch.testing.assert_close(spread, spread.T)


@pytest.mark.parametrize("strength", [-0.1, 1.1, float("nan")])
def test_strength_out_of_range_is_refused(strength: float) -> None:
    with pytest.raises(StbenchError, match="strength: expected a number from 0 to 1"):
        _apply("blur", _clips(), strength)


@pytest.mark.parametrize("name", ["interleave", "switch"])
def test_mixing_needs_a_second_clip(name: str) -> None:
    with pytest.raises(StbenchError, match="needs at least 2, got 1"):
        _apply(name, _clips(N=1), 0.5)

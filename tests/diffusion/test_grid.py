"""The timesteps of a validation loss: every share of the schedule once, every clip over all of it."""

from __future__ import annotations

import pytest
import torch

from stbench.diffusion.grid import EDGES, NUM_BUCKETS, TimestepGrid
from stbench.diffusion.schedule import NUM_TIMESTEPS
from stbench.errors import StbenchError

SHAPES = [(8, 5), (2, 5), (10, 1), (1, 10), (7, 3), (128, 5), (3, 400)]


@pytest.mark.parametrize(("num_clips", "draws"), SHAPES)
def test_the_timesteps_are_the_midpoints_of_equal_shares(num_clips: int, draws: int) -> None:
    grid = TimestepGrid(num_clips, draws)
    number = num_clips * draws
    expected = [NUM_TIMESTEPS * (share + 0.5) / number for share in range(number)]
    torch.testing.assert_close(grid.timesteps.sort().values, torch.tensor(expected, dtype=torch.float64))
    assert len(grid) == number


@pytest.mark.parametrize(("num_clips", "draws"), SHAPES)
def test_those_of_a_clip_are_as_far_apart_as_they_can_be(num_clips: int, draws: int) -> None:
    of_clips = TimestepGrid(num_clips, draws).timesteps.unflatten(0, (num_clips, draws))
    apart = of_clips.diff(dim=1)
    torch.testing.assert_close(apart, torch.full_like(apart, NUM_TIMESTEPS / draws))


@pytest.mark.parametrize(("num_clips", "draws"), SHAPES)
def test_buckets_are_tenths_of_the_schedule_and_equally_full(num_clips: int, draws: int) -> None:
    grid = TimestepGrid(num_clips, draws)
    inside = torch.bucketize(grid.timesteps / NUM_TIMESTEPS, torch.tensor(EDGES[1:-1], dtype=torch.float64), right=True)
    assert torch.equal(grid.buckets, inside)
    assert torch.equal(grid.buckets, grid.timesteps.long() * NUM_BUCKETS // NUM_TIMESTEPS)  # as whole numbers, too
    filled = grid.buckets.bincount(minlength=NUM_BUCKETS)
    assert filled.max() - filled.min() <= (len(grid) % NUM_BUCKETS > 0)


def test_a_bucket_is_never_empty() -> None:
    with pytest.raises(StbenchError, match="3 clips with 3 timesteps each: expected at least 10 together"):
        TimestepGrid(3, 3)

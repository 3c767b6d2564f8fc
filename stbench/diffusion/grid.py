"""The timesteps of a validation loss: fixed, and equally dense over the whole noise schedule.

n clips are noised d times each, at the midpoints of n * d equal shares of the schedule. Every share is taken once, and
those of one clip lie n shares apart, so that neither chance nor the order of the clips favours some noise over another.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from stbench.diffusion.schedule import NUM_TIMESTEPS
from stbench.errors import StbenchError

NUM_BUCKETS = 10
EDGES = tuple(bucket / NUM_BUCKETS for bucket in range(NUM_BUCKETS + 1))


@dataclass(frozen=True)
class TimestepGrid:
    """The timesteps of all N pairs of clip and draw, those of the first clip first.

    Attributes:
        num_clips: n.
        draws: d, for each clip.

    Raises:
        StbenchError: so few that a bucket would be empty.
    """

    num_clips: int
    draws: int

    def __post_init__(self) -> None:
        if len(self) < NUM_BUCKETS:
            raise StbenchError(
                f"{self.num_clips} clips with {self.draws} timesteps each: expected at least {NUM_BUCKETS} together"
            )

    def __len__(self) -> int:
        return self.num_clips * self.draws

    @property
    def timesteps(self) -> Tensor:
        """(N,) float64 in [0, 1000)."""
        return (2 * self._shares + 1).double() * NUM_TIMESTEPS / (2 * len(self))

    @property
    def buckets(self) -> Tensor:
        """(N,) int64 in [0, `NUM_BUCKETS`): which tenth of the schedule each timestep lies in."""
        return (2 * self._shares + 1) * NUM_BUCKETS // (2 * len(self))

    @property
    def _shares(self) -> Tensor:
        """(N,) int64: which of the N shares each pair takes."""
        clips, draws = torch.arange(self.num_clips), torch.arange(self.draws)
        return (clips[:, None] + self.num_clips * draws).flatten()

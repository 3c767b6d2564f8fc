"""Relative positions in attention: as a bias of its scores, or as vectors beside its keys and values."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


def distance_buckets(distances: Tensor, num_buckets: int, max_distance: int) -> Tensor:
    """The bucket of every distance (T5, arXiv 1910.10683, section 2.1): integers of its shape.

    One half of the buckets are single distances, and the rest grow geometrically up to `max_distance`, whose bucket
    takes everything beyond.

    Args:
        distances: integers from 0 on.
        num_buckets: in all, an even number.
        max_distance: where buckets end.
    """
    exact = num_buckets // 2
    share = (distances.clamp(min=1) / exact).log() / math.log(max_distance / exact)
    far = (exact + (share * (num_buckets - exact)).long()).clamp(max=num_buckets - 1)
    return torch.where(distances < exact, distances, far)


def relative_buckets(length: int, num_buckets: int, max_distance: int) -> Tensor:
    """The bucket of every offset between two positions, in both directions: half of them are for keys after the query.

    Args:
        length: N.
        num_buckets: in all, a multiple of 4.
        max_distance: see `distance_buckets`.

    Returns:
        (N, N) integers: row of the query, column of the key.
    """
    positions = torch.arange(length)
    offsets = positions - positions[:, None]
    half = num_buckets // 2
    return distance_buckets(offsets.abs(), half, max_distance) + half * (offsets > 0)


class RelativePositionBias(nn.Embedding):
    """A learned score for each bucket of offsets and each head.

    Args:
        num_heads: of the attentions that share it.
        num_buckets: see `relative_buckets`.
        max_distance: see `relative_buckets`.
    """

    def __init__(self, num_heads: int, num_buckets: int = 32, max_distance: int = 32) -> None:
        super().__init__(num_buckets, num_heads)
        self.max_distance = max_distance

    def forward(self, length: int) -> Tensor:  # type: ignore[override]  # of a length, not of indices
        """The bias between all pairs of `length` positions: (heads, N, N)."""
        buckets = relative_buckets(length, self.num_embeddings, self.max_distance)
        return super().forward(buckets.to(self.weight.device)).permute(2, 0, 1)


class CausalBias(nn.Embedding):
    """A learned score for each bucket of distances and each head, and no sight of what comes later.

    In front of the keys stands one that is no position, and that everything sees. It counts as the first, so that a
    position is as far from itself as from the one before: so has DALLE2-pytorch, and the weights learned with it.
    """

    MAX_DISTANCE = 128

    def __init__(self, num_heads: int, num_buckets: int = 32) -> None:
        super().__init__(num_buckets, num_heads)

    def forward(self, length: int) -> Tensor:  # type: ignore[override]  # of a length, not of indices
        """The bias of `length` queries towards that key and theirs: (heads, N, 1 + N)."""
        index = torch.arange(length + 1, device=self.weight.device)
        distances = index[:-1, None] - index
        bias = super().forward(distance_buckets(distances.clamp(min=0), self.num_embeddings, self.MAX_DISTANCE))
        return bias.permute(2, 0, 1).masked_fill(distances < -1, -math.inf)


class RelativePositions(nn.Module):
    """A learned vector for each distance (arXiv 1803.02155, section 3.2), for `RelativeAttend`.

    Args:
        reach: the largest distance with a vector of its own; what is farther apart shares the last one.
        dim: E, of a head.
    """

    def __init__(self, reach: int, dim: int) -> None:
        super().__init__()
        self.reach = reach
        self.table = nn.Parameter(nn.init.xavier_uniform_(torch.empty(2 * reach + 1, dim)))

    def forward(self, length: int) -> Tensor:
        """The vectors of j - i at [i, j], for positions below `length`: (N, N, E)."""
        positions = torch.arange(length, device=self.table.device)
        distances = positions - positions[:, None]
        return self.table[distances.clamp(-self.reach, self.reach) + self.reach]

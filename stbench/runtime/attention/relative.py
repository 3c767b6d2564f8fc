"""Attention with learned relative positions in keys and values (arXiv 1803.02155, equations 3 and 4), by the formula.

Under every backend: the position term of the values needs the softmax itself, which no fused kernel hands out. Each
product stands in a module of its own, as `Attend` does, so that what looks for attention finds it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class PositionScores(nn.Module):
    """The products of queries with the positions of keys, without parameters."""

    def forward(self, q: Tensor, key_positions: Tensor) -> Tensor:
        """Queries (..., N, E) by what each of them adds to the keys (N, M, E): (..., N, M), not scaled."""
        return torch.einsum("...ne,nme->...nm", q, key_positions)


class RelativeAttend(nn.Module):
    """Attention whose values differ from query to query by where they stand, without parameters."""

    def forward(self, q: Tensor, k: Tensor, v: Tensor, value_positions: Tensor, bias: Tensor) -> Tensor:
        """Attend from q to k and v.

        Args:
            q: queries (..., N, E)
            k: keys (..., M, E)
            v: values (..., M, E)
            value_positions: (N, M, E), added to the values as each query sees them.
            bias: added to the scaled products, broadcastable to (..., N, M): what positions of keys say, for one.

        Returns:
            (..., N, E)
        """
        weights = (q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5 + bias).softmax(dim=-1)
        return weights @ v + torch.einsum("...nm,nme->...ne", weights, value_positions)

"""Attention with learned relative positions in keys and values (arXiv 1803.02155): the formula, under every backend.

The position term of the values needs the softmax itself, which no fused kernel hands out.
"""

from __future__ import annotations

import torch
from torch import Tensor


def relative_attention(
    q: Tensor, k: Tensor, v: Tensor, key_positions: Tensor | None, value_positions: Tensor, bias: Tensor | None = None
) -> Tensor:
    """Attend from q to k and v, which differ from query to query by where they stand (equations 3 and 4).

    Args:
        q: queries (..., N, E)
        k: keys (..., M, E)
        v: values (..., M, E)
        key_positions: (N, M, E), added to the keys as each query sees them; None where `bias` has that.
        value_positions: (N, M, E), added to the values likewise.
        bias: added to the scaled products, broadcastable to (..., N, M).

    Returns:
        (..., N, E)
    """
    scores = q @ k.transpose(-2, -1)
    if key_positions is not None:
        scores = scores + torch.einsum("...ne,nme->...nm", q, key_positions)
    scores = scores * q.shape[-1] ** -0.5
    if bias is not None:
        scores = scores + bias
    weights = scores.softmax(dim=-1)
    return weights @ v + torch.einsum("...nm,nme->...ne", weights, value_positions)

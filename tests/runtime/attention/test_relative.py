"""Attention by relative positions against attention with keys and values of its own for each query."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from stbench.runtime.attention.relative import relative_attention


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("biased", [False, True])
def test_every_query_sees_keys_and_values_of_its_own(biased: bool) -> None:
    q, k, v = normal(2, 3, 4, 8, seed=0), normal(2, 3, 5, 8, seed=1), normal(2, 3, 5, 8, seed=2)
    key_positions, value_positions = normal(4, 5, 8, seed=3), normal(4, 5, 8, seed=4)
    bias = normal(3, 4, 5, seed=5) if biased else None
    out = relative_attention(q, k, v, key_positions, value_positions, bias)
    for i in range(4):
        scores = (k + key_positions[i]) @ q[:, :, i, :, None] / 8**0.5  # (2, 3, 5, 1)
        weights = (scores if bias is None else scores + bias[:, i, :, None]).softmax(dim=2)
        torch.testing.assert_close(out[:, :, i], (weights * (v + value_positions[i])).sum(dim=2), rtol=0, atol=1e-5)

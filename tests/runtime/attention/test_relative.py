"""Attention by relative positions against attention with keys and values of its own for each query."""

from __future__ import annotations

import torch
from torch import Tensor

from stbench.runtime.attention.relative import PositionScores, RelativeAttend


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_every_query_sees_keys_and_values_of_its_own() -> None:
    q, k, v = normal(2, 3, 4, 8, seed=0), normal(2, 3, 5, 8, seed=1), normal(2, 3, 5, 8, seed=2)
    key_positions, value_positions = normal(4, 5, 8, seed=3), normal(4, 5, 8, seed=4)
    own = normal(3, 4, 5, seed=5)
    bias = PositionScores()(q, key_positions) * 8**-0.5 + own
    out = RelativeAttend()(q, k, v, value_positions, bias)
    for i in range(4):
        scores = (k + key_positions[i]) @ q[:, :, i, :, None] / 8**0.5  # (2, 3, 5, 1)
        weights = (scores + own[:, i, :, None]).softmax(dim=2)
        torch.testing.assert_close(out[:, :, i], (weights * (v + value_positions[i])).sum(dim=2), rtol=0, atol=1e-5)

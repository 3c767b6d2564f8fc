"""Linear attention: its formula, and what makes it linear."""

from __future__ import annotations

import torch
from torch import Tensor

from stbench.runtime.attention.linear import LinearAttend


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_every_query_reads_one_summary_of_keys_and_values() -> None:
    q, k, v = normal(2, 3, 5, 4, seed=0), normal(2, 3, 7, 4, seed=1), normal(2, 3, 7, 6, seed=2)
    out = LinearAttend()(q, k, v)
    for batch, head in ((0, 0), (1, 2)):
        summary = k[batch, head].softmax(0).T @ v[batch, head]
        expected = q[batch, head].softmax(1) @ summary / 2
        torch.testing.assert_close(out[batch, head], expected)


def test_it_does_not_see_the_order_of_the_keys() -> None:
    q, k, v = normal(1, 2, 5, 4, seed=0), normal(1, 2, 7, 4, seed=1), normal(1, 2, 7, 4, seed=2)
    order = torch.randperm(7, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(LinearAttend()(q, k[:, :, order], v[:, :, order]), LinearAttend()(q, k, v))

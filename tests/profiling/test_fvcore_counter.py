"""fvcore with attention: the same count whatever computes it."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from stbench.profiling.fvcore_counter import HEADS_FIRST, TOKENS_FIRST, FvcoreCount, count_with_fvcore
from stbench.runtime.attention.attend import Attend

QKV = (2, 4, 64, 32)  # (B, heads, N, E)
ATTENTION_GMACS = 2 * 2 * 4 * 64 * 64 * 32 / 1e9  # 2 B heads N N E


def count(build: Callable[[], nn.Module], *tensors: Tensor, attention: str = "math") -> FvcoreCount:
    return count_with_fvcore(build, lambda: tensors, attention)


@pytest.mark.parametrize("attention", ["math", "sdpa", "flash"])
def test_attention_counts_the_same_under_every_backend(attention: str) -> None:
    counted = count(Attend, *torch.zeros(3, *QKV), attention=attention)
    assert counted == FvcoreCount(ATTENTION_GMACS, [])


class Calls(nn.Module):
    """Calls an operator, named as traces name it, on q, k and v."""

    def __init__(self, operator: str) -> None:
        super().__init__()
        library, _, name = operator.partition("::")
        self.operator = getattr(getattr(torch.ops, library), name)

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        out = self.operator(q, k, v)
        return out if isinstance(out, Tensor) else out[0]


@pytest.mark.parametrize(
    "operator",
    [
        "aten::scaled_dot_product_attention",
        "aten::_scaled_dot_product_attention_math",
        "aten::_scaled_dot_product_flash_attention_for_cpu",
    ],
)
def test_operators_of_torch(operator: str) -> None:
    assert operator in HEADS_FIRST
    assert count(lambda: Calls(operator), *torch.zeros(3, *QKV)) == FvcoreCount(ATTENTION_GMACS, [])


@pytest.mark.parametrize("shape", [(64, 32), (8, 64, 32), (2, 2, 2, 64, 32)], ids=str)
def test_attention_of_torch_counts_with_any_leading_axes(shape: tuple[int, ...]) -> None:
    """Keys are fewer than queries, so that no other axis passes for theirs."""
    q, (k, v) = torch.zeros(shape), torch.zeros(2, *shape)[..., :48, :]
    counted = count(lambda: Calls("aten::scaled_dot_product_attention"), q, k, v)
    assert counted == FvcoreCount(math.prod(shape[:-2]) * 64 * 48 * 2 * 32 / 1e9, [])


def test_xformers_operator_with_heads_behind_tokens() -> None:
    """A stand-in of the library's signature, (batch, N, heads, E), with values of another width and other keys."""
    operator = "xformers::memory_efficient_attention_forward"
    assert operator in TOKENS_FIRST
    library = torch.library.Library("xformers", "FRAGMENT")
    library.define("memory_efficient_attention_forward(Tensor q, Tensor k, Tensor v) -> Tensor")
    library.impl("memory_efficient_attention_forward", lambda q, k, v: q.new_zeros(*q.shape[:-1], v.shape[-1]), "CPU")
    q, k, v = torch.zeros(2, 64, 4, 32), torch.zeros(2, 48, 4, 32), torch.zeros(2, 48, 4, 16)
    counted = count(lambda: Calls(operator), q, k, v)
    assert counted == FvcoreCount(math.prod((2, 4, 64, 48, 32 + 16)) / 1e9, [])


class ReadsShapes(nn.Module):
    """Does with shapes what a trace forbids."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(16, 3)

    def forward(self, x: Tensor, repeats: int) -> Tensor:
        side = round(x.shape[1] ** 0.5)
        assert side == x.size(-1) ** 0.5
        return sum((self.linear(x) for _ in range(repeats)), start=torch.zeros(side)[0])


def test_shapes_are_integers_and_other_arguments_are_handed_on() -> None:
    counted = count_with_fvcore(ReadsShapes, lambda: (torch.zeros(5, 16), 3))
    assert counted == FvcoreCount(3 * 5 * 16 * 3 / 1e9, [])


class UnknownProduct(nn.Module):
    """A product that fvcore has no formula for, beside a batched one that it was taught."""

    def forward(self, matrix: Tensor, vector: Tensor) -> Tensor:
        batch = matrix.expand(2, -1, -1)
        return torch.mv(matrix, vector).sum() + torch.baddbmm(batch, batch, batch)


def test_unknown_products_are_named() -> None:
    counted = count(UnknownProduct, torch.zeros(4, 4), torch.zeros(4))
    assert counted == FvcoreCount(2 * 4 * 4 * 4 / 1e9, ["aten::mv"])

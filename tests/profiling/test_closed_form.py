"""Closed forms of single layers, forward and backward, against torch's counter and against formulas by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from stbench.profiling.flops import count_operations
from stbench.runtime.attention.attend import Attend
from stbench.runtime.attention.linear import LinearAttend

LAYERS: list[tuple[Callable[[], nn.Module], tuple[int, ...], int]] = [
    (lambda: nn.Linear(48, 96), (2, 7, 48), 2 * 7 * 48 * 96),
    (lambda: nn.Conv1d(4, 6, 3), (2, 4, 10), 2 * 6 * 8 * 4 * 3),
    (lambda: nn.Conv2d(8, 16, 3, stride=2, padding=1), (2, 8, 9, 9), 2 * 16 * 5 * 5 * 8 * 9),
    (lambda: nn.Conv2d(8, 16, 3, groups=4), (2, 8, 9, 9), 2 * 16 * 7 * 7 * 2 * 9),
    (lambda: nn.Conv3d(4, 32, (1, 2, 2), stride=(1, 2, 2)), (2, 4, 4, 8, 8), 2 * 4 * 4 * 4 * 32 * 4 * 4),
    (lambda: nn.ConvTranspose2d(8, 4, 4, 2, 1), (2, 8, 5, 5), 2 * 8 * 25 * 4 * 16),
    (lambda: nn.ConvTranspose2d(8, 4, 4, 2, 1, groups=2), (2, 8, 5, 5), 2 * 8 * 25 * 2 * 16),
]
layers = pytest.mark.parametrize(("build", "shape", "macs"), LAYERS)


class AfterAnother(nn.Module):
    """A layer whose input wants a gradient, as behind a first layer."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x.requires_grad_())


def training_macs(build: Callable[[], nn.Module], *shapes: tuple[int, ...]) -> int:
    counts = count_operations(build, lambda: tuple(map(torch.zeros, shapes)), training=True)
    assert counts.gmacs_by_counter["closed_form"] == counts.gmacs
    assert counts.incomplete == []
    return counts.macs


@layers
def test_a_first_layer_needs_no_gradient_of_its_input(
    build: Callable[[], nn.Module], shape: tuple[int, ...], macs: int
) -> None:
    assert training_macs(build, shape) == 2 * macs


@layers
def test_an_inner_layer_takes_three_times_its_forward_pass(
    build: Callable[[], nn.Module], shape: tuple[int, ...], macs: int
) -> None:
    assert training_macs(lambda: AfterAnother(build()), shape) == 3 * macs


@layers
def test_a_frozen_layer_needs_no_gradient_of_its_weight(
    build: Callable[[], nn.Module], shape: tuple[int, ...], macs: int
) -> None:
    assert training_macs(lambda: AfterAnother(build().requires_grad_(False)), shape) == 2 * macs


class SelfAttention(nn.Module):
    """Attention behind a linear layer, with more keys than queries and values of another width."""

    def __init__(self, attend: nn.Module) -> None:
        super().__init__()
        self.q, self.k, self.v = nn.Linear(4, 8), nn.Linear(4, 8), nn.Linear(4, 6)
        self.attend = attend

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.attend(self.q(x), self.k(y), self.v(y))


def test_attention_takes_two_products_forward_and_four_backward() -> None:
    B, heads, N, M = 2, 3, 5, 7
    linear = B * heads * (N * 4 * 8 + M * 4 * 8 + M * 4 * 6)
    attention = B * heads * N * M * (8 + 6)
    shapes = ((B, heads, N, 4), (B, heads, M, 4))
    assert training_macs(lambda: SelfAttention(Attend()), *shapes) == 2 * linear + 3 * attention


def test_linear_attention_takes_a_product_for_the_keys_and_one_for_the_queries() -> None:
    B, heads, N, M = 2, 3, 5, 7
    linear = B * heads * (N * 4 * 8 + M * 4 * 8 + M * 4 * 6)
    attention = B * heads * (M + N) * 8 * 6
    shapes = ((B, heads, N, 4), (B, heads, M, 4))
    assert training_macs(lambda: SelfAttention(LinearAttend()), *shapes) == 2 * linear + 3 * attention


def test_layers_that_are_not_called_do_not_count() -> None:
    class Idle(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            return self[0](x)

    assert training_macs(lambda: Idle(nn.Linear(4, 3), nn.Linear(3, 2)), (5, 4)) == 2 * 5 * 4 * 3

"""Multiply-accumulates (MACs) of layers in closed form, from the shapes of what goes through them.

A linear layer or convolution takes one MAC for each weight and each place that it is applied to. Attention takes two
products, of queries with keys and of weights with values, and as many again with learned positions of either; linear
attention of keys with values, and of queries with those. In a training step every product y = x w is followed by dL/dx
= dL/dy w^T and dL/dw = x^T dL/dy, each as large as itself, where that gradient is wanted: the first layer's input and
frozen weights want none. Elementwise work counts as nothing, as in the literature.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn

from stbench.runtime.attention.attend import Attend
from stbench.runtime.attention.linear import LinearAttend
from stbench.runtime.attention.relative import PositionScores, RelativeAttend

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED_CONVOLUTIONS = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
ATTENTION = (Attend, LinearAttend, PositionScores, RelativeAttend)
KNOWN_LAYERS = (nn.Linear, *CONVOLUTIONS, *TRANSPOSED_CONVOLUTIONS, *ATTENTION)


class LayerMacs:
    """Adds up the layers that are called while it watches: a lower bound of what is executed.

    Attributes:
        forward: MACs of the layers themselves.
        backward: MACs of the gradients that they will need; 0 when called without gradients.
        inside: whether such a layer is running at this moment.
    """

    def __init__(self) -> None:
        self.forward = 0
        self.backward = 0
        self.inside = False

    @contextmanager
    def watching(self, network: nn.Module) -> Iterator[None]:
        """Add up the layers inside `network` that are called meanwhile."""
        with ExitStack() as hooks:
            for layer in network.modules():
                if isinstance(layer, KNOWN_LAYERS):
                    hooks.callback(layer.register_forward_pre_hook(self._enter).remove)
                    hooks.callback(layer.register_forward_hook(self._add, with_kwargs=True).remove)
            yield

    def _enter(self, layer: nn.Module, inputs: tuple[Any, ...]) -> None:
        self.inside = True

    def _add(self, layer: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any], output: Tensor) -> None:
        self.inside = False
        inputs += tuple(named.values())
        for macs, left, right in _products(layer, inputs, output):
            self.forward += macs
            self.backward += macs * (left + right) if output.requires_grad else 0


_Product = tuple[int, bool, bool]  # MACs, and whether the gradients of its two factors are wanted


def _products(layer: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> list[_Product]:
    if isinstance(layer, Attend):
        return _attention_products(*inputs[:3])
    if isinstance(layer, LinearAttend):
        return _linear_attention_products(*inputs)
    if isinstance(layer, PositionScores):
        q, key_positions = inputs
        return [(q.numel() * key_positions.shape[-2], q.requires_grad, key_positions.requires_grad)]
    if isinstance(layer, RelativeAttend):
        q, k, v, value_positions, bias = inputs
        scores, values = _attention_products(q, k, v)
        of_weights = q.requires_grad or k.requires_grad or bias.requires_grad
        return [scores, (values[0], of_weights, values[2]), (values[0], of_weights, value_positions.requires_grad)]
    return [_weighted(layer, inputs, output)]


def _weighted(layer: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> _Product:
    weight: Tensor = layer.weight  # type: ignore[assignment]  # every layer here but attention has one
    # Weights are (out, in / groups, *kernel), or transposed (in, out / groups, *kernel).
    places = inputs[0] if isinstance(layer, TRANSPOSED_CONVOLUTIONS) else output
    return places.numel() * weight[0].numel(), inputs[0].requires_grad, weight.requires_grad


def _attention_products(q: Tensor, k: Tensor, v: Tensor) -> list[_Product]:
    pairs = math.prod(q.shape[:-1]) * k.shape[-2]
    scores = (pairs * q.shape[-1], q.requires_grad, k.requires_grad)
    return [scores, (pairs * v.shape[-1], q.requires_grad or k.requires_grad, v.requires_grad)]


def _linear_attention_products(q: Tensor, k: Tensor, v: Tensor) -> list[_Product]:
    summary = (k.numel() * v.shape[-1], k.requires_grad, v.requires_grad)
    return [summary, (q.numel() * v.shape[-1], q.requires_grad, k.requires_grad or v.requires_grad)]

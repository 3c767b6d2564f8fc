"""The layers of the prior, each against its own formula."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stbench.backbones.layers import Rotary
from stbench.backbones.prior.layers import CausalAttention, FeedForward, RescaledNorm, TimestepMlp

DIM, HEADS, HEAD_DIM, TOKENS = 6, 2, 4, 5


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def fill(module: nn.Module) -> None:
    """Noise in every parameter, so that nothing is hidden by what starts at one."""
    for index, parameter in enumerate(module.parameters()):
        parameter.data.copy_(0.5 * normal(*parameter.shape, seed=index))


def normed(x: Tensor, gain: Tensor) -> Tensor:
    return (x - x.mean(-1, keepdim=True)) / (x.var(-1, keepdim=True, unbiased=False) + 1e-5).sqrt() * gain


def unit(x: Tensor) -> Tensor:
    return x / x.norm(dim=-1, keepdim=True)


def test_attention_by_its_formula() -> None:
    """Token by token and head by head: 16 times the cosine to a key that all heads share, or to that of nothing."""
    rotary = Rotary(HEAD_DIM)
    attention, x, bias = CausalAttention(DIM, HEADS, HEAD_DIM, rotary), normal(2, TOKENS, DIM), normal(HEADS, TOKENS, 6)
    fill(attention)
    tokens = normed(x[1], attention.norm.weight)
    q = (tokens @ attention.to_q.weight.T).view(TOKENS, HEADS, HEAD_DIM)
    k, v = (tokens @ attention.to_kv.weight.T).chunk(2, dim=-1)
    null_k, null_v = attention.null_kv
    keys, values = torch.cat([null_k[None], rotary(k)]), torch.cat([null_v[None], v])
    out = torch.empty(TOKENS, HEADS, HEAD_DIM)
    for head in range(HEADS):
        scores = 16 * unit(rotary(q[:, head])) @ unit(keys).T + bias[head]
        out[:, head] = scores.softmax(-1) @ values
    expected = normed(out.flatten(1) @ attention.to_out.weight.T, attention.norm_out.weight)
    torch.testing.assert_close(attention(x, bias)[1], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("norm_hidden", [False, True])
def test_feed_forward_by_its_formula(norm_hidden: bool) -> None:
    layer, x = FeedForward(DIM, norm_hidden), normal(2, TOKENS, DIM)
    fill(layer)
    value, gate = (normed(x, layer.norm.weight) @ layer.enter.weight.T).split(4 * DIM, dim=-1)
    hidden = value * gate / (1 + (-gate).exp())
    if isinstance(layer.norm_hidden, nn.LayerNorm):
        hidden = normed(hidden, layer.norm_hidden.weight)
    torch.testing.assert_close(layer(x), hidden @ layer.leave.weight.T, rtol=1e-4, atol=1e-5)


def test_rescaled_norm_is_the_norm_of_what_has_1_as_its_largest_channel() -> None:
    norm, x = RescaledNorm(DIM), 1e-4 * normal(2, DIM).abs()
    fill(norm)
    torch.testing.assert_close(norm(x), normed(x / x.amax(-1, keepdim=True), norm.weight))


def test_timestep_mlp_by_its_formula() -> None:
    layer, timesteps = TimestepMlp(DIM), torch.tensor([3.5, 700.0])
    angles = timesteps[:, None] * torch.tensor([10000 ** (-i / 2) for i in range(3)])
    x = torch.cat([angles.sin(), angles.cos()], dim=-1)
    first, second, third = (module for module in layer.mlp if isinstance(module, nn.Linear))
    expected = third(F.silu(second(F.silu(first(x)))))
    torch.testing.assert_close(layer(timesteps), expected, rtol=1e-4, atol=math.ulp(1e3))

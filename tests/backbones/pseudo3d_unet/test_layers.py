"""The pseudo-3D layers: the authors' figures, the start as image layers, and each layer against its own formula."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stbench.backbones.pseudo3d_unet.layers import (
    Attention,
    ConvBlock,
    FeedForward,
    PositionBias,
    PseudoAttention3d,
    PseudoConv3d,
    ResNetBlock,
    TemporalConv,
)
from stbench.runtime.attention.attend import Attend
from stbench.runtime.attention.backends import math_attention


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def fill(module: nn.Module) -> None:
    """Noise in every parameter, so that nothing is hidden by what starts at zero."""
    for index, parameter in enumerate(module.parameters()):
        parameter.data.copy_(0.3 * normal(*parameter.shape, seed=index))


def count_parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def per_frame(network: Callable[[Tensor], Tensor], x: Tensor, axis: int) -> Tensor:
    return torch.cat([network(frame) for frame in x.split(1, dim=axis)], dim=axis)


# ---- against the authors' figures ----


def test_golden_convolution(
    golden: Any, formula_input: Any, formula_fill: Any, assert_golden: Any, authors_name: Any
) -> None:
    conv = PseudoConv3d(4, 6)
    formula_fill(conv, authors_name)
    assert count_parameters(conv) == golden["mav_pconv"]["params"]
    x = formula_input((2, 4, 4, 8, 8)).permute(0, 2, 3, 4, 1)
    assert_golden(conv(x).permute(0, 4, 1, 2, 3), golden["mav_pconv"])


@pytest.mark.parametrize(
    ("layer", "parameters"),
    [(lambda: PseudoConv3d(256, 256), 786_944), (lambda: PseudoAttention3d(256, 8, 64, True, True), 1_609_274)],
)
def test_parameters_of_the_published_layers(layer: Callable[[], nn.Module], parameters: int) -> None:
    # The second figure is that of the library's SpatioTemporalAttention(256, heads 8 x 64) with its feed-forward.
    with torch.device("meta"):
        assert count_parameters(layer()) == parameters


# ---- a video layer starts as its image layer ----


@pytest.mark.parametrize(
    "build",
    [
        lambda time: PseudoConv3d(6, 10, enable_time=time),
        lambda time: PseudoConv3d(6, 4, kernel_size=7, enable_time=time),
        lambda time: PseudoAttention3d(6, num_heads=2, head_dim=4, enable_time=time, token_shift=False),
    ],
    ids=["convolution", "convolution-7", "attention"],
)
def test_layers_start_as_image_layers(build: Callable[[bool], nn.Module], fill_zeros: Any) -> None:
    torch.manual_seed(0)
    video, image = build(True), build(False)
    fill_zeros(video, keep_temporal=True)
    image.load_state_dict({name: video.state_dict()[name] for name in image.state_dict()})
    x = torch.randn(2, 5, 8, 8, 6)
    assert torch.equal(video(x), image(x))
    torch.testing.assert_close(video(x), per_frame(video, x, axis=1), rtol=0, atol=1e-6)


def test_residual_block_starts_as_image_block() -> None:
    torch.manual_seed(0)
    video, image = (ResNetBlock(6, 10, enable_time, embed_dim=12) for enable_time in (True, False))
    image.load_state_dict({name: video.state_dict()[name] for name in image.state_dict()})
    x, embedding = torch.randn(2, 5, 8, 8, 6), torch.randn(2, 12)
    assert torch.equal(video(x, embedding), image(x, embedding))


def test_temporal_convolution_starts_as_the_identity() -> None:
    conv, x = TemporalConv(5), normal(2, 4, 3, 2, 5)
    assert torch.equal(conv(x), x)
    assert sorted(conv.weight.unique().tolist()) == [0, 1]
    assert conv.weight.sum() == 5


def test_attentions_start_by_adding_nothing() -> None:
    torch.manual_seed(0)
    x = normal(2, 4, 3, 2, 6)
    layer = PseudoAttention3d(6, num_heads=2, head_dim=4, enable_time=True, token_shift=False)
    assert not layer.spatial(x.flatten(2, 3), (3, 2)).any()
    torch.testing.assert_close(layer(x), x + layer.feed_forward(x))


# ---- other temporal parts ----


def test_channels_of_one_norm_are_mixed_by_the_gate() -> None:
    layer, x = PseudoAttention3d(6, 2, 4, True, False, "dual_channel"), normal(2, 4, 3, 2, 6)
    assert layer.gate is not None and isinstance(layer.temporal, Attention)
    fill(layer)
    tokens = x.flatten(2, 3)
    share, tubes = layer.gate.logit.sigmoid(), tokens.transpose(1, 2)
    over_space, over_time = layer.spatial(tokens, (3, 2)), layer.temporal(tubes, (4,)).transpose(1, 2)
    mixed = x + (share * over_space + (1 - share) * over_time).unflatten(2, (3, 2))
    torch.testing.assert_close(layer(x), mixed + layer.feed_forward(mixed))
    assert layer.temporal.norm is layer.spatial.norm
    assert not any(parameter.requires_grad for parameter in layer.spatial.parameters())


def test_sparse_causal_attention_looks_at_the_first_and_the_previous_frame_at_equal_offsets() -> None:
    sparse, plain = (Attention(6, 2, 4, num_axes=2, sparse_causal=sparse) for sparse in (True, False))
    fill(plain)
    sparse.load_state_dict(plain.state_dict())
    still, moving = normal(1, 1, 6, 6).expand(-1, 4, -1, -1), normal(1, 4, 6, 6)
    torch.testing.assert_close(sparse(still, (3, 2)), plain(still, (3, 2)))
    changed = moving.clone()
    changed[:, 1] += 1
    moved = (sparse(changed, (3, 2)) - sparse(moving, (3, 2))).abs().amax(dim=(0, 2, 3)) > 1e-6
    assert moved.tolist() == [False, True, True, False]  # frame 1 by its queries, frame 2 as it looks back


def test_a_motion_module_stands_in_for_attention_over_time() -> None:
    layer, x = PseudoAttention3d(8, 2, 4, True, False, "motion_module"), normal(2, 4, 3, 2, 8)
    image = PseudoAttention3d(8, 2, 4, False, False)
    assert layer.temporal is not None
    image.load_state_dict({name: layer.state_dict()[name] for name in image.state_dict()})
    assert torch.equal(layer(x), image(x))
    fill(layer)
    spatial = x + layer.spatial(x.flatten(2, 3), (3, 2)).view_as(x)
    moved = layer.temporal(spatial.flatten(2, 3)).view_as(x)
    torch.testing.assert_close(layer(x), moved + layer.feed_forward(moved))


# ---- each layer against its own formula ----


def test_temporal_convolution_sees_three_frames_of_one_pixel() -> None:
    conv, x = TemporalConv(5), normal(2, 4, 3, 2, 5)
    fill(conv)
    expected = F.conv3d(x.permute(0, 4, 1, 2, 3), conv.weight[..., None], conv.bias, padding=(1, 0, 0))
    torch.testing.assert_close(conv(x), expected.permute(0, 2, 3, 4, 1), rtol=1e-5, atol=1e-5)
    changed = x.clone()
    changed[:, 2, 1, 0] += 1
    moved = (conv(changed) - conv(x)).abs().amax(dim=(0, 4)) > 1e-6  # (F, H, W)
    assert moved.nonzero().tolist() == [[1, 1, 0], [2, 1, 0], [3, 1, 0]]


def test_pseudo_convolution_is_separable() -> None:
    """A spatial, then a temporal kernel: one 3D convolution with their product, where the border plays no part."""
    conv, x = PseudoConv3d(3, 4), normal(1, 5, 6, 6, 3)
    fill(conv)
    spatial, temporal = conv.spatial[0], conv.temporal
    kernel = torch.einsum("omt,mihw->oithw", temporal.weight[..., 0], spatial.weight)
    bias = temporal.weight.sum(dim=(2, 3)) @ spatial.bias + temporal.bias
    expected = F.conv3d(x.permute(0, 4, 1, 2, 3), kernel, bias).permute(0, 2, 3, 4, 1)
    torch.testing.assert_close(conv(x)[:, 1:-1, 1:-1, 1:-1], expected, rtol=1e-4, atol=1e-5)


def test_attention_by_its_formula() -> None:
    attention, x = Attention(6, num_heads=2, head_dim=4, num_axes=2), normal(3, 6, 6)
    fill(attention)
    normed = x / x.square().mean(-1, keepdim=True).sqrt() * attention.norm.weight
    q, (k, v) = normed @ attention.to_q.weight.T, (normed @ attention.to_kv.weight.T).chunk(2, dim=-1)
    bias = attention.position_bias((3, 2))  # (heads, N, N)
    heads = []
    for head in range(2):
        own = slice(4 * head, 4 * head + 4)
        scores = q[..., own] @ k[..., own].transpose(-2, -1) / 2 + bias[head]
        heads.append(scores.softmax(-1) @ v[..., own])
    expected = torch.cat(heads, dim=-1) @ attention.to_out.weight.T
    torch.testing.assert_close(attention(x, (3, 2)), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("token_shift", [False, True])
def test_feed_forward_by_its_formula(token_shift: bool) -> None:
    """GEGLU: x * gelu(gate), here with the exact GELU, a norm, and half of the channels a frame late."""
    feed_forward, x = FeedForward(6, token_shift), normal(2, 3, 2, 2, 6)
    fill(feed_forward)
    hidden, gate = (x @ feed_forward.proj_in.weight.T).chunk(2, dim=-1)
    hidden = hidden * gate * 0.5 * (1 + torch.erf(gate / math.sqrt(2)))
    assert hidden.shape[-1] == 16  # two thirds of 4 * 6
    if token_shift:
        late = torch.cat([torch.zeros(2, 1, 2, 2, 8), hidden[:, :-1, ..., 8:]], dim=1)
        hidden = torch.cat([hidden[..., :8], late], dim=-1)
    normed = hidden / hidden.square().mean(-1, keepdim=True).sqrt() * feed_forward.norm.weight
    torch.testing.assert_close(feed_forward(x), normed @ feed_forward.proj_out.weight.T, rtol=1e-4, atol=1e-5)


def test_pseudo_attention_mixes_pixels_then_frames_then_channels() -> None:
    layer = PseudoAttention3d(6, num_heads=2, head_dim=4, enable_time=True, token_shift=False)
    fill(layer)
    x = normal(2, 3, 2, 2, 6)
    expected = x.clone()
    for frame in range(3):
        expected[:, frame] += layer.spatial(x[:, frame].flatten(1, 2), (2, 2)).unflatten(1, (2, 2))
    spatial = expected.clone()
    assert layer.temporal is not None
    for row, column in product(range(2), range(2)):
        expected[:, :, row, column] += layer.temporal(spatial[:, :, row, column], (3,))
    torch.testing.assert_close(layer(x), expected + layer.feed_forward(expected), rtol=1e-4, atol=1e-5)


def test_convolution_block_is_modulated_between_norm_and_activation() -> None:
    block = ConvBlock(3, 4, enable_time=True)
    fill(block)
    x, scale_shift = normal(2, 3, 4, 4, 3), normal(2, 8, seed=1)
    normed = block.norm(block.conv(x))
    torch.testing.assert_close(block(x), normed * normed.sigmoid())
    scale, shift = (part[:, None, None, None] for part in scale_shift.chunk(2, dim=1))
    modulated = normed * (1 + scale) + shift
    torch.testing.assert_close(block(x, scale_shift), modulated * modulated.sigmoid(), rtol=1e-5, atol=1e-6)
    assert torch.equal(block(x, torch.zeros(2, 8)), block(x))


@pytest.mark.parametrize("embed_dim", [0, 12])
@pytest.mark.parametrize("out_channels", [6, 10])
def test_residual_block_by_its_formula(out_channels: int, embed_dim: int) -> None:
    block = ResNetBlock(6, out_channels, enable_time=True, embed_dim=embed_dim)
    fill(block)
    x, embedding = normal(2, 3, 4, 4, 6), normal(2, 12, seed=1)
    scale_shift = block.modulation[1](F.silu(embedding)) if embed_dim else None
    beside = x if out_channels == 6 else x @ block.residual.weight.T + block.residual.bias
    expected = block.last(block.first(x, scale_shift)) + beside
    torch.testing.assert_close(block(x, embedding), expected, rtol=1e-5, atol=1e-5)
    other = block(x, embedding + 1)
    assert torch.equal(other, block(x, embedding)) is (embed_dim == 0)


@pytest.mark.parametrize("sizes", [(4,), (2, 3)])
def test_position_bias_is_a_function_of_the_offset(sizes: tuple[int, ...]) -> None:
    bias = PositionBias(len(sizes), hidden_dim=5, num_heads=2)
    positions = list(product(*map(range, sizes)))
    for i, query in enumerate(positions):
        for j, key in enumerate(positions):
            offset = torch.tensor([float(a - b) for a, b in zip(query, key, strict=True)])
            torch.testing.assert_close(bias(sizes)[:, i, j], nn.Sequential.forward(bias, offset))


def test_token_shift_takes_half_of_the_channels_from_the_frame_before() -> None:
    torch.manual_seed(0)
    shifted, plain = FeedForward(6, token_shift=True), FeedForward(6, token_shift=False)
    plain.load_state_dict(shifted.state_dict())
    still = torch.randn(1, 1, 2, 2, 6).expand(1, 3, 2, 2, 6)
    torch.testing.assert_close(shifted(still)[:, 1:], plain(still)[:, 1:])  # nothing moves: only frame 0 lacks a past
    assert (shifted(still)[:, 0] - plain(still)[:, 0]).abs().max() > 1e-3


def test_attention_bias_is_the_same_in_every_backend_that_has_it() -> None:
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 3, 4, 5, 8) for _ in range(3))  # (B, F, heads, N, E)
    bias = torch.randn(4, 5, 5)
    attend = Attend()
    plain = attend(q, k, v, bias)
    scores = torch.einsum("bfhne,bfhme->bfhnm", q, k) / 8**0.5 + bias
    torch.testing.assert_close(plain, torch.einsum("bfhnm,bfhme->bfhne", scores.softmax(-1), v))
    attend.backend = "sdpa"
    torch.testing.assert_close(attend(q, k, v, bias), plain)
    torch.testing.assert_close(attend(q, k, v), math_attention(q, k, v))

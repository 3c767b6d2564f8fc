"""The layers of the VDM U-Net, each against its own formula."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stbench.backbones.layers import Rotary
from stbench.backbones.vdm_unet.layers import (
    ConvBlock,
    FrameMask,
    ResNetBlock,
    SpaceTimeAttention,
    SpatialAttention,
    TemporalAttention,
)

DIM, HEADS, HEAD_DIM = 6, 2, 4
ALL_SEEN = FrameMask(None)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def fill(module: nn.Module) -> None:
    """Noise in every parameter, so that nothing is hidden by what starts at one."""
    for index, parameter in enumerate(module.parameters()):
        parameter.data.copy_(0.5 * normal(*parameter.shape, seed=index))


def heads_of(attention: nn.Module, tokens: Tensor) -> Tensor:
    """Queries, keys and values of tokens (N, C) under the layer's norm: (3, heads, N, head_dim)."""
    mean, var = tokens.mean(-1, keepdim=True), tokens.var(-1, keepdim=True, unbiased=False)
    normed = (tokens - mean) / (var + 1e-5).sqrt() * attention.norm.weight
    return (normed @ attention.to_qkv.weight.T).reshape(len(tokens), 3, HEADS, HEAD_DIM).permute(1, 2, 0, 3)


def attended(attention: nn.Module, scores: Tensor, v: Tensor) -> Tensor:
    """Values (heads, N, head_dim) under scores (heads, N, N), projected: (N, C)."""
    out = scores.softmax(-1) @ v
    return out.transpose(0, 1).flatten(1) @ attention.to_out.weight.T


# ---- attention over space ----


def test_spatial_attention_by_its_formula() -> None:
    attention, x = SpatialAttention(DIM, HEADS, HEAD_DIM), normal(2, 3, 2, 4, DIM)
    fill(attention)
    q, k, v = heads_of(attention, x[1, 2].flatten(0, 1))
    expected = attended(attention, q @ k.mT / 2, v).view(2, 4, DIM)
    torch.testing.assert_close(attention(x, ALL_SEEN)[1, 2], expected, rtol=1e-4, atol=1e-5)


def test_linear_attention_by_its_formula() -> None:
    """Every pixel reads the same summary of keys and values, (channels x channels), by the softmax of its query."""
    attention, x = SpatialAttention(DIM, HEADS, HEAD_DIM, linear=True), normal(2, 3, 2, 4, DIM)
    fill(attention)
    q, k, v = heads_of(attention, x[1, 2].flatten(0, 1))
    summary = torch.einsum("hnd,hne->hde", k.softmax(1), v)
    out = torch.einsum("hde,hnd->nhe", summary, q.softmax(2) / 2).flatten(1)
    expected = out @ attention.to_out.weight.T + attention.to_out.bias
    torch.testing.assert_close(attention(x, ALL_SEEN)[1, 2].flatten(0, 1), expected, rtol=1e-4, atol=1e-5)


# ---- attention over time ----


@pytest.mark.parametrize("rotary", [False, True])
def test_temporal_attention_by_its_formula(rotary: bool) -> None:
    positions = Rotary(2) if rotary else None
    attention, x = TemporalAttention(DIM, HEADS, HEAD_DIM, positions), normal(2, 5, 2, 3, DIM)
    fill(attention)
    bias = normal(HEADS, 5, 5, seed=9)
    q, k, v = heads_of(attention, x[1, :, 0, 2])
    if positions is not None:
        q, k = positions(q), positions(k)
    expected = attended(attention, q @ k.mT / 2 + bias, v)
    torch.testing.assert_close(attention(x, FrameMask(bias))[1, :, 0, 2], expected, rtol=1e-4, atol=1e-5)


def test_images_pass_their_values_and_leave_the_clip_as_it_is() -> None:
    attention, x, bias = (
        TemporalAttention(DIM, HEADS, HEAD_DIM, Rotary(4)),
        normal(2, 5, 2, 3, DIM),
        normal(HEADS, 3, 3),
    )
    fill(attention)
    out = attention(x, FrameMask(bias, num_images=2))
    torch.testing.assert_close(out[:, :3], attention(x[:, :3], FrameMask(bias)))
    for image in (3, 4):
        alone = attention(x[:, image : image + 1], FrameMask(bias[:, :1, :1]))
        torch.testing.assert_close(out[:, image : image + 1], alone)


def test_frames_apart_are_those_of_the_chosen_clips() -> None:
    attention, x, bias = TemporalAttention(DIM, HEADS, HEAD_DIM, None), normal(2, 3, 2, 3, DIM), normal(HEADS, 3, 3)
    fill(attention)
    together, one = attention(x, FrameMask(bias)), FrameMask(bias, apart=torch.tensor([False, True]))
    frames = [attention(x[:, frame : frame + 1], FrameMask(bias[:, :1, :1])) for frame in range(3)]
    expected = torch.stack([together[0], torch.cat(frames, dim=1)[1]])
    torch.testing.assert_close(attention(x, one), expected)


def test_space_then_time_each_with_a_residual() -> None:
    spatial, temporal = SpatialAttention(DIM, HEADS, HEAD_DIM), TemporalAttention(DIM, HEADS, HEAD_DIM, None)
    x, mask = normal(1, 3, 2, 2, DIM), FrameMask(normal(HEADS, 3, 3))
    after_space = x + spatial(x, mask)
    both = SpaceTimeAttention(spatial, temporal)(x, mask)
    torch.testing.assert_close(both, after_space + temporal(after_space, mask))
    torch.testing.assert_close(SpaceTimeAttention(None, temporal)(x, mask), x + temporal(x, mask))


# ---- convolutions ----


def test_convolution_is_one_frame_long() -> None:
    block, x = ConvBlock(4, DIM), normal(2, 3, 5, 4, 4)
    fill(block)
    weight, bias = block.conv.parameters()
    convolved = F.conv3d(x.permute(0, 4, 1, 2, 3), weight[:, :, None], bias, padding=(0, 1, 1))
    normed = F.normalize(convolved, dim=1) * DIM**0.5 * block.norm.weight[:, None, None, None]
    scale, shift = normal(2, 1, DIM, seed=1), normal(2, 1, DIM, seed=2)
    expected = F.silu(normed.permute(0, 2, 3, 4, 1) * (scale[:, :, None, None] + 1) + shift[:, :, None, None])
    torch.testing.assert_close(block(x, torch.cat([scale, shift], dim=-1)), expected, rtol=1e-4, atol=1e-5)


def test_a_block_without_an_embedding_takes_no_notice_of_it() -> None:
    block, x = ResNetBlock(4, DIM), normal(2, 3, 4, 4, 4)
    assert torch.equal(block(x, normal(2, 1, 8)), block(x, normal(2, 1, 8, seed=1)))
    modulated = ResNetBlock(4, DIM, embed_dim=8)
    assert not torch.equal(modulated(x, normal(2, 1, 8)), modulated(x, normal(2, 1, 8, seed=1)))

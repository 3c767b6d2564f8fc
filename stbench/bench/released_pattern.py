"""Latte's computation in the pattern of the authors' released code: what the speed of stbench is measured against.

Written from the description in arXiv 2401.03048 (section 3) and from what profiles of the released code show: tokens
are regrouped as (B F, N, D) before every spatial and as (B N, F, D) before every temporal block; the embedding of the
condition is copied to every frame and to every token position, and each copy goes through the modulation's linear
layer; attention is two matrix products around a softmax. The weights are those of an stbench `Latte`, so that both
compute one function (a test compares them), and only the way to it differs.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from stbench.backbones.base import UNCONDITIONAL, Conditioning
from stbench.backbones.latte import Latte
from stbench.backbones.latte.blocks import AxialAttention, LatteBlock


class ReleasedPattern(nn.Module):
    """A `Latte` of interleaved blocks with adaptive layer norm, computed as the authors released it.

    Args:
        latte: whose weights are shared; unconditional, uniform patch embedding, absolute temporal position.
    """

    def __init__(self, latte: Latte) -> None:
        super().__init__()
        self.latte = latte

    def forward(self, noisy_latents: Tensor, timesteps: Tensor, conditioning: Conditioning = UNCONDITIONAL) -> Tensor:
        """Predict noise and variance (B, 2C, F, H, W) of noisy latents (B, C, F, H, W)."""
        latte = self.latte
        batch, _, num_frames, _, _ = noisy_latents.shape
        frames = noisy_latents.transpose(1, 2).flatten(0, 1)  # (B F, C, H, W)
        embedding = latte.patch_embed
        patches = F.conv2d(frames, embedding.weight[:, :, 0], embedding.bias, stride=latte.patch[1:])
        x = patches.flatten(2).transpose(1, 2) + latte.spatial_table  # (B F, N, D)
        num_patches = x.shape[1]

        condition = latte.timestep_embed(timesteps)
        per_frame = condition.repeat_interleave(num_frames, dim=0)  # (B F, D)
        per_position = condition.repeat_interleave(num_patches, dim=0)  # (B N, D)
        for index, block in enumerate(latte.blocks):
            if index % 2 == 0:
                x = _block(block, x, per_frame)
                continue
            x = _regroup(x, batch)  # (B N, F, D)
            if index == 1:
                x = x + latte.temporal_table
            x = _block(block, x, per_position)
            x = _regroup(x, batch)  # (B F, N, D)

        assert latte.final.modulation is not None  # adaptive layer norm is a condition of this module
        shift, scale = latte.final.modulation(per_frame).chunk(2, dim=1)
        patches = latte.final.linear(_modulate(latte.final.norm(x), shift, scale))
        return latte.unpatchify(patches.unflatten(0, (batch, num_frames)))


def _regroup(x: Tensor, batch: int) -> Tensor:
    """Put the two token axes of (B P, Q, D) the other way round: (B Q, P, D)."""
    return x.unflatten(0, (batch, -1)).transpose(1, 2).flatten(0, 1)


def _modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    return x * (1 + scale.unsqueeze(1)) + shift.unsqueeze(1)


def _block(block: nn.Module, x: Tensor, rows: Tensor) -> Tensor:
    """One block over groups of tokens x (G, L, D), each with its own copy of the condition (G, D)."""
    assert isinstance(block, LatteBlock) and block.modulation is not None  # what an adaptive Latte consists of
    attention = block.mixers[0]
    assert isinstance(attention, AxialAttention)  # one a block, in interleaved blocks
    shift, scale, gate, mlp_shift, mlp_scale, mlp_gate = block.modulation(rows).chunk(6, dim=1)

    # Plain multi-head self-attention within each group.
    qkv = attention.qkv(_modulate(block.norms[0](x), shift, scale))
    q, k, v = qkv.unflatten(-1, (3, attention.num_heads, -1)).permute(2, 0, 3, 1, 4)  # each (G, heads, L, E)
    weights = ((q @ k.transpose(-2, -1)) * q.shape[-1] ** -0.5).softmax(dim=-1)
    attended = attention.proj((weights @ v).transpose(1, 2).flatten(-2))

    x = x + gate.unsqueeze(1) * attended
    return x + mlp_gate.unsqueeze(1) * block.mlp(_modulate(block.norms[1](x), mlp_shift, mlp_scale))

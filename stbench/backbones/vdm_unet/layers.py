"""The layers of the VDM U-Net (arXiv 2204.03458, section 3): convolutions over space, attention over either.

Clips are (B, F + K, H, W, C): the last K frames are independent images, which no temporal layer mixes with anything.
Above the letters of `base`, E is the width of the timestep's embedding, and N = H W.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from stbench.backbones.layers import PerFrame, RMSNorm, Rotary
from stbench.backbones.temporal import ChannelGate, MotionModule, attend_over_time, first_and_previous
from stbench.runtime.attention.attend import Attend
from stbench.runtime.attention.linear import LinearAttend


@dataclass(frozen=True)
class FrameMask:
    """What all temporal attentions of a pass are told: which frames are near, and which may see each other.

    Attributes:
        bias: (heads, F, F), the relative positions of the clip's frames; None where nothing asks for them.
        num_images: K.
        apart: (B,) booleans: clips whose frames do not see each other; None for no clip.
    """

    bias: Tensor | None
    num_images: int = 0
    apart: Tensor | None = None


class Attention(nn.Module):
    """Norm, and the projections around attention of several heads; what attends to what is the subclass's."""

    def __init__(self, dim: int, num_heads: int, head_dim: int, bias: bool = False) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.norm = nn.LayerNorm(dim, bias=False)
        self.to_qkv = nn.Linear(dim, 3 * num_heads * head_dim, bias=False)
        self.to_out = nn.Linear(num_heads * head_dim, dim, bias=bias)

    def heads(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values of tokens (..., N, C): each (..., heads, N, head_dim)."""
        qkv = self.to_qkv(tokens).unflatten(-1, (3, self.num_heads, -1))
        q, k, v = qkv.transpose(-4, -2).unbind(-3)
        return q, k, v

    def merge(self, out: Tensor) -> Tensor:
        """Project (..., heads, N, head_dim) to (..., N, C)."""
        return self.to_out(out.transpose(-3, -2).flatten(-2))


class SpatialAttention(Attention):
    """Among the pixels of each frame, or from each to the pixels of the first and of the previous one.

    Args:
        linear: at a cost that grows with N, not with its square.
        sparse_causal: see `first_and_previous`.
    """

    def __init__(
        self, dim: int, num_heads: int, head_dim: int, linear: bool = False, sparse_causal: bool = False
    ) -> None:
        super().__init__(dim, num_heads, head_dim, bias=linear)
        self.sparse_causal = sparse_causal
        self.attend = LinearAttend() if linear else Attend()

    def forward(self, x: Tensor, mask: FrameMask) -> Tensor:
        """Mix the pixels of (B, F + K, H, W, C)."""
        q, k, v = self.heads(self.norm(x).flatten(2, 3))  # (B, F + K, heads, N, head_dim)
        if self.sparse_causal:
            k, v = (first_and_previous(each, mask.num_images, mask.apart) for each in (k, v))
        return self.merge(self.attend(q, k, v)).view_as(x)


class TemporalAttention(Attention):
    """Among the frames at each pixel, with relative positions."""

    def __init__(self, dim: int, num_heads: int, head_dim: int, rotary: Rotary | None) -> None:
        super().__init__(dim, num_heads, head_dim)
        self.rotary = rotary
        self.attend = Attend()

    def forward(self, x: Tensor, mask: FrameMask) -> Tensor:
        """Mix the frames of (B, F + K, H, W, C) as far as `mask` lets them see each other."""
        tubes = self.norm(x).flatten(2, 3).transpose(1, 2)  # (B, N, F + K, C)
        qkv = self.heads(tubes)  # each (B, N, heads, F + K, head_dim)
        out = attend_over_time(self.attend, qkv, mask.num_images, mask.apart, mask.bias, self.rotary)
        return self.merge(out).transpose(1, 2).reshape(x.shape)


class SpaceTimeAttention(nn.Module):
    """Attention over space, if there is any, then over time (section 3), each with a residual."""

    def __init__(self, spatial: nn.Module | None, temporal: nn.Module) -> None:
        super().__init__()
        self.spatial, self.temporal = spatial, temporal

    def forward(self, x: Tensor, mask: FrameMask) -> Tensor:
        """Apply to (B, F + K, H, W, C)."""
        if self.spatial is not None:
            x = x + self.spatial(x, mask)
        return x + self.temporal(x, mask)


class DualChannelAttention(SpaceTimeAttention):
    """A frozen attention over space and one over time, of the same normed pixels, mixed by a learned gate."""

    def __init__(self, spatial: Attention, temporal: Attention, dim: int, gate_start: float) -> None:
        super().__init__(spatial, temporal)
        temporal.norm = spatial.norm
        spatial.requires_grad_(False)
        self.gate = ChannelGate(dim, gate_start)

    def forward(self, x: Tensor, mask: FrameMask) -> Tensor:
        """Apply to (B, F + K, H, W, C)."""
        assert self.spatial is not None
        return x + self.gate(self.spatial(x, mask), self.temporal(x, mask))


class Motion(MotionModule):
    """A motion module among the frames at each pixel, as a temporal part of `SpaceTimeAttention`."""

    def forward(self, x: Tensor, mask: FrameMask) -> Tensor:  # type: ignore[override]
        """What motion adds to (B, F + K, H, W, C)."""
        return self.motion(x.flatten(2, 3), mask.num_images, mask.apart).view_as(x)


class ConvBlock(nn.Module):
    """Convolution over space, norm, optional scale and shift, SiLU."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = PerFrame(nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1))
        self.norm = RMSNorm(out_channels)

    def forward(self, x: Tensor, scale_shift: Tensor | None = None) -> Tensor:
        """Apply to (B, F, H, W, C) under scale_shift (B, 1 or F, 2C')."""
        x = self.norm(self.conv(x))
        if scale_shift is not None:
            scale, shift = scale_shift[:, :, None, None].chunk(2, dim=-1)
            x = x * (1 + scale) + shift
        return F.silu(x)


class ResNetBlock(nn.Module):
    """Two convolution blocks beside a residual; the first is modulated by the embedding, if its width is given."""

    def __init__(self, in_channels: int, out_channels: int, embed_dim: int = 0) -> None:
        super().__init__()
        self.modulation = nn.Sequential(nn.SiLU(), nn.Linear(embed_dim, 2 * out_channels)) if embed_dim else None
        self.first = ConvBlock(in_channels, out_channels)
        self.last = ConvBlock(out_channels, out_channels)
        self.residual = nn.Linear(in_channels, out_channels) if in_channels != out_channels else nn.Identity()

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """Apply to (B, F, H, W, C) under the embedding (B, 1 or F, E): (B, F, H, W, C')."""
        scale_shift = None if self.modulation is None else self.modulation(embedding)
        return self.last(self.first(x, scale_shift)) + self.residual(x)

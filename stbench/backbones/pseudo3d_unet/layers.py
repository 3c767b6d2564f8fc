"""The pseudo-3D layers of Make-A-Video (arXiv 2209.14792, section 3.2): a spatial layer, then a temporal one.

The temporal convolution starts as the identity (section 3.2.1), the temporal attention adds zero (section 3.2.2), so a
layer starts as its spatial half applied to each frame. What the paper leaves open follows make-a-video-pytorch 0.4.0:
RMSNorm (arXiv 1910.07467), a continuous position bias in both attentions (arXiv 2111.09883, section 3.3), a gated
feed-forward (arXiv 2002.05202), and spatial attentions that start at zero as well.

Clips are (B, F, H, W, C) here: the convolutions of both axes read this as channels-last without copying, and attention
and norms find the channels where they want them. Above the letters of `base`, E is the width of the embedding.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stbench.backbones.layers import PerFrame, RMSNorm
from stbench.backbones.temporal import ChannelGate, MotionModule, first_and_previous
from stbench.runtime.attention.attend import Attend


class TemporalConv(nn.Conv2d):
    """Convolution over three frames that starts as the identity. It runs in 2D, on frames and pixels."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels, kernel_size=(3, 1), padding=(1, 0))
        nn.init.dirac_(self.weight)
        nn.init.zeros_(self.bias)  # type: ignore[arg-type]  # it has a bias

    def forward(self, x: Tensor) -> Tensor:
        """Convolve (B, F, H, W, C) along F."""
        pixels = x.flatten(2, 3).permute(0, 3, 1, 2)  # (B, C, F, H W), channels last in memory
        return super().forward(pixels).permute(0, 2, 3, 1).unflatten(2, x.shape[2:4])


class PseudoConv3d(nn.Sequential):
    """Spatial convolution, then the temporal one (section 3.2.1): (B, F, H, W, C) -> (B, F, H, W, C')."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int = 3, enable_time: bool = True) -> None:
        super().__init__()
        self.spatial = PerFrame(nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2))
        if enable_time:
            self.temporal = TemporalConv(out_channels)


class PositionBias(nn.Sequential):
    """Attention bias as an MLP of the offset between two positions of a grid (arXiv 2111.09883, section 3.3)."""

    def __init__(self, num_axes: int, hidden_dim: int, num_heads: int) -> None:
        super().__init__(
            nn.Linear(num_axes, hidden_dim),
            nn.SiLU(),
            nn.Linear(hidden_dim, hidden_dim),
            nn.SiLU(),
            nn.Linear(hidden_dim, num_heads),
        )

    def forward(self, sizes: Sequence[int]) -> Tensor:
        """Bias between all positions of a grid of `sizes`, in row-major order: (heads, N, N)."""
        weight = next(self.parameters())
        offsets = _grid([torch.arange(1 - size, size, device=weight.device) for size in sizes])
        positions = _grid([torch.arange(size, device=weight.device) for size in sizes])  # (N, axes)
        index = torch.zeros(len(positions), len(positions), dtype=torch.long, device=weight.device)
        for size, line in zip(sizes, positions.unbind(1), strict=True):
            index = index * (2 * size - 1) + line[:, None] - line + size - 1  # row of `offsets`
        bias = super().forward(offsets.to(weight.dtype))
        return bias[index].permute(2, 0, 1)


def _grid(lines: list[Tensor]) -> Tensor:
    """All points of the grid spanned by `lines`, in row-major order: (points, axes)."""
    return torch.stack([axis.flatten() for axis in torch.meshgrid(*lines, indexing="ij")], dim=1)


class Attention(nn.Module):
    """Multi-head attention with position bias; the output projection starts at zero.

    With `sparse_causal` the tokens of a frame see those of the first frame and of the previous one, at the same
    offsets, instead of their own (`temporal`).
    """

    def __init__(self, dim: int, num_heads: int, head_dim: int, num_axes: int, sparse_causal: bool = False) -> None:
        super().__init__()
        self.num_heads, self.sparse_causal = num_heads, sparse_causal
        self.norm = RMSNorm(dim)
        self.position_bias = PositionBias(num_axes, dim // 2, num_heads)
        self.to_q = nn.Linear(dim, num_heads * head_dim, bias=False)
        self.to_kv = nn.Linear(dim, 2 * num_heads * head_dim, bias=False)
        self.attend = Attend()
        self.to_out = nn.Linear(num_heads * head_dim, dim, bias=False)
        nn.init.zeros_(self.to_out.weight)

    def forward(self, x: Tensor, sizes: Sequence[int]) -> Tensor:
        """Attend among the N tokens of (..., N, C), which form a grid of `sizes`."""
        x = self.norm(x)
        k, v = self.to_kv(x).chunk(2, dim=-1)
        q, k, v = (y.unflatten(-1, (self.num_heads, -1)).transpose(-3, -2) for y in (self.to_q(x), k, v))
        bias = self.position_bias(sizes)  # (heads, N, N)
        if self.sparse_causal:
            k, v, bias = first_and_previous(k), first_and_previous(v), torch.cat([bias, bias], dim=-1)
        out = self.attend(q, k, v, bias=bias)  # (..., heads, N, head_dim)
        return self.to_out(out.transpose(-3, -2).flatten(-2))


class FeedForward(nn.Module):
    """GEGLU feed-forward (arXiv 2002.05202) with a norm in the middle, optionally looking one frame back.

    With `token_shift`, half of the hidden channels come from the frame before (zeros in the first frame): it mixes the
    frames from the start, so that the video network no longer starts as the image network.
    """

    def __init__(self, dim: int, token_shift: bool) -> None:
        super().__init__()
        hidden_dim = dim * 4 * 2 // 3  # two thirds: the third matrix costs no parameters (arXiv 2002.05202, section 2)
        self.token_shift = token_shift
        self.proj_in = nn.Linear(dim, 2 * hidden_dim, bias=False)
        self.norm = RMSNorm(hidden_dim)
        self.proj_out = nn.Linear(hidden_dim, dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Apply to (B, F, H, W, C)."""
        x, gate = self.proj_in(x).chunk(2, dim=-1)
        x = x * F.gelu(gate)
        if self.token_shift:
            now, before = x.chunk(2, dim=-1)
            before = F.pad(before[:, :-1], (0, 0, 0, 0, 0, 0, 1, 0))
            x = torch.cat([now, before], dim=-1)
        return self.proj_out(self.norm(x))


class PseudoAttention3d(nn.Module):
    """Spatial attention, temporal attention (section 3.2.2), feed-forward, each with a residual.

    Args:
        dim: C.
        num_heads: of every attention.
        head_dim: channels of a head.
        enable_time: whether there is anything temporal.
        token_shift: of the feed-forward.
        temporal: what the temporal attention is, or what takes its place: a name of `TEMPORAL`.
        gate_start: of "dual_channel".
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        head_dim: int,
        enable_time: bool,
        token_shift: bool,
        temporal: str = "attention",
        gate_start: float = 0.0,
    ) -> None:
        super().__init__()
        sparse_causal = enable_time and temporal == "sparse_causal"
        self.spatial = Attention(dim, num_heads, head_dim, num_axes=2, sparse_causal=sparse_causal)
        self.temporal: Attention | MotionModule | None = None
        self.gate: ChannelGate | None = None
        if enable_time and temporal == "motion_module":
            self.temporal = MotionModule(dim, num_heads)
        elif enable_time:
            self.temporal = Attention(dim, num_heads, head_dim, num_axes=1)
        if isinstance(self.temporal, Attention) and temporal == "dual_channel":
            self.gate = ChannelGate(dim, gate_start)
            self.temporal.norm = self.spatial.norm
            self.spatial.requires_grad_(False)
        self.feed_forward = FeedForward(dim, token_shift and enable_time)

    def forward(self, x: Tensor) -> Tensor:
        """Apply to (B, F, H, W, C)."""
        height, width = x.shape[2:4]
        tokens = x.flatten(2, 3)  # (B, F, N, C)
        over_space = self.spatial(tokens, (height, width))
        if self.gate is not None:
            tokens = tokens + self.gate(over_space, self._over_time(tokens))
        else:
            tokens = tokens + over_space
            tokens = tokens + self._over_time(tokens) if self.temporal is not None else tokens
        x = tokens.unflatten(2, (height, width))  # (B, F, H, W, C)
        return x + self.feed_forward(x)

    def _over_time(self, tokens: Tensor) -> Tensor:
        """What time adds to (B, F, N, C)."""
        if isinstance(self.temporal, MotionModule):
            return self.temporal.motion(tokens)
        assert self.temporal is not None
        tubes = tokens.transpose(1, 2)  # (B, N, F, C)
        return self.temporal(tubes, tubes.shape[2:3]).transpose(1, 2)


class ConvBlock(nn.Module):
    """Pseudo-3D convolution, norm, optional scale and shift, SiLU."""

    def __init__(self, in_channels: int, out_channels: int, enable_time: bool) -> None:
        super().__init__()
        self.conv = PseudoConv3d(in_channels, out_channels, enable_time=enable_time)
        self.norm = RMSNorm(out_channels)

    def forward(self, x: Tensor, scale_shift: Tensor | None = None) -> Tensor:
        """Apply to (B, F, H, W, C) under scale_shift (B, 2C')."""
        x = self.norm(self.conv(x))
        if scale_shift is not None:
            scale, shift = scale_shift[:, None, None, None].chunk(2, dim=-1)
            x = x * (1 + scale) + shift
        return F.silu(x)


class ResNetBlock(nn.Module):
    """Two convolution blocks beside a residual; the first is modulated by the embedding, if its width is given."""

    def __init__(self, in_channels: int, out_channels: int, enable_time: bool, embed_dim: int = 0) -> None:
        super().__init__()
        self.modulation = nn.Sequential(nn.SiLU(), nn.Linear(embed_dim, 2 * out_channels)) if embed_dim else None
        self.first = ConvBlock(in_channels, out_channels, enable_time)
        self.last = ConvBlock(out_channels, out_channels, enable_time)
        self.residual = nn.Linear(in_channels, out_channels) if in_channels != out_channels else nn.Identity()

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """Apply to (B, F, H, W, C) under the embedding (B, E): (B, F, H, W, C')."""
        scale_shift = None if self.modulation is None else self.modulation(embedding)
        return self.last(self.first(x, scale_shift)) + self.residual(x)

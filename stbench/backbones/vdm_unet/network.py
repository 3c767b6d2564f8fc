"""The 3D U-Net of Video Diffusion Models (arXiv 2204.03458, section 3).

An image U-Net whose convolutions are 1x3x3 and whose attention is over space, with an attention over time, with
relative positions, after each of them. Time is never resampled. Images are trained beside clips: they are appended as
frames that the temporal attentions do not mix.

The paper does not print its widths. Those here, and what else it leaves open, are of the public video-diffusion-pytorch
0.7.0, whose outputs this network reproduces under `spatial_attention=linear rotary=true`, which are that code's own.
There the first temporal attention misses the mask, here none does. Classes and learned variance are additions of this
benchmark.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from stbench.backbones.base import UNCONDITIONAL, Conditioning
from stbench.backbones.layers import ClassEmbedding, PerFrame, Rotary, spread_over_frames, timestep_sinusoid
from stbench.backbones.relative_position import RelativePositionBias
from stbench.backbones.temporal import TEMPORAL
from stbench.backbones.vdm_unet.layers import (
    DualChannelAttention,
    FrameMask,
    Motion,
    ResNetBlock,
    SpaceTimeAttention,
    SpatialAttention,
    TemporalAttention,
)
from stbench.backbones.vdm_unet.published import VdmLayout
from stbench.errors import StbenchError, check_whole, unknown_name

SPATIAL_ATTENTIONS = ("full", "linear", "none")
MAX_ROTATED = 32  # channels of a head


@dataclass(frozen=True)
class UNetSize:
    """The figures of a network: those of a named size, which constructor arguments of the same names replace."""

    dim: int  # channels of the first convolution
    dim_multipliers: Sequence[int]  # channels of every level, as multiples of `dim`
    num_heads: int  # of every attention
    head_dim: int  # channels of a head over time
    spatial_head_dim: int  # and over space

    def __post_init__(self) -> None:
        if not self.dim_multipliers:
            raise StbenchError("dim_multipliers is empty: a U-Net has at least one level, e.g. dim_multipliers=[1,2,4]")
        for multiplier in self.dim_multipliers:
            check_whole(1, dim_multipliers=multiplier)
        check_whole(1, num_heads=self.num_heads, head_dim=self.head_dim, spatial_head_dim=self.spatial_head_dim)
        check_whole(4, dim=self.dim)
        if self.dim % 2:
            raise StbenchError(f"dim={self.dim} must be even, for the sinusoid of the timestep")


# The shape of S to XL is the public code's default (S is that default); the widths bring the parameters near Latte's
# sizes of the same name (arXiv 2401.03048, table 1). tiny is for a CPU.
SIZES = {
    "tiny": UNetSize(16, (1, 2, 4), num_heads=4, head_dim=16, spatial_head_dim=16),
    "S": UNetSize(64, (1, 2, 4, 8), num_heads=8, head_dim=32, spatial_head_dim=32),
    "B": UNetSize(128, (1, 2, 4, 8), num_heads=8, head_dim=32, spatial_head_dim=32),
    "L": UNetSize(240, (1, 2, 4, 8), num_heads=8, head_dim=32, spatial_head_dim=32),
    "XL": UNetSize(292, (1, 2, 4, 8), num_heads=8, head_dim=32, spatial_head_dim=32),
}


class TimestepMlp(nn.Module):
    """Sinusoid, Linear, GELU, Linear."""

    def __init__(self, dim: int, embed_dim: int) -> None:
        super().__init__()
        self.dim = dim
        self.mlp = nn.Sequential(nn.Linear(dim, embed_dim), nn.GELU(), nn.Linear(embed_dim, embed_dim))

    def forward(self, timesteps: Tensor) -> Tensor:
        """Embed timesteps (B,) as (B, E)."""
        sinusoid = timestep_sinusoid(timesteps, self.dim, cos_first=False, inclusive=True)
        return self.mlp(sinusoid.to(next(self.parameters()).dtype))


class Level(nn.Module):
    """Two residual blocks and attention at one resolution, and the way to the next."""

    def __init__(
        self, in_channels: int, out_channels: int, embed_dim: int, attention: nn.Module, resample: nn.Module
    ) -> None:
        super().__init__()
        self.first = ResNetBlock(in_channels, out_channels, embed_dim)
        self.last = ResNetBlock(out_channels, out_channels, embed_dim)
        self.attention, self.resample = attention, PerFrame(resample)

    def forward(self, x: Tensor, embedding: Tensor, mask: FrameMask) -> tuple[Tensor, Tensor]:
        """From (B, F, H, W, C) to (B, F, H, W, C') at this resolution and at the next."""
        x = self.last(self.first(x, embedding), embedding)
        x = self.attention(x, mask)
        return x, self.resample(x)


class VdmUNet(nn.Module):
    """The U-Net of Video Diffusion Models.

    Raises:
        StbenchError: when the figures do not fit together.
    """

    published_layout = VdmLayout()

    def __init__(
        self,
        *,
        size: str = "S",  # a name of `SIZES`; the next five arguments replace its figures, see `UNetSize`
        dim: int | None = None,
        dim_multipliers: Sequence[int] | None = None,
        num_heads: int | None = None,
        head_dim: int | None = None,
        spatial_head_dim: int | None = None,
        spatial_attention: str = "full",  # of the levels: softmax, "linear" in the number of pixels, or "none"
        rotary: bool = False,  # rotary positions in time beside the relative ones
        temporal: str = "attention",  # what makes the network temporal: see the table in `stbench.backbones.temporal`
        gate_start: float = 0.0,  # of "dual_channel": logit of the spatial channel's share in the mixture
        frames_apart: float = 0.0,  # share of the training clips whose frames do not see each other
        context_dim: int = 0,  # E of a pooled context (B, E); 0 for none
        in_channels: int = 4,  # C of the latents
        num_classes: int = 0,  # 0 for an unconditional network; the label `num_classes` is the null class
        learned_variance: bool = True,  # predict 2C channels, noise and variance
    ) -> None:
        super().__init__()
        if size not in SIZES:
            raise unknown_name("size", size, SIZES)
        if spatial_attention not in SPATIAL_ATTENTIONS:
            raise unknown_name("spatial_attention", spatial_attention, SPATIAL_ATTENTIONS)
        if temporal not in TEMPORAL:
            raise unknown_name("temporal", temporal, TEMPORAL)
        if rotary and temporal == "motion_module":
            raise StbenchError("rotary=true: temporal=motion_module has positions of its own")
        given: dict[str, Any] = {
            "dim": dim,
            "dim_multipliers": dim_multipliers,
            "num_heads": num_heads,
            "head_dim": head_dim,
            "spatial_head_dim": spatial_head_dim,
        }
        figures = replace(SIZES[size], **{name: value for name, value in given.items() if value is not None})
        check_whole(1, in_channels=in_channels)
        check_whole(0, num_classes=num_classes, context_dim=context_dim)
        if not 0 <= frames_apart <= 1:
            raise StbenchError(f"frames_apart={frames_apart}: expected a share from 0 to 1")
        if rotary and figures.head_dim % 2:
            raise StbenchError(f"head_dim={figures.head_dim} must be even: rotary=true rotates pairs of channels")
        self.in_channels, self.num_classes, self.context_dim = in_channels, num_classes, context_dim
        self.spatial_attention, self.temporal, self.frames_apart = spatial_attention, temporal, frames_apart
        widths = [figures.dim] + [figures.dim * multiplier for multiplier in figures.dim_multipliers]
        time_dim = 4 * figures.dim
        embed_dim = time_dim + context_dim
        rotary_positions = Rotary(min(MAX_ROTATED, figures.head_dim)) if rotary else None
        attention = _Attentions(figures, rotary_positions, temporal, gate_start)
        halve, double = nn.Conv2d, nn.ConvTranspose2d  # by kernels of 4, in space alone

        self.timestep_embed = TimestepMlp(figures.dim, time_dim)
        self.class_embed = ClassEmbedding(num_classes, time_dim) if num_classes else None
        if self.class_embed is not None:
            nn.init.normal_(self.class_embed.weight, std=0.02)  # as in DiT (arXiv 2212.09748, section 3.2)
        self.null_context = nn.Parameter(torch.randn(1, context_dim)) if context_dim else None
        self.position_bias = None if temporal == "motion_module" else RelativePositionBias(figures.num_heads)
        self.conv_in = PerFrame(nn.Conv2d(in_channels, figures.dim, kernel_size=7, padding=3))
        self.first_attention = attention(figures.dim, "none")
        self.downs = nn.ModuleList(
            Level(above, below, embed_dim, attention(below, spatial_attention), halve(below, below, 4, 2, 1))
            for above, below in pairwise(widths)
        )
        self.middle_first = ResNetBlock(widths[-1], widths[-1], embed_dim)
        self.middle_attention = attention(widths[-1], "full")
        self.middle_last = ResNetBlock(widths[-1], widths[-1], embed_dim)
        self.ups = nn.ModuleList(
            Level(2 * below, above, embed_dim, attention(above, spatial_attention), double(above, above, 4, 2, 1))
            for below, above in pairwise(widths[::-1])
        )
        self.downs[-1].resample = self.ups[-1].resample = nn.Identity()
        self.final = ResNetBlock(2 * figures.dim, figures.dim)
        self.conv_out = nn.Linear(figures.dim, in_channels * (2 if learned_variance else 1))

    def forward(self, noisy_latents: Tensor, timesteps: Tensor, conditioning: Conditioning = UNCONDITIONAL) -> Tensor:
        """Predict noise (and variance) of a batch of clips.

        Args:
            noisy_latents: (B, C, F + K, H, W), H and W multiples of 2^(levels - 1); the last K =
                `conditioning.num_images` frames are independent images, which no temporal attention mixes.
            timesteps: (B,)
            conditioning: class labels (B,), image labels (B, K), a pooled `context` (B, E); without a context the
                network takes the one that it has learned for none.

        Returns:
            (B, C or 2C, F + K, H, W)
        """
        self._check_input(noisy_latents, conditioning)
        embedding = self._embed(timesteps, conditioning, noisy_latents.shape[2])  # (B, 1 or F + K, E)
        mask = self._mask(noisy_latents, conditioning.num_images)
        x = self.conv_in(noisy_latents.permute(0, 2, 3, 4, 1))  # (B, F + K, H, W, D)
        x = first = self.first_attention(x, mask)
        skips = []
        for down in self.downs:
            skip, x = down(x, embedding, mask)
            skips.append(skip)
        x = self.middle_first(x, embedding)
        x = self.middle_attention(x, mask)
        x = self.middle_last(x, embedding)  # (B, F + K, H/2^(levels - 1), W/2^(levels - 1), D')
        for up in self.ups:
            _, x = up(torch.cat([x, skips.pop()], dim=-1), embedding, mask)
        x = self.final(torch.cat([x, first], dim=-1), embedding)
        return self.conv_out(x).permute(0, 4, 1, 2, 3)  # (B, C or 2C, F + K, H, W)

    def _embed(self, timesteps: Tensor, conditioning: Conditioning, num_frames: int) -> Tensor:
        """The embedding of timestep, class and context: (B, 1, E), or (B, F + K, E) where images have labels."""
        embedding = self.timestep_embed(timesteps)[:, None]  # (B, 1, E)
        K = conditioning.num_images
        if self.class_embed is not None:
            labels = conditioning.class_labels[:, None]  # type: ignore[index]  # `_check_input`
            if K:
                labels = torch.cat([labels, conditioning.image_labels], dim=1)  # type: ignore[list-item]
            embedding = embedding + spread_over_frames(self.class_embed(labels), num_frames - K, K)
        if self.null_context is not None:
            context = self.null_context if conditioning.context is None else conditioning.context
            context = context.to(embedding.dtype)[:, None].expand(*embedding.shape[:2], -1)
            embedding = torch.cat([embedding, context], dim=-1)
        return embedding

    def _mask(self, noisy_latents: Tensor, num_images: int) -> FrameMask:
        """Which frames of a batch see each other: those of a clip, unless `frames_apart` draws it in training."""
        num_frames, apart = noisy_latents.shape[2] - num_images, None
        bias = None if self.position_bias is None else self.position_bias(num_frames)
        if self.training and self.frames_apart:
            apart = torch.rand(len(noisy_latents), device=noisy_latents.device) < self.frames_apart
        return FrameMask(bias, num_images, apart)

    def _check_input(self, noisy_latents: Tensor, conditioning: Conditioning) -> None:
        """Refuse input of the wrong shape or without its labels, in words."""
        shape, halvings, K = tuple(noisy_latents.shape), len(self.downs) - 1, conditioning.num_images
        if len(shape) != 5 or shape[1] != self.in_channels:
            raise StbenchError(f"VdmUNet expects latents (B, {self.in_channels}, F, H, W), got {shape}")
        if shape[2] < K:
            raise StbenchError(f"VdmUNet got {shape[2]} frames, of which conditioning.num_images={K} are images")
        if shape[3] % 2**halvings or shape[4] % 2**halvings:
            nearest = " x ".join(str(max(1, round(side / 2**halvings)) * 2**halvings) for side in shape[3:])
            raise StbenchError(
                f"VdmUNet halves {halvings} times: H x W = {shape[3]} x {shape[4]} must be multiples of "
                f"{2**halvings}, the nearest is {nearest}"
            )
        if self.class_embed is not None and conditioning.class_labels is None:
            raise StbenchError(
                f"this VdmUNet has {self.num_classes} classes: conditioning.class_labels (B,) is missing"
            )
        if self.class_embed is not None and K and conditioning.image_labels is None:
            raise StbenchError(f"{K} images need conditioning.image_labels (B, K) of their own")
        context, expected = conditioning.context, (shape[0], self.context_dim)
        if context is not None and self.context_dim and tuple(context.shape) != expected:
            raise StbenchError(f"VdmUNet expects a pooled context (B, E) = {expected}, got {tuple(context.shape)}")


@dataclass(frozen=True)
class _Attentions:
    """Builds the attention of each place, all of one kind."""

    figures: UNetSize
    rotary: Rotary | None
    temporal: str
    gate_start: float

    def __call__(self, width: int, spatial: str) -> SpaceTimeAttention:
        """The attention of a place of this width, of one kind over space."""
        over_space = None if spatial == "none" else self._over_space(width, linear=spatial == "linear")
        if self.temporal == "motion_module":
            return SpaceTimeAttention(over_space, Motion(width, self.figures.num_heads))
        over_time = TemporalAttention(width, self.figures.num_heads, self.figures.head_dim, self.rotary)
        if self.temporal == "sparse_causal":
            nn.init.zeros_(over_time.to_out.weight)
        if self.temporal == "dual_channel" and over_space is not None:
            return DualChannelAttention(over_space, over_time, width, self.gate_start)
        return SpaceTimeAttention(over_space, over_time)

    def _over_space(self, width: int, linear: bool) -> SpatialAttention:
        sparse_causal = self.temporal == "sparse_causal"
        return SpatialAttention(width, self.figures.num_heads, self.figures.spatial_head_dim, linear, sparse_causal)

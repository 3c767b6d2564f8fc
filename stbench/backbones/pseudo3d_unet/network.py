"""The pseudo-3D U-Net of Make-A-Video (arXiv 2209.14792, section 3.2): an image U-Net that learns time on top.

Every convolution and attention in space is followed by one in time that starts as the identity (`layers`), so
that the video network starts as the image network applied to each frame.

The paper does not print its U-Net. The one here is that of the public make-a-video-pytorch 0.4.0, whose outputs it
reproduces: two skips a level, scaled by 1/sqrt(2), the first block of a level alone sees the timestep, every level
resamples by 2 in space and none in time. Class labels and learned variance are additions of this benchmark.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stbench.backbones.base import UNCONDITIONAL, Conditioning
from stbench.backbones.layers import ClassEmbedding, timestep_sinusoid
from stbench.backbones.pseudo3d_unet.layers import PerFrame, PseudoAttention3d, PseudoConv3d, ResNetBlock
from stbench.backbones.temporal import TEMPORAL
from stbench.errors import StbenchError, check_whole, unknown_name

SKIP_SCALE = 2**-0.5  # arXiv 2205.11487, appendix B


@dataclass(frozen=True)
class UNetSize:
    """The figures of a network: those of a named size, which constructor arguments of the same names replace."""

    dim: int  # channels of the first convolution
    dim_multipliers: Sequence[int]  # channels of every level, as multiples of `dim`
    blocks_per_level: int  # residual blocks of a level on the way down, and again on the way up; at least 2
    attention_levels: Sequence[int]  # indices of the levels with attention; the middle always has it
    num_heads: int  # of every attention
    head_dim: int  # channels of a head

    def __post_init__(self) -> None:
        num_levels = len(self.dim_multipliers)
        if num_levels == 0:
            raise StbenchError("dim_multipliers is empty: a U-Net has at least one level, e.g. dim_multipliers=[1,2,4]")
        for multiplier in self.dim_multipliers:
            check_whole(1, dim_multipliers=multiplier)
        check_whole(1, num_heads=self.num_heads, head_dim=self.head_dim)
        check_whole(2, blocks_per_level=self.blocks_per_level)  # for the two skips of a level
        if not set(self.attention_levels) <= set(range(num_levels)):
            raise StbenchError(
                f"attention_levels={list(self.attention_levels)}: the levels of this network are 0 to {num_levels - 1}"
            )
        check_whole(4, dim=self.dim)
        if self.dim % 2:
            raise StbenchError(f"dim={self.dim} must be even, for the sinusoid of the timestep")


# The shape of S to XL is the re-implementation's default (there dim is 64); their widths bring the parameters near
# Latte's sizes of the same name (arXiv 2401.03048, table 1), so that the two families can be compared size by size.
# tiny is for a CPU: a training step costs about twice that of the tiny Latte.
SIZES = {
    "tiny": UNetSize(8, (2, 4, 8), blocks_per_level=2, attention_levels=(), num_heads=4, head_dim=16),
    "S": UNetSize(48, (1, 2, 4, 8), blocks_per_level=3, attention_levels=(3,), num_heads=8, head_dim=64),
    "B": UNetSize(96, (1, 2, 4, 8), blocks_per_level=3, attention_levels=(3,), num_heads=8, head_dim=64),
    "L": UNetSize(176, (1, 2, 4, 8), blocks_per_level=3, attention_levels=(3,), num_heads=8, head_dim=64),
    "XL": UNetSize(216, (1, 2, 4, 8), blocks_per_level=3, attention_levels=(3,), num_heads=8, head_dim=64),
}


class TimestepLinear(nn.Module):
    """Sinusoid, Linear, SiLU."""

    def __init__(self, dim: int, embed_dim: int) -> None:
        super().__init__()
        self.linear = nn.Linear(dim, embed_dim)

    def forward(self, timesteps: Tensor) -> Tensor:
        """Embed timesteps (B,) as (B, E)."""
        sinusoid = timestep_sinusoid(timesteps, self.linear.in_features, cos_first=False, inclusive=True)
        return F.silu(self.linear(sinusoid.to(self.linear.weight.dtype)))


def upsample_conv(channels: int) -> PerFrame:
    """Upsampling by 2: 1x1 convolution and pixel shuffle, starting as nearest-neighbour (arXiv 1707.02937)."""
    conv = nn.Conv2d(channels, 4 * channels, kernel_size=1)
    one_pixel = nn.init.kaiming_uniform_(torch.empty(channels, channels, 1, 1))
    conv.weight.data.copy_(one_pixel.repeat_interleave(4, dim=0))
    nn.init.zeros_(conv.bias)  # type: ignore[arg-type]  # it has a bias
    return PerFrame(conv, nn.PixelShuffle(2))


class DownLevel(nn.Module):
    """Residual blocks and attention at one resolution, then half of it."""

    def __init__(self, in_channels: int, out_channels: int, embed_dim: int, num_blocks: int, enable_time: bool) -> None:
        super().__init__()
        self.first = ResNetBlock(in_channels, out_channels, enable_time, embed_dim)
        self.rest = nn.ModuleList(ResNetBlock(out_channels, out_channels, enable_time) for _ in range(num_blocks - 1))
        self.attention: nn.Module = nn.Identity()  # or what the network sets here
        self.downsample = PerFrame(nn.Conv2d(out_channels, out_channels, kernel_size=2, stride=2, bias=False))

    def forward(self, x: Tensor, embedding: Tensor) -> tuple[Tensor, list[Tensor]]:
        """From (B, F, H, W, C) to (B, F, H/2, W/2, C') and the two skips (B, F, H, W, C')."""
        first = x = self.first(x, embedding)
        for block in self.rest:
            x = block(x, embedding)
        x = self.attention(x)
        return self.downsample(x), [first, x]


class UpLevel(nn.Module):
    """The mirror of a `DownLevel`: twice the resolution, then residual blocks and attention, fed by its skips."""

    def __init__(self, in_channels: int, out_channels: int, embed_dim: int, num_blocks: int, enable_time: bool) -> None:
        super().__init__()
        self.upsample = upsample_conv(in_channels)
        self.first = ResNetBlock(2 * in_channels, out_channels, enable_time, embed_dim)
        widths = [in_channels + out_channels] + [out_channels] * (num_blocks - 2)
        self.rest = nn.ModuleList(ResNetBlock(width, out_channels, enable_time) for width in widths)
        self.attention: nn.Module = nn.Identity()  # or what the network sets here

    def forward(self, x: Tensor, skips: list[Tensor], embedding: Tensor) -> Tensor:
        """From (B, F, H, W, C) and the skips (B, F, 2H, 2W, C) to (B, F, 2H, 2W, C')."""
        first_skip, last_skip = skips
        x = torch.cat([last_skip * SKIP_SCALE, self.upsample(x)], dim=-1)
        x = self.first(x, embedding)
        x = torch.cat([first_skip * SKIP_SCALE, x], dim=-1)
        for block in self.rest:
            x = block(x, embedding)
        return self.attention(x)


class Pseudo3DUNet(nn.Module):
    """The Make-A-Video U-Net.

    Raises:
        StbenchError: when the figures do not fit together.
    """

    def __init__(
        self,
        *,
        size: str = "S",  # a name of `SIZES`; the next six arguments replace its figures, see `UNetSize`
        dim: int | None = None,
        dim_multipliers: Sequence[int] | None = None,
        blocks_per_level: int | None = None,
        attention_levels: Sequence[int] | None = None,
        num_heads: int | None = None,
        head_dim: int | None = None,
        token_shift: bool = False,  # see `FeedForward`: as in the re-implementation, not in the paper
        temporal: str = "attention",  # what attends over time: see `stbench.backbones.temporal`
        gate_start: float = 0.0,  # of "dual_channel": logit of the spatial channel's share in the mixture
        frame_rate: bool = False,  # whether the frame rate is looked at; 0 stands for a clip that does not tell
        enable_time: bool = True,  # False leaves all temporal layers out: the image network, applied to each frame
        in_channels: int = 4,  # C of the latents
        num_classes: int = 0,  # 0 for an unconditional network; the label `num_classes` is the null class
        learned_variance: bool = True,  # predict 2C channels, noise and variance
    ) -> None:
        super().__init__()
        if size not in SIZES:
            raise unknown_name("size", size, SIZES)
        if temporal not in TEMPORAL:
            raise unknown_name("temporal", temporal, TEMPORAL)
        named = SIZES[size]
        figures = UNetSize(
            dim=named.dim if dim is None else dim,
            dim_multipliers=named.dim_multipliers if dim_multipliers is None else dim_multipliers,
            blocks_per_level=named.blocks_per_level if blocks_per_level is None else blocks_per_level,
            attention_levels=named.attention_levels if attention_levels is None else attention_levels,
            num_heads=named.num_heads if num_heads is None else num_heads,
            head_dim=named.head_dim if head_dim is None else head_dim,
        )
        check_whole(1, in_channels=in_channels)
        check_whole(0, num_classes=num_classes)
        self.in_channels, self.num_classes = in_channels, num_classes
        out_channels = in_channels * (2 if learned_variance else 1)
        widths = [figures.dim] + [figures.dim * multiplier for multiplier in figures.dim_multipliers]
        embed_dim, num_blocks = 4 * figures.dim, figures.blocks_per_level
        attention = partial(
            PseudoAttention3d,
            num_heads=figures.num_heads,
            head_dim=figures.head_dim,
            enable_time=enable_time,
            token_shift=token_shift,
            temporal=temporal,
            gate_start=gate_start,
        )

        self.timestep_embed = TimestepLinear(figures.dim, embed_dim)
        self.class_embed = ClassEmbedding(num_classes, embed_dim) if num_classes else None
        if self.class_embed is not None:
            nn.init.normal_(self.class_embed.weight, std=0.02)  # as in DiT (arXiv 2212.09748, section 3.2)
        self.conv_in = PseudoConv3d(in_channels, widths[0], kernel_size=7, enable_time=enable_time)
        self.downs = nn.ModuleList(DownLevel(*pair, embed_dim, num_blocks, enable_time) for pair in pairwise(widths))
        self.middle_first = ResNetBlock(widths[-1], widths[-1], enable_time, embed_dim)
        self.middle_attention = attention(widths[-1])
        self.middle_last = ResNetBlock(widths[-1], widths[-1], enable_time, embed_dim)
        self.ups = nn.ModuleList(UpLevel(*pair, embed_dim, num_blocks, enable_time) for pair in pairwise(widths[::-1]))
        self.conv_out = PseudoConv3d(widths[0], out_channels, enable_time=enable_time)
        for level in figures.attention_levels:  # drawn last: which levels attend changes no other initial weight
            self.downs[level].attention = attention(widths[level + 1])
            self.ups[-1 - level].attention = attention(widths[level])
        self.fps_embed: nn.Module | None = None
        if frame_rate:
            self.fps_embed = nn.Sequential(TimestepLinear(figures.dim, embed_dim), nn.Linear(embed_dim, embed_dim))
            for parameter in self.fps_embed[-1].parameters():  # it counts for nothing before it is trained
                nn.init.zeros_(parameter)

    @property
    def reads_frame_rate(self) -> bool:
        """See `backbones.base`."""
        return self.fps_embed is not None

    def forward(self, noisy_latents: Tensor, timesteps: Tensor, conditioning: Conditioning = UNCONDITIONAL) -> Tensor:
        """Predict noise (and variance) of a batch of clips.

        Args:
            noisy_latents: (B, C, F, H, W), H and W multiples of 2^levels; an image has F = 1.
            timesteps: (B,)
            conditioning: class labels (B,), and with `frame_rate` fps (B,).

        Returns:
            (B, C or 2C, F, H, W)
        """
        self._check_input(noisy_latents, conditioning)
        embedding = self.timestep_embed(timesteps)  # (B, E)
        if self.class_embed is not None:
            embedding = embedding + self.class_embed(conditioning.class_labels)
        if self.fps_embed is not None:
            fps = conditioning.fps
            embedding = embedding + self.fps_embed(torch.zeros_like(timesteps) if fps is None else fps)
        x = self.conv_in(noisy_latents.permute(0, 2, 3, 4, 1))  # (B, F, H, W, D)
        skips = []
        for down in self.downs:
            x, level_skips = down(x, embedding)  # (B, F, H/2, W/2, D'), ...
            skips.append(level_skips)
        x = self.middle_first(x, embedding)
        x = self.middle_attention(x)
        x = self.middle_last(x, embedding)  # (B, F, H/2^levels, W/2^levels, D')
        for up in self.ups:
            x = up(x, skips.pop(), embedding)  # ..., (B, F, H, W, D)
        return self.conv_out(x).permute(0, 4, 1, 2, 3)  # (B, C or 2C, F, H, W)

    def _check_input(self, noisy_latents: Tensor, conditioning: Conditioning) -> None:
        """Refuse input of the wrong shape or without its labels, in words."""
        shape, multiple = tuple(noisy_latents.shape), 2 ** len(self.downs)
        if len(shape) != 5 or shape[1] != self.in_channels:
            raise StbenchError(f"Pseudo3DUNet expects latents (B, {self.in_channels}, F, H, W), got {shape}")
        if shape[3] % multiple or shape[4] % multiple:
            nearest = " x ".join(str(max(1, round(side / multiple)) * multiple) for side in shape[3:])
            raise StbenchError(
                f"Pseudo3DUNet halves {len(self.downs)} times: H x W = {shape[3]} x {shape[4]} must be multiples of "
                f"{multiple}, the nearest is {nearest}"
            )
        if self.class_embed is not None and conditioning.class_labels is None:
            raise StbenchError(
                f"this Pseudo3DUNet has {self.num_classes} classes: conditioning.class_labels (B,) is missing"
            )
        if self.fps_embed is not None and conditioning.fps is not None and conditioning.fps.shape != shape[:1]:
            raise StbenchError(f"conditioning.fps: expected (B,) = ({shape[0]},), got {tuple(conditioning.fps.shape)}")
        if conditioning.num_images:
            raise StbenchError("Pseudo3DUNet has no image-video joint training: set train.joint_images=0")

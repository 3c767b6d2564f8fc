"""The latent video U-Net of LVDM (arXiv 2211.13221): the unconditional one of short clips. VideoCrafter grew from it.

Beside VideoCrafter's its residual blocks are modulated by the timestep and pool their norms over all frames, and its
attention has no feed-forward: one among the pixels of a frame, one among the frames of a pixel. As norms pool over
frames, no part that could be left out leaves an image network. Class labels and learned variance are additions of this
benchmark.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from stbench.backbones.base import UNCONDITIONAL, Conditioning
from stbench.backbones.layers import ClassEmbedding
from stbench.backbones.relative_position import RelativePositions
from stbench.backbones.videocrafter_unet.published import LvdmLayout
from stbench.backbones.videocrafter_unet.stages import (
    ClipNorm,
    Enter,
    SinusoidMlp,
    Stage,
    StagedUNet,
    Told,
    add_of_clip,
    check_widths,
    clips_to_frames,
    frames_to_clips,
    per_frame,
    zeroed,
)
from stbench.errors import StbenchError, check_whole
from stbench.runtime.attention.attend import Attend
from stbench.runtime.attention.relative import PositionScores, RelativeAttend


class ModulatedResNetBlock(nn.Module):
    """Two convolutions beside a residual; the embedding scales and shifts the second norm."""

    def __init__(self, in_channels: int, out_channels: int, *, embed_dim: int, norm_groups: int) -> None:
        super().__init__()
        self.norm_in = ClipNorm(norm_groups, in_channels)
        self.conv_in = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.embed = nn.Linear(embed_dim, 2 * out_channels)
        self.norm_out = ClipNorm(norm_groups, out_channels)
        self.conv_out = zeroed(nn.Conv2d(out_channels, out_channels, 3, padding=1))
        self.skip = nn.Conv2d(in_channels, out_channels, 1) if in_channels != out_channels else nn.Identity()

    def forward(self, x: Tensor, told: Told) -> Tensor:
        """(B F, C, H, W) to (B F, C', H, W)."""
        modulation = per_frame(self.embed(F.silu(told.embedding)), told.num_frames)
        scale, shift = modulation[:, :, None, None].chunk(2, dim=1)
        hidden = self.conv_in(F.silu(self.norm_in(x, told.num_frames)))
        hidden = self.norm_out(hidden, told.num_frames) * (1 + scale) + shift
        return self.skip(x) + self.conv_out(F.silu(hidden))


class LvdmRelativeAttend(nn.Module):
    """Attention among frames by relative positions, as the authors' code has it.

    What a position adds to the score of query i and key j is q_j E[i - j] / d^(1/4), where the paper that it follows
    (arXiv 1803.02155) has q_i E[j - i] / d^(1/2). Published weights were trained so.
    """

    def __init__(self, head_dim: int, reach: int) -> None:
        super().__init__()
        self.key_positions = RelativePositions(reach, head_dim)
        self.value_positions = RelativePositions(reach, head_dim)
        self.scores = PositionScores()
        self.attend = RelativeAttend()

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Attend among the frames of (..., heads, F, E)."""
        num_frames, head_dim = q.shape[-2:]
        bias = self.scores(q, self.key_positions(num_frames)).transpose(-2, -1) * head_dim**-0.25
        return self.attend(q, k, v, self.value_positions(num_frames), bias)


class SelfAttention(nn.Module):
    """Norm and multi-head self-attention beside a residual, the last projection of which starts at zero."""

    def __init__(self, channels: int, num_heads: int, norm_groups: int, attend: nn.Module) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.norm = nn.GroupNorm(norm_groups, channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.attend = attend
        self.proj_out = zeroed(nn.Linear(channels, channels))

    def forward(self, tokens: Tensor) -> Tensor:
        """Apply to tokens (B', N, C), over which the norm pools."""
        qkv = self.qkv(self.norm(tokens.transpose(1, 2)).transpose(1, 2)).chunk(3, dim=-1)
        q, k, v = (y.unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for y in qkv)
        return tokens + self.proj_out(self.attend(q, k, v).transpose(1, 2).flatten(2))


class SpaceTimeAttention(nn.Module):
    """Self-attention among the pixels of a frame, then among the frames of a pixel."""

    def __init__(self, channels: int, *, num_heads: int, norm_groups: int, reach: int) -> None:
        super().__init__()
        over_time = LvdmRelativeAttend(channels // num_heads, reach) if reach else Attend()
        self.space = SelfAttention(channels, num_heads, norm_groups, Attend())
        self.time = SelfAttention(channels, num_heads, norm_groups, over_time)

    def forward(self, x: Tensor, told: Told) -> Tensor:
        """Apply to (B F, C, H, W)."""
        tokens = self.space(x.flatten(2).transpose(1, 2)).unflatten(0, (-1, told.num_frames))  # (B, F, H W, C)
        tubes = self.time(tokens.transpose(1, 2).flatten(0, 1))  # (B H W, F, C)
        frames = tubes.unflatten(0, (-1, tokens.shape[2])).permute(0, 2, 3, 1)  # (B, F, C, H W)
        return frames.flatten(0, 1).view_as(x)


class LvdmUNet(StagedUNet):
    """The U-Net of LVDM for short clips.

    Raises:
        StbenchError: when the figures do not fit together.
    """

    published_layout = LvdmLayout()

    def __init__(
        self,
        *,
        dim: int = 256,  # channels of the first convolution
        dim_multipliers: Sequence[int] = (1, 2, 3, 4),  # channels of every level, as multiples of `dim`
        blocks_per_level: int = 3,  # residual blocks of a level on the way down, one more on the way up
        attention_levels: Sequence[int] = (1, 2, 3),  # indices of the levels with attention; the middle always has it
        num_heads: int = 4,  # of every attention
        norm_groups: int = 32,  # of every group norm
        relative_position: bool = True,  # of frames, up to `num_frames` apart
        in_channels: int = 4,  # C of the latents
        num_frames: int = 4,  # how far relative positions reach; clips may have another number
        num_classes: int = 0,  # 0 for an unconditional network; the label `num_classes` is the null class
        learned_variance: bool = False,  # predict 2C channels, noise and variance
    ) -> None:
        check_whole(1, dim=dim, blocks_per_level=blocks_per_level, num_heads=num_heads, norm_groups=norm_groups)
        check_whole(1, in_channels=in_channels, num_frames=num_frames)
        check_whole(0, num_classes=num_classes)
        widths, embed_dim = [dim, *(dim * multiplier for multiplier in dim_multipliers)], 4 * dim
        check_widths(widths, attention_levels, norm_groups, num_heads, "num_heads")
        attention = partial(
            SpaceTimeAttention,
            num_heads=num_heads,
            norm_groups=norm_groups,
            reach=num_frames if relative_position else 0,
        )
        super().__init__(
            Stage(Enter(in_channels, dim)),
            widths,
            blocks_per_level,
            partial(ModulatedResNetBlock, embed_dim=embed_dim, norm_groups=norm_groups),
            lambda level, width: [attention(width)] if level is None or level in attention_levels else [],
        )
        self.in_channels, self.num_classes = in_channels, num_classes
        self.timestep_embed = SinusoidMlp(dim, embed_dim)
        self.class_embed = ClassEmbedding(num_classes, embed_dim) if num_classes else None
        self.norm_out = ClipNorm(norm_groups, dim)
        self.conv_out = zeroed(nn.Conv2d(dim, in_channels * (2 if learned_variance else 1), 3, padding=1))

    def forward(self, noisy_latents: Tensor, timesteps: Tensor, conditioning: Conditioning = UNCONDITIONAL) -> Tensor:
        """Predict noise (and variance) of a batch of clips.

        Args:
            noisy_latents: (B, C, F, H, W), H and W multiples of 2^(levels - 1).
            timesteps: (B,), or (B, F) for each frame its own.
            conditioning: class labels (B,).

        Returns:
            (B, C or 2C, F, H, W)
        """
        self.check_clips(noisy_latents, timesteps, conditioning, self.in_channels)
        num_frames = noisy_latents.shape[2]
        embedding = self.timestep_embed(timesteps)  # (B, E) or (B, F, E)
        if self.class_embed is not None:
            if conditioning.class_labels is None:
                raise StbenchError(
                    f"this LvdmUNet has {self.num_classes} classes: conditioning.class_labels (B,) is missing"
                )
            embedding = add_of_clip(embedding, self.class_embed(conditioning.class_labels))
        x = self.through_stages(clips_to_frames(noisy_latents), Told(embedding, (), num_frames))  # (B F, D, H, W)
        x = self.conv_out(F.silu(self.norm_out(x, num_frames)))  # (B F, C or 2C, H, W)
        return frames_to_clips(x, num_frames)

"""Convolutions of VideoCrafter's U-Net: residual blocks with convolutions in time."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from stbench.backbones.videocrafter_unet.stages import (
    FrameNorm,
    Told,
    clips_to_frames,
    frames_to_clips,
    per_frame,
    zeroed,
)

TEMPORAL_DROPOUT = 0.1  # before the later convolutions in time


class TemporalConv(nn.Module):
    """Norm, SiLU, dropout and a convolution over three frames. It runs in 2D, on frames and pixels."""

    def __init__(self, channels: int, norm_groups: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(norm_groups, channels)
        self.dropout = nn.Dropout(dropout)
        self.conv = nn.Conv2d(channels, channels, kernel_size=(3, 1), padding=(1, 0))

    def forward(self, x: Tensor) -> Tensor:
        """Apply to (B, C, F, H W); the norm pools over all frames."""
        return self.conv(self.dropout(F.silu(self.norm(x))))


class TemporalConvs(nn.Sequential):
    """Four convolutions in time beside a residual, the last of which starts at zero."""

    def __init__(self, channels: int, norm_groups: int) -> None:
        layers = [TemporalConv(channels, norm_groups, dropout) for dropout in (0.0, *[TEMPORAL_DROPOUT] * 3)]
        zeroed(layers[-1].conv)
        super().__init__(*layers)

    def forward(self, x: Tensor, num_frames: int) -> Tensor:  # type: ignore[override]
        """Apply to (B F, C, H, W)."""
        clips = frames_to_clips(x, num_frames)
        return x + clips_to_frames(super().forward(clips.flatten(3)).view_as(clips))


class ResNetBlock(nn.Module):
    """Two convolutions beside a residual, the embedding added between them; then convolutions in time, if wanted.

    Args:
        in_channels: C.
        out_channels: C'.
        embed_dim: E.
        norm_groups: of both norms.
        temporal_conv: whether there are convolutions in time.
        dropout: between the convolutions.
        norm: builds a norm of groups and channels.
        embeds_frames: an embedding of a clip is projected for each frame, as VideoCrafter does; or else once.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        embed_dim: int,
        norm_groups: int,
        temporal_conv: bool = False,
        dropout: float = 0.0,
        norm: Callable[[int, int], nn.Module] = FrameNorm,
        embeds_frames: bool = True,
    ) -> None:
        super().__init__()
        self.embeds_frames = embeds_frames
        self.norm_in = norm(norm_groups, in_channels)
        self.conv_in = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.embed = nn.Linear(embed_dim, out_channels)
        self.norm_out = norm(norm_groups, out_channels)
        self.dropout = nn.Dropout(dropout)
        self.conv_out = zeroed(nn.Conv2d(out_channels, out_channels, 3, padding=1))
        self.skip = nn.Conv2d(in_channels, out_channels, 1) if in_channels != out_channels else nn.Identity()
        self.temporal = TemporalConvs(out_channels, norm_groups) if temporal_conv else None

    def forward(self, x: Tensor, told: Told) -> Tensor:
        """(B F, C, H, W) to (B F, C', H, W)."""
        hidden = self.conv_in(F.silu(self.norm_in(x, told.num_frames)))
        hidden = hidden + self._embedding(told)[:, :, None, None]
        hidden = self.conv_out(self.dropout(F.silu(self.norm_out(hidden, told.num_frames))))
        x = self.skip(x) + hidden
        return x if self.temporal is None else self.temporal(x, told.num_frames)

    def _embedding(self, told: Told) -> Tensor:
        """That of each frame, (B F, C')."""
        embedding = F.silu(told.embedding)
        if self.embeds_frames:
            return self.embed(per_frame(embedding, told.num_frames))
        return per_frame(self.embed(embedding), told.num_frames)

"""The transformer blocks of Latte (arXiv 2401.03048, section 3.1): attention over space, over time, or over both.

Tokens stay in one layout, (B, F, N, D), from the first block to the last. Everything but attention works on single
tokens, so only queries, keys and values are viewed along the axis that a block attends over, and the modulation of
adaptive layer norm is computed once per clip and broadcast, never once per frame or per token.
"""

from __future__ import annotations

import copy
from typing import Literal, cast

import torch
from torch import Tensor, nn

from stbench.backbones.layers import Mlp, apply_rotary, spread_over_frames
from stbench.backbones.temporal import ChannelGate, MotionModule, first_and_previous
from stbench.runtime.attention.attend import Attend

Axis = Literal["spatial", "temporal"]


def attend_along(attend: Attend, qkv: Tensor, axis: Axis, rotary: bool) -> Tensor:
    """Attention among the tokens of each frame ("spatial") or of each position over time ("temporal").

    Args:
        attend: the attention backend.
        qkv: (B, F, N, 3, heads, E)
        axis: over which axis tokens see each other.
        rotary: rotate queries and keys by their frame index (temporal axis only).

    Returns:
        (B, F, N, heads * E)
    """
    order = (3, 0, 1, 4, 2, 5) if axis == "spatial" else (3, 0, 2, 4, 1, 5)
    q, k, v = qkv.permute(order)  # each (B, F, heads, N, E) or (B, N, heads, F, E)
    if rotary and axis == "temporal":
        frames = torch.arange(q.shape[-2], device=q.device)
        q, k = apply_rotary(q, frames), apply_rotary(k, frames)
    out = attend(q, k, v)
    return out.permute((0, 1, 3, 2, 4) if axis == "spatial" else (0, 3, 1, 2, 4)).flatten(-2)


class AxialAttention(nn.Module):
    """Multi-head self-attention over one axis. Images appended to a clip take no part in the temporal axis.

    Args:
        width: D.
        num_heads: how many heads.
        axis: over which axis tokens see each other.
        rotary: rotate queries and keys by their frame index (temporal axis only).
        table: (1, F, 1, D), positions that this attention adds to its tokens; none by default.
    """

    table: Tensor | None

    def __init__(
        self, width: int, num_heads: int, axis: Axis, rotary: bool = False, table: Tensor | None = None
    ) -> None:
        super().__init__()
        self.num_heads, self.axis, self.rotary = num_heads, axis, rotary
        self.register_buffer("table", table, persistent=False)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.attend = Attend()

    def forward(self, x: Tensor, num_images: int = 0) -> Tensor:
        """Mix tokens x (B, F, N, D); the last `num_images` frames get zeros from the temporal axis."""
        skipped = num_images if self.axis == "temporal" else 0
        x = x[:, : x.shape[1] - skipped]
        if self.table is not None:
            x = x + self.table
        qkv = self.qkv(x).unflatten(-1, (3, self.num_heads, -1))
        out = self.proj(attend_along(self.attend, qkv, self.axis, self.rotary))
        return nn.functional.pad(out, (0, 0, 0, 0, 0, skipped)) if skipped else out


class ParallelAttention(nn.Module):
    """Variant 4, reading "full-width": two attentions of half the heads but full width each, outputs added.

    This reading reproduces the parameter and operation counts that the paper prints for variant 4.
    """

    def __init__(self, width: int, num_heads: int, rotary: bool) -> None:
        super().__init__()
        self.spatial = AxialAttention(width, num_heads // 2, "spatial")
        self.temporal = AxialAttention(width, num_heads // 2, "temporal", rotary)

    def forward(self, x: Tensor, num_images: int = 0) -> Tensor:
        """Mix tokens x (B, F, N, D) over both axes at once."""
        return self.spatial(x, num_images) + self.temporal(x, num_images)


class SplitAttention(nn.Module):
    """Variant 4, reading "split": one qkv, the first half of the heads over space, the second over time, one output.

    An appended image sees only itself over time, so its temporal heads hand their values on unchanged.
    """

    def __init__(self, width: int, num_heads: int, rotary: bool) -> None:
        super().__init__()
        self.num_heads, self.rotary = num_heads, rotary
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.attend = Attend()

    def forward(self, x: Tensor, num_images: int = 0) -> Tensor:
        """Mix tokens x (B, F, N, D) over both axes at once."""
        qkv = self.qkv(x).unflatten(-1, (3, self.num_heads, -1))
        over_space, over_time = qkv.chunk(2, dim=-2)  # (B, F, N, 3, heads / 2, E)
        num_frames = x.shape[1] - num_images
        spatial = attend_along(self.attend, over_space, "spatial", self.rotary)
        temporal = attend_along(self.attend, over_time[:, :num_frames], "temporal", self.rotary)
        if num_images:
            temporal = torch.cat([temporal, over_time[:, num_frames:, :, 2].flatten(-2)], dim=1)
        return self.proj(torch.cat([spatial, temporal], dim=-1))


class DualChannelAttention(nn.Module):
    """A frozen attention over space and one over time, of the same tokens, mixed by a learned gate (`temporal`)."""

    def __init__(self, spatial: AxialAttention, temporal: AxialAttention, width: int, gate_start: float) -> None:
        super().__init__()
        self.spatial, self.temporal = spatial.requires_grad_(False), temporal
        self.gate = ChannelGate(width, gate_start)

    def start_from_space(self) -> None:
        """Let queries, keys and values over time begin as those over space, as CogVideo does."""
        self.temporal.qkv.load_state_dict(self.spatial.qkv.state_dict())

    def forward(self, x: Tensor, num_images: int = 0) -> Tensor:
        """Mix tokens x (B, F, N, D); the last `num_images` frames are mixed over space alone."""
        return self.gate(self.spatial(x, num_images), self.temporal(x, num_images), num_images)


class SparseCausalAttention(AxialAttention):
    """Attention from the tokens of each frame to those of the first frame and of the previous one (`temporal`)."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__(width, num_heads, "spatial")

    def forward(self, x: Tensor, num_images: int = 0) -> Tensor:
        """Mix tokens x (B, F, N, D); each of the last `num_images` frames sees itself."""
        q, k, v = self.qkv(x).unflatten(-1, (3, self.num_heads, -1)).permute(3, 0, 1, 4, 2, 5)
        k, v = first_and_previous(k, num_images), first_and_previous(v, num_images)
        return self.proj(self.attend(q, k, v).transpose(-3, -2).flatten(-2))


class AddedTime(nn.Module):
    """Norm and attention over time beside a residual, which starts as nothing (Tune-A-Video)."""

    def __init__(self, attention: AxialAttention, width: int) -> None:
        super().__init__()
        self.norm, self.attention = nn.LayerNorm(width), attention

    def start_as_nothing(self) -> None:
        """Set the last projection to zero."""
        nn.init.zeros_(self.attention.proj.weight)
        nn.init.zeros_(self.attention.proj.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Apply to the tokens of clips, (B, F, N, D)."""
        return x + self.attention(self.norm(x))


class Modulation(nn.Sequential):
    """Adaptive layer norm's Linear(SiLU(c)), zero-initialised (adaLN-Zero, arXiv 2212.09748, section 3.2)."""

    def __init__(self, width: int, chunks: int) -> None:
        super().__init__(nn.SiLU(), nn.Linear(width, chunks * width))
        self.chunks = chunks

    @property
    def linear(self) -> nn.Linear:
        """The projection."""
        return cast(nn.Linear, self[1])

    def per_frame(self, condition: Tensor, num_frames: int, num_images: int) -> tuple[Tensor, ...]:
        """From conditions (B, 1 + K, D), or (B, F, D), to shifts, scales and gates, each (B, 1 or F + K, 1, D)."""
        own = condition.shape[1] - num_images
        rows = self(condition[:, :own])  # by themselves, so that appended images do not even change the rounding
        if num_images:
            rows = torch.cat([rows, self(condition[:, own:])], dim=1)
        rows = spread_over_frames(rows, num_frames, num_images)
        return rows.unsqueeze(2).chunk(self.chunks, dim=-1)


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Scale and shift normalised tokens x (B, F, N, D)."""
    return torch.addcmul(shift, x, 1 + scale)


class LatteBlock(nn.Module):
    """Pre-norm transformer block: one or more token mixers in sequence, then an MLP.

    With adaptive layer norm, one triple of shift, scale and gate serves all mixers of the block and a second one the
    MLP. Without it (conditioning by tokens) the norms have their own affine parameters and there are no gates.

    Args:
        mixers: attentions, applied in this order, each with its own norm and residual.
        width: D.
        hidden_width: of the MLP.
        adaptive: modulate by the condition, or not at all.
        video_only: images appended to a clip skip the whole block (the temporal blocks of variants 1 and 2).
        added: from tokens of clips to tokens, applied last; images skip it.
    """

    def __init__(
        self,
        mixers: list[nn.Module],
        width: int,
        hidden_width: int,
        adaptive: bool,
        video_only: bool = False,
        added: AddedTime | MotionModule | None = None,
    ) -> None:
        super().__init__()
        self.video_only = video_only
        self.added = added
        self.mixers = nn.ModuleList(mixers)
        self.norms = nn.ModuleList(
            nn.LayerNorm(width, eps=1e-6, elementwise_affine=not adaptive) for _ in range(len(mixers) + 1)
        )
        self.mlp = Mlp(width, hidden_width)
        self.modulation = Modulation(width, 6) if adaptive else None

    def forward(self, x: Tensor, condition: Tensor, num_images: int = 0) -> Tensor:
        """Transform tokens.

        Args:
            x: (B, F + K, N, D)
            condition: (B, 1 + K, D); unused when the block is not adaptive.
            num_images: K, how many of the last frames are independent images.

        Returns:
            (B, F + K, N, D)
        """
        if self.video_only and num_images:
            video, images = x.split([x.shape[1] - num_images, num_images], dim=1)
            return torch.cat([self(video, condition[:, :1]), images], dim=1)
        x = self._mix(x, condition, num_images)
        if self.added is None:
            return x
        video, images = x.split([x.shape[1] - num_images, num_images], dim=1)
        return torch.cat([self.added(video), images], dim=1)

    def image_block(self) -> LatteBlock:
        """The block of the image network that is within: it shares all modules but the temporal ones."""
        spatial = [mixer.spatial if isinstance(mixer, DualChannelAttention) else mixer for mixer in self.mixers]
        block = copy.copy(self)
        block._modules = {**self._modules, "mixers": nn.ModuleList(spatial), "added": None}
        return block

    def _mix(self, x: Tensor, condition: Tensor, num_images: int) -> Tensor:
        """The mixers and the MLP."""
        if self.modulation is None:
            for norm, mixer in zip(self.norms, self.mixers, strict=False):  # the last norm is the MLP's
                x = x + mixer(norm(x), num_images)
            return x + self.mlp(self.norms[-1](x))
        num_frames = x.shape[1] - num_images
        shift, scale, gate, mlp_shift, mlp_scale, mlp_gate = self.modulation.per_frame(
            condition, num_frames, num_images
        )
        for norm, mixer in zip(self.norms, self.mixers, strict=False):  # the last norm is the MLP's
            x = x + gate * mixer(modulate(norm(x), shift, scale), num_images)
        return x + mlp_gate * self.mlp(modulate(self.norms[-1](x), mlp_shift, mlp_scale))

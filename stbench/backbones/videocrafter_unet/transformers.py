"""Transformers of VideoCrafter's U-Net: one among the pixels of a frame, one among the frames of a pixel.

Each is a block of two attentions and a gated feed-forward (arXiv 2002.05202) between two projections, the second of
which starts at zero. In space the second attention looks at the context; in time, as released, it is another
self-attention.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from stbench.backbones.videocrafter_unet.attention import Attention, CausalAttend, DualAttention, FramesAttend
from stbench.backbones.videocrafter_unet.stages import Told, clips_to_frames, frames_to_clips, zeroed
from stbench.backbones.videocrafter_unet.style import StyleAttention
from stbench.runtime.attention.attend import Attend

FEED_FORWARD_RATIO = 4  # hidden width of the feed-forward, as a multiple of the block's
# What looks at the context: at a text alone, at an image as well, by a learned factor, or at an image's style.
TO_CONTEXT: dict[str, Callable[[int, int, int, int], Attention]] = {
    "none": Attention,
    "dual": DualAttention,
    "scaled": partial(DualAttention, learned_scale=True),
    "style": StyleAttention,
}


class FeedForward(nn.Module):
    """GEGLU: half of the hidden channels gate the others (arXiv 2002.05202)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.enter = nn.Linear(width, 2 * FEED_FORWARD_RATIO * width)
        self.leave = nn.Linear(FEED_FORWARD_RATIO * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Apply to (..., C)."""
        x, gate = self.enter(x).chunk(2, dim=-1)
        return self.leave(x * F.gelu(gate))


class TransformerBlock(nn.Module):
    """Self-attention, a second attention and a feed-forward, each behind a norm and beside a residual."""

    def __init__(self, width: int, attn1: nn.Module, attn2: nn.Module) -> None:
        super().__init__()
        self.norm1, self.norm2, self.norm3 = nn.LayerNorm(width), nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn1, self.attn2 = attn1, attn2
        self.feed_forward = FeedForward(width)

    def forward(self, x: Tensor, *contexts: Tensor) -> Tensor:
        """Apply to tokens (B', N, C), with the contexts (B', L, D) of the second attention."""
        x = x + self.attn1(self.norm1(x))
        x = x + self.attn2(self.norm2(x), *contexts)
        return x + self.feed_forward(self.norm3(x))


class Transformer(nn.Module):
    """What both transformers are: norm, projection, block, projection.

    Args:
        channels: C of the features.
        block: of any width.
        width: of the block.
        norm_groups: of the first norm.
    """

    def __init__(self, channels: int, width: int, block: TransformerBlock, norm_groups: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(norm_groups, channels, eps=1e-6)
        self.proj_in = nn.Linear(channels, width)
        self.block = block
        self.proj_out = zeroed(nn.Linear(width, channels))


class SpatialBlock(TransformerBlock):
    """Attention among the pixels of each frame, and from them to the context.

    Args:
        channels: C, a multiple of `head_dim`.
        head_dim: channels of a head.
        context_dim: D of the context.
        image_attention: a name of `TO_CONTEXT`.
    """

    def __init__(self, channels: int, *, head_dim: int, context_dim: int, image_attention: str = "none") -> None:
        figures = (channels, channels // head_dim, head_dim)
        attn2 = TO_CONTEXT[image_attention](*figures, context_dim)
        super().__init__(channels, Attention(*figures), attn2)

    def forward(self, x: Tensor, told: Told) -> Tensor:  # type: ignore[override]
        """Apply to tokens (B F, N, C)."""
        return super().forward(x, *told.contexts)


class SpatialTransformer(Transformer):
    """A block that sees the pixels of each frame as tokens, and what they are told."""

    def __init__(self, channels: int, block: TransformerBlock, norm_groups: int) -> None:
        super().__init__(channels, channels, block, norm_groups)

    def forward(self, x: Tensor, told: Told) -> Tensor:
        """Apply to (B F, C, H, W)."""
        tokens = self.norm(x).flatten(2).transpose(1, 2)  # (B F, H W, C)
        tokens = self.proj_out(self.block(self.proj_in(tokens), told))
        return x + tokens.transpose(1, 2).unflatten(2, x.shape[2:])


class TemporalTransformer(Transformer):
    """Attention among the frames of each pixel.

    Args:
        channels: C.
        num_heads: how many heads; their channels are the block's width.
        head_dim: channels of a head.
        context_dim: D of a text that the second attention looks at, as the literature draws it; None, as released, for
            another self-attention.
        reach: how far relative positions reach, in frames; 0 for none.
        causal: no frame looks at a later one.
        norm_groups: as of `Transformer`.
    """

    def __init__(
        self,
        channels: int,
        num_heads: int,
        *,
        head_dim: int,
        context_dim: int | None,
        reach: int,
        causal: bool,
        norm_groups: int,
    ) -> None:
        width = num_heads * head_dim
        attention = partial(Attention, width, num_heads, head_dim)

        def among_frames() -> nn.Module:
            if reach:
                return FramesAttend(head_dim, reach, causal)
            return CausalAttend() if causal else Attend()

        attn2 = attention(context_dim) if context_dim else attention(attend=among_frames())
        block = TransformerBlock(width, attention(attend=among_frames()), attn2)
        super().__init__(channels, width, block, norm_groups)
        self.looks_at_text = context_dim is not None

    def forward(self, x: Tensor, told: Told) -> Tensor:
        """Apply to (B F, C, H, W)."""
        clips = frames_to_clips(x, told.num_frames)
        B, _, _, H, W = clips.shape
        tokens = self.norm(clips).permute(0, 3, 4, 2, 1).flatten(0, 2)  # (B H W, F, C)
        texts: tuple[Tensor, ...] = ()
        if self.looks_at_text:
            text = told.contexts[0].unflatten(0, (B, -1))[:, 0]  # (B, L, D): that of all frames
            texts = (text.repeat_interleave(H * W, dim=0),)
        tokens = self.proj_out(self.block(self.proj_in(tokens), *texts))
        return x + clips_to_frames(tokens.unflatten(0, (B, H, W)).permute(0, 4, 3, 1, 2))

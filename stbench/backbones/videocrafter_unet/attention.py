"""Attention of VideoCrafter's U-Net: to oneself, to a context, to a text and an image, or among frames."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from stbench.backbones.relative_position import RelativePositions
from stbench.runtime.attention.attend import Attend
from stbench.runtime.attention.relative import PositionScores, RelativeAttend


class Attention(nn.Module):
    """Multi-head attention, to itself or to a context; only the last projection has a bias.

    Args:
        width: of the tokens.
        num_heads: how many heads.
        head_dim: channels of each.
        context_dim: D of the context; None for self-attention.
        attend: called with queries, keys and values (..., heads, N, E); by default an `Attend`.
    """

    def __init__(
        self,
        width: int,
        num_heads: int,
        head_dim: int,
        context_dim: int | None = None,
        attend: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.head_dim = head_dim
        self.to_q = nn.Linear(width, num_heads * head_dim, bias=False)
        self.to_k = nn.Linear(context_dim or width, num_heads * head_dim, bias=False)
        self.to_v = nn.Linear(context_dim or width, num_heads * head_dim, bias=False)
        self.attend = attend or Attend()
        self.to_out = nn.Linear(num_heads * head_dim, width)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Attend from tokens (B', N, C) to themselves, or to a context (B', L, D)."""
        source = x if context is None else context
        return self.to_out(self.look(self.to_q(x), self.to_k(source), self.to_v(source)))

    def look(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Attend from projected tokens (B', N, heads E) to others, head by head."""
        q, k, v = (y.unflatten(-1, (-1, self.head_dim)).transpose(1, 2) for y in (q, k, v))
        return self.attend(q, k, v).transpose(1, 2).flatten(2)


class DualAttention(Attention):
    """Attention to a text and to an image by the same queries; the two are added before the last projection.

    Args:
        learned_scale: a learned factor of the image's part, 1 + tanh of a scalar that starts at zero.
    """

    def __init__(
        self, width: int, num_heads: int, head_dim: int, context_dim: int, learned_scale: bool = False
    ) -> None:
        super().__init__(width, num_heads, head_dim, context_dim)
        self.to_k_image = nn.Linear(context_dim, num_heads * head_dim, bias=False)
        self.to_v_image = nn.Linear(context_dim, num_heads * head_dim, bias=False)
        self.image_scale = nn.Parameter(torch.zeros(())) if learned_scale else None

    def forward(self, x: Tensor, text: Tensor, image: Tensor) -> Tensor:  # type: ignore[override]
        """Attend from tokens (B', N, C) to a text (B', L, D) and an image (B', L', D)."""
        q = self.to_q(x)
        seen = self.look(q, self.to_k_image(image), self.to_v_image(image))
        if self.image_scale is not None:
            seen = seen * (1 + self.image_scale.tanh())
        return self.to_out(self.look(q, self.to_k(text), self.to_v(text)) + seen)


class CausalAttend(Attend):
    """Attention to oneself and to what stands before."""

    def forward(self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> Tensor:
        """Attend among the frames of (..., heads, F, E)."""
        assert bias is None
        return super().forward(q, k, v, causal_bias(q))


class FramesAttend(nn.Module):
    """Attention among frames by their relative positions.

    Args:
        head_dim: channels of a head.
        reach: the largest distance with a position of its own, in frames.
        causal: only to oneself and to what stands before.
    """

    def __init__(self, head_dim: int, reach: int, causal: bool) -> None:
        super().__init__()
        self.causal = causal
        self.key_positions = RelativePositions(reach, head_dim)
        self.value_positions = RelativePositions(reach, head_dim)
        self.scores = PositionScores()
        self.attend = RelativeAttend()

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Attend among the frames of (..., heads, F, E)."""
        num_frames, head_dim = q.shape[-2:]
        bias = self.scores(q, self.key_positions(num_frames)) * head_dim**-0.5
        if self.causal:
            bias = bias + causal_bias(q)
        return self.attend(q, k, v, self.value_positions(num_frames), bias)


def causal_bias(q: Tensor) -> Tensor:
    """Minus infinity where a query of (..., heads, N, E) would see a later one: (heads, N, N)."""
    num_heads, length = q.shape[-3:-1]
    return torch.full((length, length), -torch.inf, device=q.device).triu(diagonal=1).expand(num_heads, -1, -1)

"""StyleCrafter's attention to the style of an image (arXiv 2312.00330), and how much of it each layer takes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stbench.backbones.videocrafter_unet.attention import Attention
from stbench.errors import StbenchError
from stbench.runtime.attention.attend import Attend

ENCODER_HEADS = 8
ENCODER_LAYERS = 2
SCALE_WIDTH = 32  # hidden channels of what makes a scale of a token


class StyleAttention(Attention):
    """Attention to a text and to a style by the same queries; the style's part is normalised and scaled.

    Attributes:
        layer: which of the scales is this layer's; the network sets it.
    """

    layer = 0

    def __init__(self, width: int, num_heads: int, head_dim: int, context_dim: int) -> None:
        super().__init__(width, num_heads, head_dim, context_dim)
        self.to_k_style = nn.Linear(context_dim, num_heads * head_dim, bias=False)
        self.to_v_style = nn.Linear(context_dim, num_heads * head_dim, bias=False)
        self.norm_style = nn.LayerNorm(num_heads * head_dim)

    def forward(self, x: Tensor, text: Tensor, style: Tensor, scales: Tensor) -> Tensor:  # type: ignore[override]
        """Attend from tokens (B', N, C) to a text (B', L, D) and a style (B', L', D) under scales (B', layers, 1)."""
        q = self.to_q(x)
        seen = self.norm_style(self.look(q, self.to_k_style(style), self.to_v_style(style)))
        scale = 1 + scales[:, self.layer, None]  # (B', 1, 1)
        return self.to_out(self.look(q, self.to_k(text), self.to_v(text)) + scale * seen)


class EncoderBlock(nn.Module):
    """Self-attention and an MLP, each behind a norm and beside a residual."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.attend = Attend()
        self.enter, self.leave = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Apply to tokens (B, N, D)."""
        qkv = self.qkv(self.norm1(x)).unflatten(-1, (3, ENCODER_HEADS, -1))
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # (B, heads, N, head_dim)
        x = x + self.proj(self.attend(q, k, v).transpose(1, 2).flatten(2))
        return x + self.leave(F.gelu(self.enter(self.norm2(x))))


class ScaleEncoder(nn.Module):
    """How much of the style each layer takes, from -1 to 1, told by style and text: learned tokens in front of them."""

    def __init__(self, width: int, num_scales: int) -> None:
        super().__init__()
        if width % ENCODER_HEADS:
            raise StbenchError(
                f"context_dim={width} does not divide into the {ENCODER_HEADS} heads that look at styles"
            )
        self.tokens = nn.Parameter(torch.randn(1, num_scales, width) * width**-0.5)
        self.norm_in, self.norm_out = nn.LayerNorm(width), nn.LayerNorm(width)
        self.blocks = nn.Sequential(*(EncoderBlock(width) for _ in range(ENCODER_LAYERS)))
        self.enter, self.leave = nn.Linear(width, SCALE_WIDTH), nn.Linear(SCALE_WIDTH, 1)

    def forward(self, style: Tensor, text: Tensor) -> Tensor:
        """From a style (B, L', D) and a text (B, L, D) to scales (B, layers, 1)."""
        x = torch.cat([self.tokens.expand(len(style), -1, -1), style, text], dim=1)
        x = self.blocks(self.norm_in(x))[:, : self.tokens.shape[1]]
        return self.leave(F.gelu(self.enter(self.norm_out(x)))).tanh()

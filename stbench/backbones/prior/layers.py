"""The layers of the diffusion prior: a causal transformer whose heads share their keys and values.

What the paper leaves open follows DALLE2-pytorch: cosine attention (arXiv 2010.04245) with a key and a value that stand
for nothing, heads that share the others (arXiv 1911.02150), a norm behind its projection (arXiv 2105.13290), and
SwiGLU (arXiv 2002.05202). Letters as in `base`; E is the width of a head.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stbench.backbones.layers import Rotary, timestep_sinusoid
from stbench.runtime.attention.attend import Attend

COSINE_SCALE = 16.0  # of the products of unit queries and keys, which otherwise lie between -1 and 1
FEED_FORWARD_RATIO = 4  # of the hidden width to that of the tokens


class CausalAttention(nn.Module):
    """Cosine attention of several heads to one head of keys and values, under a bias that hides what comes later."""

    def __init__(self, dim: int, num_heads: int, head_dim: int, rotary: Rotary) -> None:
        super().__init__()
        self.num_heads, self.rotary = num_heads, rotary
        self.norm = nn.LayerNorm(dim, bias=False)
        self.null_kv = nn.Parameter(torch.randn(2, head_dim))
        self.to_q = nn.Linear(dim, num_heads * head_dim, bias=False)
        self.to_kv = nn.Linear(dim, 2 * head_dim, bias=False)
        self.attend = Attend()
        self.to_out = nn.Linear(num_heads * head_dim, dim, bias=False)
        self.norm_out = nn.LayerNorm(dim, bias=False)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """Mix tokens (B, N, D) under a bias (heads, N, 1 + N)."""
        x = self.norm(x)
        q = self.to_q(x).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)  # (B, heads, N, E)
        k, v = self.to_kv(x).chunk(2, dim=-1)  # (B, N, E)
        q, k = self.rotary(q), self.rotary(k)
        null_k, null_v = self.null_kv.to(k.dtype).expand(len(x), -1, -1).split(1, dim=1)  # (B, 1, E)
        k, v = torch.cat([null_k, k], dim=1), torch.cat([null_v, v], dim=1)
        q, k = (F.normalize(each, dim=-1).to(v.dtype) for each in (q, k))
        q = q * (COSINE_SCALE * q.shape[-1] ** 0.5)  # `Attend` divides by that root
        k, v = (each[:, None].expand(-1, self.num_heads, -1, -1) for each in (k, v))
        out = self.attend(q, k, v, bias=bias)  # (B, heads, N, E)
        return self.norm_out(self.to_out(out.transpose(1, 2).flatten(2)))


class FeedForward(nn.Module):
    """SwiGLU, optionally with a norm in the middle."""

    def __init__(self, dim: int, norm_hidden: bool) -> None:
        super().__init__()
        hidden_dim = FEED_FORWARD_RATIO * dim
        self.norm = nn.LayerNorm(dim, bias=False)
        self.enter = nn.Linear(dim, 2 * hidden_dim, bias=False)
        self.norm_hidden = nn.LayerNorm(hidden_dim, bias=False) if norm_hidden else nn.Identity()
        self.leave = nn.Linear(hidden_dim, dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Apply to tokens (..., D)."""
        x, gate = self.enter(self.norm(x)).chunk(2, dim=-1)
        return self.leave(self.norm_hidden(x * F.silu(gate)))


class Block(nn.Module):
    """Attention and feed-forward, each with a residual."""

    def __init__(self, dim: int, num_heads: int, head_dim: int, rotary: Rotary, normformer: bool) -> None:
        super().__init__()
        self.attention = CausalAttention(dim, num_heads, head_dim, rotary)
        self.feed_forward = FeedForward(dim, norm_hidden=normformer)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """Apply to tokens (B, N, D) under a bias (heads, N, 1 + N)."""
        x = x + self.attention(x, bias)
        return x + self.feed_forward(x)


class RescaledNorm(nn.LayerNorm):
    """The norm of a token divided by its largest channel first: that changes what `eps` adds, and nothing else."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim, bias=False)

    def forward(self, input: Tensor) -> Tensor:
        """Normalise tokens (..., D)."""
        return super().forward(input / input.amax(dim=-1, keepdim=True).detach())


class TimestepMlp(nn.Module):
    """Sinusoid of D channels through a three-layer SiLU MLP, for timesteps that are no integers."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim
        self.mlp = nn.Sequential(
            nn.Linear(dim, 2 * dim), nn.SiLU(), nn.Linear(2 * dim, 2 * dim), nn.SiLU(), nn.Linear(2 * dim, dim)
        )

    def forward(self, timesteps: Tensor) -> Tensor:
        """Embed timesteps (B,) as (B, D)."""
        return self.mlp(timestep_sinusoid(timesteps, self.dim, cos_first=False, inclusive=True))

"""Ways to give a trained image network time, which Latte and the U-Nets take alike (`temporal=`).

- `attention`: the temporal attention that the family has of its own.
- `dual_channel`: CogVideo's (arXiv 2205.15868, section 3.2): a frozen attention over space beside a trained one over
  time, mixed by a learned gate.
- `sparse_causal`: Tune-A-Video's (arXiv 2212.11565, section 4.2): the attention over space sees the first frame and the
  previous one, and an attention over time starts as nothing.
- `motion_module`: AnimateDiff's (arXiv 2307.04725, section 4.2): two attentions over time and a feed-forward, which
  start as nothing.

Appended images, the last K of F + K frames, are no part of a clip: what is temporal leaves them alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from stbench.backbones.layers import GatedFeedForward
from stbench.errors import StbenchError
from stbench.runtime.attention.attend import Attend

TEMPORAL = ("attention", "dual_channel", "sparse_causal", "motion_module")


class ChannelGate(nn.Module):
    """Mixes what a spatial and a temporal channel made of the same tokens: a spatial + (1 - a) temporal.

    a = sigmoid(logit) is learned for each of the D channels of a token. It starts at 1/2 in CogVideo (`start` 0); far
    above, the network starts as its spatial channel alone.
    """

    def __init__(self, width: int, start: float) -> None:
        super().__init__()
        self.logit = nn.Parameter(torch.full((width,), float(start)))

    def forward(self, spatial: Tensor, temporal: Tensor, num_images: int = 0) -> Tensor:
        """Mix tokens (B, F + K, ..., D); the last K frames stay as the spatial channel has them."""
        share = self.logit.sigmoid()
        mixed = share * spatial + (1 - share) * temporal
        if not num_images:
            return mixed
        num_frames = spatial.shape[1] - num_images
        return torch.cat([mixed[:, :num_frames], spatial[:, num_frames:]], dim=1)


def first_and_previous(tokens: Tensor, num_images: int = 0, apart: Tensor | None = None) -> Tensor:
    """Keys or values that sparse-causal attention offers a frame: those of the first, then of the previous frame.

    The first frame has itself for both, and so has an image. Others do not see themselves.

    Args:
        tokens: (B, F + K, heads, N, E)
        num_images: K.
        apart: (B,) booleans: clips whose frames do not see each other, but themselves.

    Returns:
        (B, F + K, heads, 2 N, E)
    """
    frames = torch.arange(tokens.shape[1], device=tokens.device)
    of_clip = frames < tokens.shape[1] - num_images
    first = torch.where(of_clip, 0, frames)
    previous = torch.where(of_clip, (frames - 1).clamp(min=0), frames)
    offered = torch.cat([tokens[:, first], tokens[:, previous]], dim=-2)
    if apart is None:
        return offered
    return torch.where(apart[:, None, None, None, None], torch.cat([tokens, tokens], dim=-2), offered)


def attend_over_time(
    attend: Attend,
    queries_keys_values: tuple[Tensor, Tensor, Tensor],
    num_images: int = 0,
    apart: Tensor | None = None,
    bias: Tensor | None = None,
    rotate: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """Attention among the frames of a clip.

    A frame that sees no other attends to itself alone, so its value passes unchanged.

    Args:
        attend: the attention.
        queries_keys_values: each (B, N, heads, F + K, E).
        num_images: K.
        apart: (B,) booleans: clips whose frames do not see each other.
        bias: (heads, F, F), added to the scores.
        rotate: applied to queries and keys.

    Returns:
        (B, N, heads, F + K, E)
    """
    values = queries_keys_values[2]
    num_frames = values.shape[-2] - num_images
    q, k, v = (each[..., :num_frames, :] for each in queries_keys_values)
    if rotate is not None:
        q, k = rotate(q), rotate(k)
    out = attend(q, k, v, bias=bias)
    if apart is not None:
        out = torch.where(apart[:, None, None, None, None], v, out)
    return torch.cat([out, values[..., num_frames:, :]], dim=-2) if num_images else out


def interleaved_sinusoid(num_frames: int, width: int) -> Tensor:
    """Positions of frames as AnimateDiff has them: channel 2i sin(p w_i), 2i + 1 cos(p w_i), w_i = 10000^(-2i / D).

    Returns:
        (F, D), float32
    """
    frequencies = torch.exp(-math.log(10000.0) * torch.arange(0, width, 2) / width)
    angles = torch.arange(num_frames)[:, None] * frequencies
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)[:, :width]


class MotionAttention(nn.Module):
    """Norm, positions, and attention among the frames of each pixel."""

    def __init__(self, width: int, num_heads: int, positions: bool) -> None:
        super().__init__()
        self.num_heads, self.positions = num_heads, positions
        self.norm = nn.LayerNorm(width)
        self.to_q, self.to_k, self.to_v = (nn.Linear(width, width, bias=False) for _ in range(3))
        self.to_out = nn.Linear(width, width)
        self.attend = Attend()

    def forward(self, tubes: Tensor, num_images: int, apart: Tensor | None) -> Tensor:
        """Mix the frames of (B, N, F + K, D)."""
        x = self.norm(tubes)
        if self.positions:
            x = x + self._positions(x, num_images, apart)
        q, k, v = (self._heads(layer(x)) for layer in (self.to_q, self.to_k, self.to_v))
        out = attend_over_time(self.attend, (q, k, v), num_images, apart)
        return self.to_out(out.transpose(-3, -2).flatten(-2))

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.num_heads, -1)).transpose(-3, -2)

    def _positions(self, x: Tensor, num_images: int, apart: Tensor | None) -> Tensor:
        """Positions of the frames of (B, N, F + K, D); what is seen alone stands where a clip begins."""
        num_frames = x.shape[-2] - num_images
        table = interleaved_sinusoid(max(1, num_frames), x.shape[-1]).to(x)
        rows = torch.cat([table[:num_frames], table[:1].expand(num_images, -1)])
        return rows if apart is None else torch.where(apart[:, None, None, None], table[:1], rows)


class MotionModule(nn.Module):
    """AnimateDiff's motion module: two attentions over time and a feed-forward between two projections.

    The last projection starts at zero, so that an image network that it is put into starts as it was. A group norm of
    32 groups, or of as many as divide the width, looks at each frame by itself.

    Args:
        width: D.
        num_heads: of both attentions.
        positions: add the frames' positions to what queries, keys and values are made of.
    """

    def __init__(self, width: int, num_heads: int = 8, positions: bool = True) -> None:
        super().__init__()
        if width % num_heads:
            raise StbenchError(f"a motion module of width {width} does not divide into {num_heads} heads")
        self.norm = nn.GroupNorm(math.gcd(32, width), width, eps=1e-6)
        self.enter = nn.Linear(width, width)
        self.attentions = nn.ModuleList(MotionAttention(width, num_heads, positions) for _ in range(2))
        self.last_norm, self.feed_forward = nn.LayerNorm(width), GatedFeedForward(width)
        self.leave = nn.Linear(width, width)
        self.start_as_nothing()

    def start_as_nothing(self) -> None:
        """Set the last projection to zero."""
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Add motion to the tokens of clips, (B, F, N, D)."""
        return x + self.motion(x)

    def motion(self, x: Tensor, num_images: int = 0, apart: Tensor | None = None) -> Tensor:
        """What is added to (B, F + K, N, D); images, and frames of clips `apart` (B,), see themselves alone."""
        normed = self.norm(x.flatten(0, 1).transpose(1, 2)).transpose(1, 2).unflatten(0, x.shape[:2])
        tubes = self.enter(normed).transpose(1, 2)  # (B, N, F + K, D)
        for attention in self.attentions:
            tubes = tubes + attention(tubes, num_images, apart)
        tubes = tubes + self.feed_forward(self.last_norm(tubes))
        return self.leave(tubes).transpose(1, 2)

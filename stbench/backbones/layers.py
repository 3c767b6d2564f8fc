"""Parts that several backbones share: position tables, embeddings of timestep, class and context, rotary positions.

Position tables follow the authors' code of DiT (arXiv 2212.09748): w first in the 2D table, each half [sin | cos].
Timestep sinusoids differ between families in two ways, which are arguments of `timestep_sinusoid`.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stbench.backbones.base import Conditioning
from stbench.errors import StbenchError


def sincos_table(positions: Tensor, dim: int) -> Tensor:
    """Sinusoidal position table [sin | cos] with frequencies 10000^(-i / (dim/2)).

    Args:
        positions: (N,) positions.
        dim: even width of the table.

    Returns:
        (N, dim), float32, computed in float64.
    """
    omega = 10000.0 ** (-torch.arange(dim // 2, dtype=torch.float64) / (dim / 2))
    angles = positions.double()[:, None] * omega
    return torch.cat([angles.sin(), angles.cos()], dim=1).float()


def sincos_table_2d(grid_size: int, dim: int) -> Tensor:
    """2D position table of a square grid in row-major order: the first half encodes the column, the second the row.

    Returns:
        (grid_size**2, dim), float32
    """
    line = torch.arange(grid_size)
    rows, columns = line.repeat_interleave(grid_size), line.repeat(grid_size)
    return torch.cat([sincos_table(columns, dim // 2), sincos_table(rows, dim // 2)], dim=1)


def timestep_sinusoid(timesteps: Tensor, dim: int, *, cos_first: bool, inclusive: bool) -> Tensor:
    """Sinusoids of timesteps whose frequencies fall geometrically from 1 towards 1/10000.

    Args:
        timesteps: (B,), integer or fractional.
        dim: even width.
        cos_first: [cos | sin], or else [sin | cos].
        inclusive: the last frequency is 1/10000 itself: exp(-ln(10000) i / (dim/2 - 1)); or else one step more would
            reach it: exp(-ln(10000) i / (dim/2)).

    Returns:
        (B, dim), float32
    """
    half = dim // 2
    steps = torch.arange(half, device=timesteps.device, dtype=torch.float32)
    frequencies = torch.exp(-math.log(10000) * steps / (half - 1 if inclusive else half))
    angles = timesteps[:, None].float() * frequencies
    waves = [angles.cos(), angles.sin()] if cos_first else [angles.sin(), angles.cos()]
    return torch.cat(waves, dim=1)


def apply_rotary(x: Tensor, positions: Tensor) -> Tensor:
    """Rotate pairs of channels by an angle proportional to the position (RoPE, arXiv 2104.09864, section 3.2.2).

    Args:
        x: queries or keys (..., N, E) with even E; channel i is paired with channel i + E/2.
        positions: (N,)

    Returns:
        (..., N, E)
    """
    half = x.shape[-1] // 2
    omega = 10000.0 ** (-torch.arange(half, device=x.device, dtype=torch.float32) / half)
    angles = positions[:, None].float() * omega
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    first, second = x.split(half, dim=-1)
    return torch.cat([first * cos - second * sin, first * sin + second * cos], dim=-1)


class Rotary(nn.Module):
    """Rotary positions (RoPE, arXiv 2104.09864) of adjacent pairs among the first channels of a head.

    One module serves all attentions of a network. Its table is in the state dict, as in published files.

    Args:
        num_channels: how many channels are rotated; even.
    """

    frequencies: Tensor

    def __init__(self, num_channels: int) -> None:
        super().__init__()
        self.register_buffer("frequencies", 10000.0 ** (-torch.arange(0, num_channels, 2) / num_channels))

    def forward(self, x: Tensor) -> Tensor:
        """Rotate queries or keys (..., N, head_dim) by their index."""
        angles = torch.arange(x.shape[-2], device=x.device)[:, None] * self.frequencies
        cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
        rotated, rest = x.split([2 * len(self.frequencies), x.shape[-1] - 2 * len(self.frequencies)], dim=-1)
        even, odd = rotated.unflatten(-1, (-1, 2)).unbind(-1)
        pairs = torch.stack([even * cos - odd * sin, odd * cos + even * sin], dim=-1)
        return torch.cat([pairs.flatten(-2), rest], dim=-1)


def spread_over_frames(rows: Tensor, num_frames: int, num_images: int) -> Tensor:
    """Lay out one row per clip and one per appended image over the frames, as views where possible.

    Args:
        rows: (B, 1 + K, ...), the clip's row first.
        num_frames: frames of the clip.
        num_images: K.

    Returns:
        (B, 1, ...) without images, which broadcasts over the frames; (B, F + K, ...) with them.
    """
    if num_images == 0:
        return rows
    clip = rows[:, :1].expand(-1, num_frames, *rows.shape[2:])
    return torch.cat([clip, rows[:, 1:]], dim=1)


class TimestepMlp(nn.Module):
    """Sinusoid of 256 channels through a two-layer SiLU MLP (DiT, section 3.2)."""

    SINUSOID_DIM = 256

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(self.SINUSOID_DIM, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, timesteps: Tensor) -> Tensor:
        """Embed timesteps (B,) as (B, D)."""
        sinusoid = timestep_sinusoid(timesteps, self.SINUSOID_DIM, cos_first=True, inclusive=False)
        return self.mlp(sinusoid)


class ClassEmbedding(nn.Embedding):
    """One learned vector for each class, and a last one for the null class of guidance."""

    def __init__(self, num_classes: int, width: int) -> None:
        super().__init__(num_classes + 1, width)

    def forward(self, input: Tensor) -> Tensor:
        """Embed labels of any shape (...) as (..., D).

        Raises:
            StbenchError: for a label that is no class, on a CPU; a GPU is not waited for, and fails by itself.
        """
        try:
            return super().forward(input)
        except IndexError as error:
            got, null_class = f"{input.min().item()} to {input.max().item()}", self.num_embeddings - 1
            raise StbenchError(f"class labels from {got}: expected 0 to {null_class}, the null class") from error


class ContextTokens(nn.Module):
    """What cross-attention reads: the tokens of `conditioning.context`, or else the class as one learned token.

    Without classes nothing is learned, and nobody's context is a token of zeros, as it is in guidance.

    Args:
        width: D of a token.
        num_classes: 0 when unconditional; the label `num_classes` is the null class.
    """

    def __init__(self, width: int, num_classes: int) -> None:
        super().__init__()
        self.width, self.num_classes = width, num_classes
        self.class_embed: nn.Module | None = ClassEmbedding(num_classes, width) if num_classes else None

    def read_classes_as(self, tokens: Tensor) -> None:
        """Let every class be tokens that are known, (num_classes + 1, L, D), instead of one that is learned.

        Raises:
            StbenchError: for tokens of another width, or of other classes.
        """
        if (tokens.shape[0], tokens.shape[2]) != (self.num_classes + 1, self.width):
            expected = f"({self.num_classes + 1}, L, {self.width})"
            raise StbenchError(
                f"the context of classes: expected (classes + 1, L, D) = {expected}, got {tuple(tokens.shape)}"
            )
        self.class_embed = KnownTokens(tokens)

    def forward(self, conditioning: Conditioning, noisy_latents: Tensor) -> Tensor:
        """The tokens (B, L, D) of the clips `noisy_latents` (B, C, F, H, W), on their device.

        Raises:
            StbenchError: for a context of another shape, or without the class labels that stand in for it.
        """
        B, context = len(noisy_latents), conditioning.context
        if context is not None:
            if context.ndim != 3 or (context.shape[0], context.shape[2]) != (B, self.width):
                expected = f"(B, L, D) = ({B}, L, {self.width})"
                raise StbenchError(f"conditioning.context: expected {expected}, got {tuple(context.shape)}")
            return context
        if self.class_embed is None:
            return noisy_latents.new_zeros(B, 1, self.width)
        if conditioning.class_labels is None:
            raise StbenchError("conditioning: expected a context (B, L, D), or class_labels (B,) that stand in for it")
        return self.class_embed(conditioning.class_labels).view(B, -1, self.width)


class KnownTokens(nn.Module):
    """Tokens of classes that nobody learns: (num_classes + 1, L, D), the null class's last."""

    tokens: Tensor

    def __init__(self, tokens: Tensor) -> None:
        super().__init__()
        self.register_buffer("tokens", tokens, persistent=False)  # of an encoder, which has them again

    def forward(self, labels: Tensor) -> Tensor:
        """The tokens (B, L, D) of labels (B,)."""
        return self.tokens[labels]


def read_classes_as(backbone: nn.Module, tokens: Tensor) -> None:
    """Let a network read every class as known tokens (num_classes + 1, L, D).

    Raises:
        StbenchError: it reads no context, or one of another width.
    """
    for reader in _context_readers(backbone):
        reader.read_classes_as(tokens)


def check_context_width(backbone: nn.Module, width: int) -> None:
    """Refuse a network that reads no context of this width.

    Raises:
        StbenchError: naming both widths.
    """
    for reader in _context_readers(backbone):
        if reader.width != width:
            name = type(backbone).__name__
            raise StbenchError(f"{name} reads tokens of {reader.width} channels: the context's have {width}")


def _context_readers(backbone: nn.Module) -> list[ContextTokens]:
    readers = [module for module in backbone.modules() if isinstance(module, ContextTokens)]
    if not readers:
        raise StbenchError(f"{type(backbone).__name__} reads no context: set context.name=class")
    return readers


class Mlp(nn.Sequential):
    """Linear, tanh-approximated GELU, Linear: the position-wise part of a transformer block."""

    def __init__(self, width: int, hidden_width: int) -> None:
        super().__init__(nn.Linear(width, hidden_width), nn.GELU(approximate="tanh"), nn.Linear(hidden_width, width))
        self.hidden_width = hidden_width


class RMSNorm(nn.RMSNorm):
    """x / rms(x) * weight over the channels (arXiv 1910.07467, equation 4).

    The re-implementation limits the norm of x to at least 1e-12. The square of that under the root is the same wherever
    x is larger, and only guards a pixel whose channels are all zero.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=1e-24)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (..., C). The weight follows x, since torch's fused kernel wants one precision."""
        return F.rms_norm(x, self.normalized_shape, self.weight.to(x.dtype), self.eps)


class GatedFeedForward(nn.Module):
    """GEGLU: half of the hidden channels gate the others (arXiv 2002.05202)."""

    RATIO = 4  # of the hidden width to that of the tokens

    def __init__(self, width: int) -> None:
        super().__init__()
        self.enter = nn.Linear(width, 2 * self.RATIO * width)
        self.leave = nn.Linear(self.RATIO * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Apply to tokens (..., D)."""
        x, gate = self.enter(x).chunk(2, dim=-1)
        return self.leave(x * F.gelu(gate))


class PerFrame(nn.Sequential):
    """Image modules applied to every frame of (B, F, H, W, C)."""

    def forward(self, x: Tensor) -> Tensor:
        """Fold the frames into the batch, apply, unfold: (B, F, H', W', C')."""
        images = x.flatten(0, 1).permute(0, 3, 1, 2)  # (B F, C, H, W), channels last in memory
        return super().forward(images).permute(0, 2, 3, 1).unflatten(0, x.shape[:2])

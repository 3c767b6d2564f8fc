"""Embeddings of frames and of names that need no weights: what stands in for CLIP's two encoders (arXiv 2103.00020).

Both are fixed by seeds. A frame's is a projection of it, made small and less its mean colour, so that frames that look
alike have embeddings that do. A name's says which name it is, and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stbench.runtime.seeds import generator

DIM = 64  # D, of both
SIDE = 8  # height and width of a frame as it is looked at, in pixels
LEAST_CONTRAST = 1e-3  # length of a projection; below it there is but rounding
SEED = 0
CPU = torch.device("cpu")


class FrameEmbedding(nn.Module):
    """Frames to unit vectors; of one colour all over there is none, but zeros.

    Attributes:
        weights_sha256: None, as there are no weights.
    """

    projection: Tensor
    weights_sha256: str | None = None

    def __init__(self) -> None:
        super().__init__()
        drawn = torch.randn(3 * SIDE * SIDE, DIM, generator=generator(CPU, SEED, "frames"))
        self.register_buffer("projection", drawn, persistent=False)

    @torch.no_grad()
    def forward(self, frames: Tensor) -> Tensor:
        """Embed frames (N, 3, H, W) as (N, D)."""
        small = F.adaptive_avg_pool2d(frames, SIDE)
        contrast = small - small.mean(dim=(2, 3), keepdim=True)
        return F.normalize(contrast.flatten(1) @ self.projection, dim=1, eps=LEAST_CONTRAST)


class NameEmbedding(nn.Module):
    """Texts to unit vectors, each drawn by its text, as the one token of a context.

    Attributes:
        weights_sha256: None, as there are no weights.
    """

    weights_sha256: str | None = None

    def forward(self, texts: Sequence[str]) -> Tensor:
        """Embed texts as (N, 1, D)."""
        drawn = [torch.randn(DIM, generator=generator(CPU, SEED, "name", text.encode().hex())) for text in texts]
        return F.normalize(torch.stack(drawn), dim=1)[:, None]

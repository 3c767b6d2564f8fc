"""Exponential moving average of the weights: ema <- decay * ema + (1 - decay) * weights, after every step.

The average is what is sampled from and evaluated (DDPM, arXiv 2006.11239, appendix B; DiT and Latte use decay 0.9999).
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn


class Ema:
    """The averaged copy of a backbone, in evaluation mode, ready to be called.

    Args:
        backbone: what is averaged; the average starts from its present weights.
        decay: in [0, 1].
    """

    def __init__(self, backbone: nn.Module, decay: float) -> None:
        self.decay = decay
        self.module = copy.deepcopy(backbone).eval().requires_grad_(False)
        self._averages: list[Tensor] = list(self.module.parameters())

    @torch.no_grad()
    def update(self, backbone: nn.Module) -> None:
        """Move the average towards the present weights of `backbone`."""
        torch._foreach_lerp_(self._averages, [p.detach() for p in backbone.parameters()], 1 - self.decay)

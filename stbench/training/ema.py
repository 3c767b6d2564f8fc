"""Exponential moving average of the weights: ema <- decay * ema + (1 - decay) * weights, after every step.

The average is what is sampled from and evaluated (DDPM, arXiv 2006.11239, appendix B; DiT and Latte use decay 0.9999).
"""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


class Ema:
    """The averaged copy of a backbone, in evaluation mode, ready to be called.

    `torch.optim.swa_utils.AveragedModel` averages buffers too, which integers (a batch norm's count) do not allow, and
    keeps the network under names of its own; its formula is used here. Parameters that are not trained are the
    backbone's own, as their average is what they are.

    Args:
        backbone: what is averaged; the average starts from its present weights.
        decay: in [0, 1].
    """

    def __init__(self, backbone: nn.Module, decay: float) -> None:
        shared = {id(parameter): parameter for parameter in backbone.parameters() if not parameter.requires_grad}
        self.module = copy.deepcopy(backbone, shared).eval().requires_grad_(False)
        own = zip(self.module.parameters(), backbone.parameters(), strict=True)
        self._averages = [average for average, parameter in own if parameter.requires_grad]
        self._move = get_ema_multi_avg_fn(decay)

    @torch.no_grad()
    def update(self, backbone: nn.Module) -> None:
        """Move the average towards the present weights of `backbone`, and copy its buffers (running statistics)."""
        self._move(self._averages, [each.detach() for each in backbone.parameters() if each.requires_grad], 0)
        for buffer, present in zip(self.module.buffers(), backbone.buffers(), strict=True):
            buffer.copy_(present)

"""From clips in [-1, 1] to the size and range of a detector's input, by a rule of the catalogue."""

from __future__ import annotations

import torch.nn.functional as functional
from torch import Tensor

from stbench.metrics.catalogue import Preprocessing


def preprocess(clips: Tensor, rule: Preprocessing) -> Tensor:
    """Resize and crop every frame of clips (N, C, F, H, W) and scale the values; returns (N, C, F, size, size)."""
    N, _, F, H, W = clips.shape
    frames = clips.transpose(1, 2).flatten(0, 1)
    height, width = _scaled_size(H, W, rule)
    frames = functional.interpolate(
        frames, (height, width), mode="bilinear", align_corners=False, antialias=rule.antialias
    )
    top, left = (height - rule.size) // 2, (width - rule.size) // 2
    frames = frames[:, :, top : top + rule.size, left : left + rule.size] * rule.scale
    return frames.unflatten(0, (N, F)).transpose(1, 2)


def _scaled_size(H: int, W: int, rule: Preprocessing) -> tuple[int, int]:
    if not rule.crop:
        return rule.size, rule.size
    short = min(H, W)
    # The long side is rounded up, in integers: floating point would make 225 of an exact 224.
    return -(-H * rule.size // short), -(-W * rule.size // short)

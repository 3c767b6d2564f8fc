"""From clips in [-1, 1] to the size and range of a detector's input, by a rule of the catalogue."""

from __future__ import annotations

import torch
import torch.nn.functional as functional
from torch import Tensor

from stbench.data.spatial import scaled_down, scaled_up
from stbench.metrics.catalogue import Preprocessing


def preprocess(clips: Tensor, rule: Preprocessing) -> Tensor:
    """Resize and crop every frame of clips (N, C, F, H, W) and map the values; returns (N, C, F, size, size)."""
    N, _, F, H, W = clips.shape
    frames = clips.transpose(1, 2).flatten(0, 1)
    height, width = _scaled(H, W, rule)
    frames = functional.interpolate(
        frames, (height, width), mode=rule.interpolation, align_corners=rule.align_corners, antialias=rule.antialias
    )
    top, left = (height - rule.size) // 2, (width - rule.size) // 2
    frames = frames[:, :, top : top + rule.size, left : left + rule.size]
    scale, shift = (
        torch.tensor(value, dtype=frames.dtype, device=frames.device).reshape(-1, 1, 1)
        for value in (rule.scale, rule.shift)
    )
    return (frames * scale + shift).unflatten(0, (N, F)).transpose(1, 2)


def _scaled(height: int, width: int, rule: Preprocessing) -> tuple[int, int]:
    size = rule.resized or rule.size
    match rule.scaled:
        case "up":
            return scaled_up(height, width, size)
        case "down":
            return scaled_down(height, width, size)
    return size, size

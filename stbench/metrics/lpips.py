"""LPIPS (Zhang et al., arXiv 1801.03924): how far two images are apart for a network, on AlexNet.

torchmetrics brings the learned weights of its layers, AlexNet's own are torchvision's file, which has to be on disk:
where it is not, there is no LPIPS, and nothing is downloaded. torchmetrics' own module would need torchvision itself.
"""

from __future__ import annotations

import os
from importlib.resources import as_file, files
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stbench import paths
from stbench.storage.hashing import file_sha256
from stbench.storage.weights import check_tensors, load_strictly, read_weights_file

VARIABLE = "STBENCH_LPIPS"  # names the file
NAME = "alexnet-owt-7be5be79.pth"  # as torchvision calls it, in the cache of stbench
LEAST_SIZE = 31  # pixels: of smaller images its second pooling leaves nothing
EPSILON = 1e-8  # under the root of a feature's length, as torchmetrics has it
# Of ImageNet's images, in [-1, 1].
MEAN, DEVIATION = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)


class Lpips(nn.Module):
    """The distance of images: of their unit features after each rectifier, squared, weighted, and averaged over places.

    Args:
        weights: torchvision's file of AlexNet.

    Raises:
        StbenchError: the file is none, or holds another network.
    """

    def __init__(self, weights: Path) -> None:
        super().__init__()
        state = check_tensors(read_weights_file(weights), weights)
        self.weights_sha256 = file_sha256(weights)
        self.features = nn.Sequential(
            nn.Conv2d(3, 64, 11, stride=4, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(3, 2),
            nn.Conv2d(64, 192, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(3, 2),
            nn.Conv2d(192, 384, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(384, 256, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(256, 256, 3, padding=1),
            nn.ReLU(),
        )
        own = {name.removeprefix("features."): each for name, each in state.items() if name.startswith("features.")}
        load_strictly(self.features, own, weights)
        with as_file(files("torchmetrics.functional.image") / "lpips_models" / "alex.pth") as path:
            learned = check_tensors(read_weights_file(path), path)
        self.weightings = [learned[f"lin{level}.model.1.weight"].flatten() for level in range(5)]
        self.requires_grad_(False).eval()

    @torch.no_grad()
    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """The distances (N,) of images (N, 3, H, W) in [-1, 1], of at least `LEAST_SIZE`."""
        mean, deviation = (first.new_tensor(each)[:, None, None] for each in (MEAN, DEVIATION))
        a, b = (first - mean) / deviation, (second - mean) / deviation
        total, levels = first.new_zeros(len(first)), iter(self.weightings)
        for layer in self.features:
            a, b = layer(a), layer(b)
            if isinstance(layer, nn.ReLU):
                squares = (_unit(a) - _unit(b)).square()  # (N, C, H', W')
                total = total + F.conv2d(squares, next(levels)[None, :, None, None].to(squares)).mean(dim=(1, 2, 3))
        return total


def find_lpips() -> Lpips | None:
    """LPIPS where its weights are on disk, None elsewhere.

    Raises:
        StbenchError: `STBENCH_LPIPS` names no such file.
    """
    named = os.environ.get(VARIABLE)
    path = Path(named).expanduser() if named else paths.user_cache() / NAME
    return Lpips(path) if named or path.is_file() else None


def _unit(features: Tensor) -> Tensor:
    """Features (N, C, H, W) of length 1 at every place."""
    return features / (EPSILON + features.square().sum(dim=1, keepdim=True)).sqrt()

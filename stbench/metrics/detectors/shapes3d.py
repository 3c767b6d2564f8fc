"""The detector that comes with stbench: a small 3-D convolutional network trained on synthetic clips.

It tells the synthetic data sets' motions and looks apart, so its Fréchet distance rises with damage to frames and to
their order, in seconds on a CPU and with nothing to download. Its numbers are comparable within stbench only.
`train_shapes3d` made the weights, and `train_motion_head` the classifier of motions on its features.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as functional
from numpy.typing import NDArray
from torch import Tensor, nn

from stbench.data.synthetic.motions import MOTIONS
from stbench.metrics.catalogue import DETECTORS
from stbench.metrics.detectors.base import CatalogueDetector
from stbench.metrics.detectors.preprocessing import preprocess
from stbench.storage.hashing import file_sha256
from stbench.storage.weights import check_tensors, load_strictly, read_weights_file

BUILTIN_WEIGHTS = Path(__file__).with_name("shapes3d.safetensors")
MOTION_HEAD = Path(__file__).with_name("shapes3d_motions.safetensors")
CLASSES = (*MOTIONS, "clouds")


class Shapes3DDetector(CatalogueDetector):
    """Features (N, 64) of clips of any size with at least 4 frames.

    Args:
        weights: of another training run; those that ship with stbench when None.
        preprocessing: "resize32".
    """

    name = "shapes3d"
    feature_dim = 64
    min_frames = DETECTORS["shapes3d"].min_frames

    def __init__(self, weights: str | Path | None = None, preprocessing: str | None = None) -> None:
        super().__init__(weights or BUILTIN_WEIGHTS, preprocessing)

    def load(self, path: Path) -> None:
        """Read the network's file."""
        self.network = Shapes3D()
        load_strictly(self.network, check_tensors(read_weights_file(path), path), path)
        self.weights_sha256 = file_sha256(path)
        if self.weights_sha256 == file_sha256(BUILTIN_WEIGHTS):  # the classifier knows no other features
            self.class_names = CLASSES

    def class_scores(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the logits (N, 9) of the classes of features (N, 64)."""
        head = nn.Linear(self.feature_dim, len(CLASSES))
        load_strictly(head, check_tensors(read_weights_file(MOTION_HEAD), MOTION_HEAD), MOTION_HEAD)
        with torch.no_grad():
            return head(torch.from_numpy(features)).numpy()

    def compute_features(self, clips: Tensor) -> Tensor:
        """Resize the frames to 32 x 32 and return the pooled features (N, 64)."""
        return self.network(preprocess(clips, self.rule))


class Shapes3D(nn.Module):
    """Four 3-D convolutions, then the average over time and space: (N, 3, F, 32, 32) to (N, 64)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvUnit(3, 16, stride=(1, 2, 2))
        self.stage1 = ConvUnit(16, 32, stride=(1, 2, 2))
        self.stage2 = ConvUnit(32, 48, stride=(2, 2, 2))
        self.stage3 = ConvUnit(48, Shapes3DDetector.feature_dim, stride=(1, 1, 1))

    def forward(self, clips: Tensor) -> Tensor:
        """Return the features of clips at the network's own resolution."""
        x = self.stem(clips)  # (N, 16, F, 16, 16)
        x = self.stage1(x)  # (N, 32, F, 8, 8)
        x = self.stage2(x)  # (N, 48, F/2, 4, 4)
        x = self.stage3(x)  # (N, 64, F/2, 4, 4)
        return x.mean(dim=(2, 3, 4))


class ConvUnit(nn.Module):
    """3 x 3 x 3 convolution, batch norm, ReLU."""

    def __init__(self, in_channels: int, out_channels: int, stride: tuple[int, int, int]) -> None:
        super().__init__()
        self.conv = nn.Conv3d(in_channels, out_channels, kernel_size=3, stride=stride, padding=1, bias=False)
        self.norm = nn.BatchNorm3d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, F, H, W) to (N, C', F, H, W), each divided by the stride, rounded up."""
        return functional.relu(self.norm(self.conv(x)))

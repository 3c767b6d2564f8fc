"""C3D finetuned on UCF101, the classifier of the Inception Score of UCF101: Tran et al. 2015 (arXiv 1412.0767).

The network and its input follow the chainer code of TGAN (Saito et al. 2017, arXiv 1611.06624) and TGANv2 (arXiv
1811.09245), which was read: BGR pixels in 0..255 minus a mean clip, eight convolutions, five poolings whose windows may
reach beyond the end (PyTorch ports that pad pool5 on both sides move its windows and compute something else), three
linear layers. `conv3d_deepnetA_ucf.npz` and `mean2.npz` of TGANv2's release are loaded as they are; a state dict with
the names conv1a.weight ... fc8.bias and the mean clip under `mean` is accepted, too. The published files were not at
hand: names and shapes come from the code, and tests have random weights.
"""

from __future__ import annotations

from pathlib import Path

import torch.nn.functional as functional
from torch import Tensor, nn

from stbench.errors import StbenchError
from stbench.metrics.catalogue import DETECTORS
from stbench.metrics.detector_weights import is_torchscript
from stbench.metrics.detectors.base import CatalogueDetector, combined_sha256
from stbench.metrics.detectors.preprocessing import preprocess
from stbench.storage.weights import check_tensors, load_strictly, read_weights_file

# In the order of UCF101's classInd.txt, which the fine-tuning is taken to have kept: real clips show whether it has.
CLASSES = tuple(Path(__file__).with_name("ucf101_classes.txt").read_text(encoding="utf-8").split())
NUM_CLASSES = len(CLASSES)
MEAN_FILE = "mean2.npz"
MEAN_SHAPE = (3, 16, 128, 171)
_SIZE = 112
# Upper left corner of the frames in the mean clip: TGAN crops its width to 128 from 21, then both crop 112 from 8.
_MEAN_CORNERS = {"tgan2": (8, 8), "tgan": (8, 21 + 8)}

# Output channels of the convolutions, and the pooling window (F, H, W) that follows some of them; the paper's figure 3.
_CONVOLUTIONS = {
    "conv1a": 64,
    "conv2a": 128,
    "conv3a": 256,
    "conv3b": 256,
    "conv4a": 512,
    "conv4b": 512,
    "conv5a": 512,
    "conv5b": 512,
}
_POOLS = {"conv1a": (1, 2, 2), "conv2a": (2, 2, 2), "conv3b": (2, 2, 2), "conv4b": (2, 2, 2), "conv5b": (2, 2, 2)}
_HIDDEN = 4096


class C3DDetector(CatalogueDetector):
    """Features (N, 101): logits of UCF101's classes, for clips of exactly 16 frames; see `inception_score`.

    Args:
        weights: TGANv2's `.npz` with `mean2.npz` beside it, or a state dict; found as the catalogue says when None.
        preprocessing: "tgan2" or "tgan".
    """

    name = "c3d"
    feature_dim = NUM_CLASSES
    class_names = CLASSES
    min_frames = max_frames = DETECTORS["c3d"].min_frames
    mean: Tensor

    def load(self, path: Path) -> None:
        """Read the network and the mean clip, which may be in a file beside it."""
        if path.suffix != ".npz" and is_torchscript(path):
            source = DETECTORS["c3d"].weights_source
            raise StbenchError(f"{path}: TorchScript, whose input and output nobody checked; c3d needs {source}")
        # Chainer writes conv1a/W for conv1a.weight.
        content = check_tensors(read_weights_file(path), path)
        state = {key.replace("/W", ".weight").replace("/b", ".bias"): value.float() for key, value in content.items()}
        mean_path = path
        if "mean" not in state:  # it lies in a file beside the weights
            mean_path = path.with_name(MEAN_FILE)
            if not mean_path.is_file():
                raise StbenchError(
                    f"c3d: the weights hold no mean clip: {MEAN_FILE} of the same release must lie beside them, "
                    f"as {mean_path}"
                )
            beside = check_tensors(read_weights_file(mean_path), mean_path)
            if "mean" not in beside:
                raise StbenchError(f"{mean_path}: expected an array named mean, got {', '.join(beside) or 'none'}")
            state["mean"] = beside["mean"]
        mean = state.pop("mean")
        shape = tuple(mean.shape)
        if shape not in (MEAN_SHAPE, (1, *MEAN_SHAPE)):
            raise StbenchError(f"{mean_path}: expected a mean clip of shape {MEAN_SHAPE}, got {shape}")
        mean = mean.reshape(MEAN_SHAPE).float()
        top, left = _MEAN_CORNERS[self.preprocessing]
        self.register_buffer("mean", mean[:, :, top : top + _SIZE, left : left + _SIZE].clone())
        self.network = C3D()
        load_strictly(self.network, state, path)
        self.weights_sha256 = combined_sha256(dict.fromkeys([path, mean_path]))

    def compute_features(self, clips: Tensor) -> Tensor:
        """Resize and crop to 112 x 112, subtract the mean clip, and return the logits (N, 101)."""
        pixels = preprocess(clips, self.rule)  # (N, 3, 16, 112, 112), RGB in 0..255
        return self.network(pixels.flip(1) - self.mean)


class C3D(nn.Module):
    """Eight 3 x 3 x 3 convolutions, five max poolings, three linear layers: (N, 3, 16, 112, 112) to logits (N, 101)."""

    def __init__(self) -> None:
        super().__init__()
        width = 3
        for name, channels in _CONVOLUTIONS.items():
            self.add_module(name, nn.Conv3d(width, channels, kernel_size=3, padding=1))
            width = channels
        self.fc6 = nn.Linear(width * 4 * 4, _HIDDEN)
        self.fc7 = nn.Linear(_HIDDEN, _HIDDEN)
        self.fc8 = nn.Linear(_HIDDEN, NUM_CLASSES)

    def forward(self, clips: Tensor) -> Tensor:
        """Return the logits of clips that are ready; the dropout of training is left out."""
        x = clips
        for name in _CONVOLUTIONS:
            x = functional.relu(self.get_submodule(name)(x))
            if name in _POOLS:
                # Caffe and chainer round up: 7 pixels become 4, the last window holding one of them.
                x = functional.max_pool3d(x, _POOLS[name], ceil_mode=True)
        x = functional.relu(self.fc6(x.flatten(1)))  # (N, 512, 1, 4, 4) to (N, 4096)
        return self.fc8(functional.relu(self.fc7(x)))

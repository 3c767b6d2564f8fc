"""I3D, the detector of FVD (Unterthiner et al. 2018, arXiv 1812.01717): the logits of Kinetics-400, averaged over time.

They are not flattened, which would make the width depend on the number of frames. A state dict is loaded into the
network of `i3d_network` and folded (`i3d_folded`), which changes the features by rounding only; the TorchScript file of
StyleGAN-V is taken as it is.
"""

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path

import torch
from torch import Tensor, nn

from stbench.errors import StbenchError, first_line
from stbench.metrics.catalogue import DETECTORS
from stbench.metrics.detector_weights import is_torchscript
from stbench.metrics.detectors.base import CatalogueDetector
from stbench.metrics.detectors.i3d_folded import fold
from stbench.metrics.detectors.i3d_network import I3D, NUM_CLASSES
from stbench.metrics.detectors.preprocessing import preprocess
from stbench.storage.hashing import file_sha256
from stbench.storage.weights import check_tensors, load_strictly, read_weights_file

# A TorchScript file is a program, which can read and write files: only this one is run, the i3d_torchscript.pt of
# StyleGAN-V's release (51,235,320 bytes), or the one whose SHA-256 the user has put into `TRUST_VARIABLE`.
STYLEGANV_SHA256 = "bec6519f66ea534e953026b4ae2c65553c17bf105611c746d904657e5860a5e2"
TRUST_VARIABLE = "STBENCH_TRUSTED_TORCHSCRIPT"

# How StyleGAN-V calls its file; it is given clips that are ready, and asked for the logits.
_TORCHSCRIPT_ARGUMENTS = {"rescale": False, "resize": False, "return_features": True}


class I3DDetector(CatalogueDetector):
    """Features (N, 400): the logits of I3D, averaged over time.

    Args:
        weights: a state dict (`.pt`, `.safetensors`) or StyleGAN-V's TorchScript file; found as the catalogue says when
            None.
        preprocessing: "styleganv", "videogpt", "videogpt-2021-06-02" or "cdfvd".
    """

    name = "i3d"
    feature_dim = NUM_CLASSES
    min_frames = DETECTORS["i3d"].min_frames

    def load(self, path: Path) -> None:
        """Read a state dict, and fold it, or StyleGAN-V's TorchScript."""
        self.weights_sha256 = file_sha256(path)
        network = load_network(path)
        self.network = fold(network) if isinstance(network, I3D) else network

    def compute_features(self, clips: Tensor) -> Tensor:
        """Resize, crop and rescale the clips, then return the logits (N, 400)."""
        inputs = preprocess(clips, self.rule)
        if isinstance(self.network, torch.jit.ScriptModule):
            return self.network(inputs, **_TORCHSCRIPT_ARGUMENTS)
        return self.network(inputs)


def load_network(path: Path) -> nn.Module:
    """Return the plain `I3D` with the weights of a state dict, or the network that a TorchScript file holds.

    Raises:
        StbenchError: weights of another network, or a TorchScript that is not known and not trusted.
    """
    if is_torchscript(path):
        return _load_torchscript(path)
    network = I3D()
    state = check_tensors(read_weights_file(path), path)
    # The counters do not matter in evaluation mode, and the conversion from TensorFlow has none.
    load_strictly(network, state, path, optional=("num_batches_tracked",))
    return network


def _load_torchscript(path: Path) -> nn.Module:
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if digest not in (STYLEGANV_SHA256, os.environ.get(TRUST_VARIABLE)):
        raise StbenchError(
            f"{path}: TorchScript is code, and this is not the file of StyleGAN-V's release, whose SHA-256 begins with "
            f"{STYLEGANV_SHA256[:12]}: where you trust it, set {TRUST_VARIABLE}={digest}"
        )
    try:
        script = torch.jit.load(io.BytesIO(content), map_location="cpu")
    except RuntimeError as error:
        raise StbenchError(f"{path}: a damaged TorchScript file: {first_line(error)}") from error
    arguments = [argument.name for argument in script.forward.schema.arguments]
    missing = [name for name in _TORCHSCRIPT_ARGUMENTS if name not in arguments]
    if missing:
        raise StbenchError(
            f"{path}: TorchScript of another network: its forward takes {', '.join(arguments[1:])}; "
            f"StyleGAN-V's I3D takes {', '.join(_TORCHSCRIPT_ARGUMENTS)}, too"
        )
    return script

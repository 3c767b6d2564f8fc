"""Where training starts: `train.init`, a published file, a run, or an image model."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from stbench.backbones.published import choose_weights, load_published
from stbench.errors import StbenchError
from stbench.storage.weights import check_tensors, load_strictly, read_weights_file
from stbench.training.checkpoint import list_checkpoints, read_ema_weights


def initialise_from(backbone: nn.Module, source: str) -> str:
    """Start a backbone from `train.init`.

    Args:
        backbone: changed in place.
        source: a run's folder, a checkpoint of a run, or a published file; an image model's weights go into the spatial
            blocks of a video model.

    Returns:
        What was loaded, in one line.

    Raises:
        StbenchError: when there is nothing to load or it does not fit.
    """
    path = Path(source).expanduser()
    state = read_any_weights(path)
    layout = getattr(backbone, "published_layout", None)
    if layout and layout.is_image_model(state, backbone):
        layout.load_image_model(backbone, state, path)
        return f"image model {path} into the spatial blocks"
    if layout and layout.is_published(state):
        load_published(backbone, state)
        return f"published weights {path}"
    load_strictly(backbone, state, path)
    return f"averaged weights of {path}"


def read_any_weights(source: Path) -> dict[str, Tensor]:
    """The weights of a run's folder or checkpoint (the averaged ones), or of a published file."""
    path = weights_file(source)
    if path.suffix == ".safetensors" and path.name.startswith("step-"):
        return read_ema_weights(path)
    return check_tensors(choose_weights(read_weights_file(path), "ema", path), path)


def weights_file(source: Path | str) -> Path:
    """The file that weights are read from: of a run's folder its newest checkpoint.

    Raises:
        StbenchError: it does not exist.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        checkpoints = list_checkpoints(path / "checkpoints")
        if not checkpoints:
            raise StbenchError(f"{path} holds no checkpoints: expected a run's folder")
        return checkpoints[-1]
    if not path.is_file():
        raise StbenchError(f"weights file {path} does not exist")
    return path

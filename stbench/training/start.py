"""Where training starts: `train.init`, a published file, a run, or an image model."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from stbench.backbones.published import choose_weights, load_published
from stbench.errors import StbenchError
from stbench.storage.weights import check_tensors, load_strictly, read_weights_file
from stbench.tasks.concat import WithConcat
from stbench.training.checkpoint import list_checkpoints, read_ema_weights

# Arguments whose names hold one of these words change how a network is trained, not what it computes afterwards.
_OF_TRAINING = ("drop", "checkpoint")


def initialise_from(backbone: nn.Module, source: str, architecture: Mapping[str, Any]) -> str:
    """Put trained weights into a backbone.

    Args:
        backbone: changed in place.
        source: a run's folder, a checkpoint of a run, or a published file; an image model's weights go into the spatial
            blocks of a video model, those of `task=generate` into a network to which part of a clip is given.
        architecture: what the backbone is: the import path of its class as "backbone", and its "arguments".

    Returns:
        What was loaded, in one line.

    Raises:
        StbenchError: when there is nothing to load, it does not fit, or it is another network's of equal shapes.
    """
    path = Path(source).expanduser()
    state, trained = read_any_weights(path)
    network = backbone.backbone if isinstance(backbone, WithConcat) else backbone
    defaults = {name: each.default for name, each in inspect.signature(type(network)).parameters.items()}
    if isinstance(backbone, WithConcat) and trained and "task" not in trained["arguments"]:
        _refuse_other_network(path, trained, architecture, defaults, but_for=("task",))
        backbone.start_from(state, path)
        return f"averaged weights of {path}, which is given nothing"
    layout = getattr(backbone, "published_layout", None)
    if layout and layout.is_image_model(state, backbone):
        _refuse_other_network(path, trained, architecture, defaults, but_for=layout.only_of_video)
        layout.load_image_model(backbone, state, path)
        return f"image model {path} into the spatial blocks"
    if layout and layout.is_published(state):
        load_published(backbone, state)
        return f"published weights {path}"
    _refuse_other_network(path, trained, architecture, defaults)
    load_strictly(backbone, state, path)
    return f"averaged weights of {path}"


def read_any_weights(source: Path) -> tuple[dict[str, Tensor], dict[str, Any] | None]:
    """The weights of a run's folder or checkpoint (the averaged ones), or of a published file.

    Returns:
        The weights, and the architecture that they were trained in, where the file tells.
    """
    path = weights_file(source)
    if path.suffix == ".safetensors" and path.name.startswith("step-"):
        return read_ema_weights(path)
    return check_tensors(choose_weights(read_weights_file(path), "ema", path), path), None


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


def _refuse_other_network(
    path: Path,
    trained: Mapping[str, Any] | None,
    architecture: Mapping[str, Any],
    defaults: Mapping[str, Any],
    but_for: tuple[str, ...] = (),
) -> None:
    """Refuse weights that were trained in another network, which all fit when their shapes are equal.

    Args:
        path: where they lie, for the message.
        trained: the network that they were trained in; None where nobody knows.
        architecture: the network that they are for.
        defaults: of the constructor: what an argument was before there was one.
        but_for: arguments in which the two may differ.
    """
    if trained is None:
        return
    here, usual = json.loads(json.dumps([dict(architecture), dict(defaults)], default=str))  # as a file keeps it
    ours = {"backbone": here["backbone"], **here["arguments"]}
    theirs = {name: usual[name] for name in ours if name in usual}
    theirs |= {"backbone": trained["backbone"], **trained["arguments"]}
    differences = [
        f"{name}={theirs.get(name)} instead of {ours.get(name)}"
        for name in sorted(theirs.keys() | ours.keys())
        if theirs.get(name) != ours.get(name) and name not in but_for and not any(word in name for word in _OF_TRAINING)
    ]
    if differences:
        raise StbenchError(f"{path}: weights of another network: {', '.join(differences)}")

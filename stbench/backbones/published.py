"""Published weights: key maps between the authors' names and ours, strict in both directions.

The maps are built from the network itself, so that "missing" and "left over" are exact. Published files of Latte hold
{'model', 'ema'}; the averaged weights are what the authors evaluate, and what is loaded unless `model` is named.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from stbench.backbones.latte.network import Latte
from stbench.errors import StbenchError
from stbench.storage.weights import check_tensors, load_strictly, read_weights_file

# Ours -> the authors', for Latte variant 1 (Vchitect/Latte) and, but for `temporal_table`, DiT (facebookresearch/DiT).
_LATTE_NAMES = (
    (r"^spatial_table$", "pos_embed"),
    (r"^temporal_table$", "temp_embed"),
    (r"^patch_embed\.", "x_embedder.proj."),
    (r"^timestep_embed\.", "t_embedder."),
    (r"^class_embed\.", "y_embedder.embedding_table."),
    (r"^text_embed\.", "text_embedding_projection."),
    (r"^blocks\.(\d+)\.mixers\.0\.", r"blocks.\1.attn."),
    (r"^blocks\.(\d+)\.mlp\.0\.", r"blocks.\1.mlp.fc1."),
    (r"^blocks\.(\d+)\.mlp\.2\.", r"blocks.\1.mlp.fc2."),
    (r"^blocks\.(\d+)\.modulation\.", r"blocks.\1.adaLN_modulation."),
    (r"^final\.modulation\.", "final_layer.adaLN_modulation."),
    (r"^final\.linear\.", "final_layer.linear."),
)


def published_names(backbone: nn.Module) -> dict[str, str]:
    """Our name of every tensor of `backbone` -> the authors'.

    Raises:
        StbenchError: when the backbone is not one whose weights were published.
    """
    if not isinstance(backbone, Latte) or backbone.arrangement not in ("interleaved", "spatial"):
        kind = getattr(backbone, "arrangement", type(backbone).__name__)
        raise StbenchError(f"no weights of {kind} were published: there are those of Latte's interleaved arrangement "
                           "and of DiT (arrangement=spatial)")  # fmt: skip
    if not backbone.adaptive or backbone.patch[0] != 1:
        raise StbenchError("the published Latte has conditioning=adaln and patch_embedding=uniform: "
                           "other networks have no published weights")  # fmt: skip
    names = {}
    for ours in backbone.state_dict():
        pattern, authors = next(rule for rule in _LATTE_NAMES if re.match(rule[0], ours))
        names[ours] = re.sub(pattern, authors, ours)
    if backbone.arrangement == "spatial":
        del names["temporal_table"]  # DiT has no time
    return names


def to_published(backbone: nn.Module) -> dict[str, Tensor]:
    """The backbone's weights under the authors' names and in their shapes."""
    state = backbone.state_dict()
    return {authors: _to_authors_shape(ours, state[ours]) for ours, authors in published_names(backbone).items()}


def from_published(
    backbone: nn.Module, published: Mapping[str, Tensor], origin: object = "state dict"
) -> dict[str, Tensor]:
    """The authors' weights under our names, ready for `backbone`.

    Raises:
        StbenchError: naming what is missing and what is left over, in the authors' names.
    """
    names = published_names(backbone)
    missing = [authors for authors in names.values() if authors not in published]
    left_over = sorted(published.keys() - set(names.values()))
    groups = {"missing": missing, "left over": left_over}
    faults = [f"{len(found)} {kind} ({', '.join(found[:3])})" for kind, found in groups.items() if found]
    if faults:
        raise StbenchError(f"{origin}: not the published weights of this network: {'; '.join(faults)}")
    ours = {name: _to_our_shape(name, published[authors]) for name, authors in names.items()}
    own = backbone.state_dict()
    return {**{name: own[name] for name in own.keys() - ours.keys()}, **ours}


def load_published(backbone: nn.Module, weights: str | Path | Mapping[str, Any], which: str = "ema") -> nn.Module:
    """Load the authors' checkpoint into a backbone, strictly.

    Args:
        backbone: built with the same sizes.
        weights: a file (safetensors, or PyTorch's without any code in it), or what such a file holds.
        which: "ema" or "model", for a file that holds both.

    Returns:
        The same backbone.

    Raises:
        StbenchError: for a file that cannot be read safely, or weights that do not fit, with their names.
    """
    origin: object = "state dict" if isinstance(weights, Mapping) else weights
    content = weights if isinstance(weights, Mapping) else read_weights_file(Path(weights))
    state = check_tensors(_choose(content, which, origin), origin)
    load_strictly(backbone, from_published(backbone, state, origin), origin)
    return backbone


def load_image_weights(backbone: Latte, image_state: Mapping[str, Tensor], origin: object) -> None:
    """Load an image model into the spatial blocks of a video model; everything temporal stays as it is.

    Args:
        backbone: a Latte whose spatial blocks are as many as the image model's blocks.
        image_state: a DiT's weights, under our names or the authors'.
        origin: where they came from, for messages.

    Raises:
        StbenchError: when the blocks do not match in number or shape, naming them.
    """
    if backbone.arrangement in ("parallel", "sequential"):
        raise StbenchError(f"arrangement={backbone.arrangement} has no purely spatial blocks to load {origin} into: "
                           "image pretraining needs interleaved or late_fusion")  # fmt: skip
    image = _image_model_like(backbone)
    if "pos_embed" in image_state:
        image_state = from_published(image, image_state, origin)
    without_time = {name: tensor for name, tensor in image_state.items() if name != "temporal_table"}
    load_strictly(image, without_time, origin, optional=("temporal_table",))
    spatial = [i for i, block in enumerate(backbone.blocks) if not block.video_only]
    loaded = {}
    for name, tensor in image.state_dict().items():
        if name != "temporal_table":
            loaded[re.sub(r"^blocks\.(\d+)", lambda m: f"blocks.{spatial[int(m[1])]}", name)] = tensor
    load_strictly(backbone, {**backbone.state_dict(), **loaded}, origin)


def _choose(content: Mapping[str, Any], which: str, origin: object) -> Mapping[str, Any]:
    """One of the sets of weights that a file holds."""
    if not any(isinstance(value, Mapping) for value in content.values()):
        return content
    if not isinstance(content.get(which), Mapping):
        sets = ", ".join(str(name) for name, value in content.items() if isinstance(value, Mapping))
        raise StbenchError(f"{origin}: holds no weights {which!r}, but {sets}")
    return content[which]


def _image_model_like(backbone: Latte) -> Latte:
    """An image model of the same width, with one block for each spatial block of `backbone`."""
    spatial = sum(not block.video_only for block in backbone.blocks)
    with torch.device("cpu"):
        return Latte(**{**backbone.arguments, "arrangement": "spatial", "depth": spatial, "num_frames": 1})


def _to_authors_shape(name: str, tensor: Tensor) -> Tensor:
    return tensor.squeeze(2) if name == "patch_embed.weight" else tensor


def _to_our_shape(name: str, tensor: Tensor) -> Tensor:
    return tensor.unsqueeze(2) if name == "patch_embed.weight" and tensor.ndim == 4 else tensor

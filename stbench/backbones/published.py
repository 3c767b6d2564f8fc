"""Published weights: a family's layout maps the authors' names to ours, strictly in both directions.

A family that has published weights gives its class a `published_layout`. The map is built from the network itself, so
that "missing" and "left over" are exact.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from stbench.errors import StbenchError
from stbench.storage.weights import check_tensors, load_strictly, read_weights_file

ONLY_SET = "state_dict"  # as PyTorch Lightning calls the weights in a file


class PublishedLayout(ABC):
    """How the authors of a family name and shape its weights.

    Attributes:
        only_of_video: arguments that an image model of the family has otherwise, or does not need.
        prefix: what stands before the network's names in a published file that holds more than the network.
    """

    only_of_video: tuple[str, ...] = ()
    prefix = ""

    @abstractmethod
    def names(self, backbone: Any) -> dict[str, str]:
        """Our name of every published tensor of `backbone` -> the authors'.

        Raises:
            StbenchError: when no weights of this configuration were published.
        """

    @abstractmethod
    def is_published(self, state: Mapping[str, Tensor]) -> bool:
        """Whether `state` has the authors' names."""

    def to_authors(self, name: str, tensor: Tensor) -> Tensor:
        """The tensor of our `name` in the authors' shape."""
        return tensor

    def to_ours(self, name: str, tensor: Tensor) -> Tensor:
        """The authors' tensor in the shape of our `name`."""
        return tensor

    def is_image_model(self, state: Mapping[str, Tensor], backbone: Any) -> bool:
        """Whether `state` is an image model's that `load_image_model` can load into the video model `backbone`."""
        return False

    def load_image_model(self, backbone: Any, state: Mapping[str, Tensor], origin: object) -> None:
        """Load an image model into the spatial part of a video model; everything temporal stays as it is.

        Args:
            backbone: changed in place.
            state: the image model's weights, under our names or the authors'.
            origin: where they came from, for messages.
        """
        raise StbenchError(f"{type(backbone).__name__} cannot start from an image model such as {origin}")


def published_layout(backbone: nn.Module) -> PublishedLayout:
    """The layout that the backbone's family brings.

    Raises:
        StbenchError: when no weights of the family were published.
    """
    layout = getattr(backbone, "published_layout", None)
    if layout is None:
        raise StbenchError(
            f"no weights of {type(backbone).__name__} were published: there are those of Latte's interleaved "
            "arrangement and of DiT (arrangement=spatial)"
        )
    return layout


def to_published(backbone: nn.Module) -> dict[str, Tensor]:
    """The backbone's weights under the authors' names and in their shapes."""
    layout, state = published_layout(backbone), backbone.state_dict()
    return {authors: layout.to_authors(ours, state[ours]) for ours, authors in layout.names(backbone).items()}


def from_published(
    backbone: nn.Module, published: Mapping[str, Tensor], origin: object = "state dict"
) -> dict[str, Tensor]:
    """The authors' weights under our names, ready for `backbone`.

    Raises:
        StbenchError: naming what is missing and what is left over, in the authors' names.
    """
    layout = published_layout(backbone)
    names = layout.names(backbone)
    published = _without_prefix(published, layout.prefix)
    missing = [authors for authors in names.values() if authors not in published]
    left_over = sorted(published.keys() - set(names.values()))
    groups = {"missing": missing, "left over": left_over}
    faults = [f"{len(found)} {kind} ({', '.join(found[:3])})" for kind, found in groups.items() if found]
    if faults:
        raise StbenchError(f"{origin}: not the published weights of this network: {'; '.join(faults)}")
    ours = {name: layout.to_ours(name, published[authors]) for name, authors in names.items()}
    own = backbone.state_dict()
    return {**{name: own[name] for name in own.keys() - ours.keys()}, **ours}


def _without_prefix(state: Mapping[str, Tensor], prefix: str) -> Mapping[str, Tensor]:
    """The network's part of what a file holds; all of it where nothing has the prefix."""
    part = {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
    return part or state


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
    state = check_tensors(choose_weights(content, which, origin), origin)
    load_strictly(backbone, from_published(backbone, state, origin), origin)
    return backbone


def choose_weights(content: Mapping[str, Any], which: str, origin: object) -> Mapping[str, Any]:
    """One of the sets of weights that a file holds, or the only one.

    Args:
        content: what the file holds.
        which: the set's name.
        origin: the file, for the message.
    """
    if not any(isinstance(value, Mapping) for value in content.values()):
        return content
    if isinstance(content.get(ONLY_SET), Mapping):
        return content[ONLY_SET]
    if not isinstance(content.get(which), Mapping):
        sets = ", ".join(str(name) for name, value in content.items() if isinstance(value, Mapping))
        raise StbenchError(f"{origin}: holds no weights {which!r}, but {sets}")
    return content[which]

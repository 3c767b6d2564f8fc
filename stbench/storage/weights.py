"""Reading weights files: plain tensors only, never code, and a clear word on what is wrong with a file.

A download page saved as `.pt`, a truncated file, a pickle with code in it or another network's weights all end in one
line that names the file.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from stbench.errors import StbenchError, first_line
from stbench.storage.arrays import read_arrays


def read_weights_file(path: Path) -> Mapping[str, Any]:
    """Read a `.safetensors`, `.npz` or PyTorch file: a mapping of names to tensors, or to further such mappings.

    Raises:
        StbenchError: no such file, a web page, a truncated or foreign file, or a pickle that holds more than tensors.
    """
    if not path.is_file():
        raise StbenchError(f"weights file {path} does not exist")
    with path.open("rb") as file:
        start = file.read(256).lstrip().lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise StbenchError(f"{path}: this is a web page, not weights: the download failed; fetch the file again")
    try:
        if path.suffix == ".safetensors":
            loaded = load_file(path)
        elif path.suffix == ".npz":
            return {name: torch.from_numpy(array) for name, array in read_arrays(path).items()}
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # what is odd about a damaged pickle is said below, in one line
                loaded = torch.load(path, map_location="cpu", weights_only=True)
    except StbenchError:
        raise
    except Exception as error:  # on damaged files the unpicklers raise what they please
        reason = first_line(error).split(". ")[0]  # the sentences that follow guess at causes
        raise StbenchError(
            f"{path}: cannot be read as weights ({path.stat().st_size} bytes; truncated or not plain tensors): {reason}"
        ) from error
    if not isinstance(loaded, Mapping):
        raise StbenchError(f"{path}: expected a mapping of names to tensors, got {type(loaded).__name__}")
    return loaded


def check_tensors(content: Mapping[str, Any], origin: object) -> dict[str, Tensor]:
    """Return the content of a weights file when all of it is tensors, or raise the error that names what is not.

    Args:
        content: what was read.
        origin: where it came from, for the message.
    """
    others = [name for name, value in content.items() if not isinstance(value, Tensor)]
    if others:
        kind = type(content[others[0]]).__name__
        raise StbenchError(f"{origin}: expected names and tensors, got {kind} under {others[0]!r}")
    return dict(content)


def load_strictly(
    module: nn.Module, state: Mapping[str, Tensor], origin: object, optional: tuple[str, ...] = ()
) -> None:
    """Copy `state` into `module`; every name and shape must match.

    Args:
        module: the network.
        state: its weights, by the network's own names.
        origin: where they came from, for the message.
        optional: endings of names that may be absent.

    Raises:
        StbenchError: says which names are missing or left over, or have another shape.
    """
    own = module.state_dict()
    missing = [name for name in own if name not in state and not name.endswith(optional or ("\0",))]
    left_over = [name for name in state if name not in own]
    reshaped = [
        f"{name} {tuple(state[name].shape)} instead of {tuple(own[name].shape)}"
        for name in own
        if name in state and own[name].shape != state[name].shape
    ]
    groups = {"missing": missing, "left over": left_over, "of another shape": reshaped}
    faults = [f"{len(names)} {kind} ({', '.join(names[:3])})" for kind, names in groups.items() if names]
    if faults:
        raise StbenchError(f"{origin}: weights of another network: {'; '.join(faults)}")
    module.load_state_dict({**own, **state})

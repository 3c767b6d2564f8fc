"""Where the weights of detectors lie that do not come with stbench."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

from stbench.errors import StbenchError
from stbench.metrics.catalogue import DETECTORS
from stbench.paths import user_cache

_SUFFIXES = (".pt", ".pth", ".safetensors")


def find_weights(detector: str, given: str | Path | None = None) -> Path:
    """Return the weights file of a detector of the catalogue.

    Looked for in this order: `given`, the detector's environment variable, <detector>* in the user's cache of stbench.

    Raises:
        StbenchError: nowhere found (says where to get them), named but missing, or several in the cache folder.
    """
    variable = DETECTORS[detector].weights_variable
    if given is not None:
        return _existing(Path(given), f"{detector}: weights")
    if variable and variable in os.environ:
        return _existing(Path(os.environ[variable]), f"{detector}: environment variable {variable}")
    return _cached(detector)


def is_torchscript(path: Path) -> bool:
    """Whether the file is a TorchScript archive: a zip with a `code/` folder, which plain weights do not have."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any("/code/" in name for name in archive.namelist())


def _existing(path: Path, origin: str) -> Path:
    path = path.expanduser()
    if not path.is_file():
        raise StbenchError(f"{origin} names {path}, which is not a file")
    return path


def _cached(detector: str) -> Path:
    folder, info = user_cache(), DETECTORS[detector]
    cached = sorted(path for path in folder.glob(f"{detector}*") if path.suffix in _SUFFIXES)
    if len(cached) > 1:
        names = ", ".join(path.name for path in cached)
        raise StbenchError(f"{detector}: several weights files in {folder} ({names}): name one, weights=PATH")
    if not cached:
        raise StbenchError(
            f"{detector}: weights not found; get {info.weights_source}, then pass weights=PATH, set "
            f"{info.weights_variable}=PATH, or save it as {folder}/{detector}.pt"
        )
    return cached[0]

"""Where the weights of detectors lie that do not come with stbench. Imports without torch."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

from stbench.errors import StbenchError
from stbench.metrics.catalogue import DETECTORS
from stbench.paths import user_cache

_SUFFIXES = (".pt", ".pth", ".safetensors", ".npz")


def find_weights(detector: str, given: str | Path | None = None) -> Path:
    """Return the weights of a detector of the catalogue: a file, or for `videomae` a file or a folder.

    Looked for in this order: `given`, the detector's environment variable, <detector>* in the user's cache of stbench.

    Raises:
        StbenchError: nowhere found (says where to get them), named but missing, or several in the cache folder.
    """
    info, variable = DETECTORS[detector], DETECTORS[detector].weights_variable
    from_environment = os.environ.get(variable) if variable else None
    for origin, named in (("weights", given), (f"environment variable {variable}", from_environment)):
        if named is not None:
            path = Path(named).expanduser()
            if not path.is_file() and not (path.is_dir() and info.weights_may_be_folder):
                raise StbenchError(f"{detector}: {origin} names {path}, which is not a file")
            return path

    folder = user_cache()
    cached = sorted(
        path
        for path in folder.glob(f"{detector}*")
        if path.suffix in _SUFFIXES or (path.is_dir() and info.weights_may_be_folder)
    )
    if len(cached) > 1:
        names = ", ".join(path.name for path in cached)
        raise StbenchError(
            f"{detector}: several weights files in {folder} ({names}): set {variable}=PATH to one of them"
        )
    if not cached:
        raise StbenchError(
            f"{detector}: weights not found; get {info.weights_source}, then set {variable}=PATH, save it as "
            f"{folder / info.cache_name}, or name it: eval.detector_weights=PATH in a run, --weights PATH elsewhere"
        )
    return cached[0]


def describe_weights(detector: str) -> str:
    """Whether a detector's weights are there, in a few words; `stbench doctor` has the whole reason if not."""
    variable = DETECTORS[detector].weights_variable
    if variable is None:
        return "included"
    try:
        return f"found: {find_weights(detector)}"
    except StbenchError:
        return f"not found ({variable}); `stbench doctor` says where to get and put them"


def is_torchscript(path: Path) -> bool:
    """Whether the file is a TorchScript archive: a zip with a `code/` folder, which plain weights do not have."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any("/code/" in name for name in archive.namelist())
    except (OSError, ValueError, zipfile.BadZipFile):  # whatever it is: who reads it as weights says what is wrong
        return False

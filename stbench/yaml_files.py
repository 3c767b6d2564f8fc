"""YAML files that people write: a mapping of keys to plain values, read by the rules of the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from stbench.errors import StbenchError, brief

LARGEST_FILE_BYTES = 2**20


def read_mapping(path: Path) -> dict[str, Any]:
    """Read a YAML file by the rules of the command line, by which 1e-3 is a number.

    Raises:
        StbenchError: it cannot be read, or is no mapping whose keys are text.
    """
    try:
        if not path.is_file():  # also of pipes and devices, which may never end
            raise StbenchError(f"{path} {'is not a file' if path.exists() else 'does not exist'}")
        if path.stat().st_size > LARGEST_FILE_BYTES:
            raise StbenchError(f"{path}: {path.stat().st_size} bytes are no configuration")
        content = OmegaConf.to_container(OmegaConf.create(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise StbenchError(f"{brief(str(path))}: cannot be read: {error.strerror}") from error
    except StbenchError:
        raise
    except Exception as error:  # the YAML and grammar errors of the parser share no base class
        raise StbenchError(f"{path} is not YAML: {brief(' '.join(str(error).split()), 160)}") from error
    if not isinstance(content, dict):
        raise StbenchError(f"{path}: expected a mapping of keys to values, found {type(content).__name__}")
    for key in content:
        if not isinstance(key, str):
            raise StbenchError(f"{path}: the key {key!r} is not text: put it in quotes")
    return {str(key): value for key, value in content.items()}

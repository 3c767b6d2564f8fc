"""Values that no reader could show or compute with, though they are JSON: refused where a record is read or written."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from stbench.errors import StbenchError

LARGEST = 1e100  # of a fraction: what is larger is no measurement, and cannot be drawn; integers have 64 bits
LONGEST_TEXT, LONGEST_NAME = 100_000, 255  # characters of a text; bytes of a file's name
DEEPEST = 20  # sections in sections
# Of the configuration, what readers rely on where it is there; the rest may be any JSON.
CONFIG_TYPES: dict[str, type] = {
    **dict.fromkeys(("variant", "variant.arguments", "dataset", "dataset.arguments", "train", "eval"), dict),
    **dict.fromkeys(("variant.name", "dataset.name", "preset", "protocol"), str),
    **dict.fromkeys(("seed", "train.steps", "train.batch_size", "train.joint_images"), int),
    "train.ema_decay": float,
}
IN_WORDS = {dict: "an object", str: "a text", int: "a whole number", float: "a number"}


def check_values(content: Any) -> None:
    """Refuse the first value that cannot stand in a record.

    Args:
        content: parsed JSON; tuples count as lists.

    Raises:
        StbenchError: naming it by its path.
    """
    for path, value in _leaves(content, "", DEEPEST):
        if isinstance(value, str):
            _check_text(path, value)
        elif isinstance(value, float) and not math.isfinite(value):
            raise StbenchError(f"{path}: expected a finite number, got {value}")
        elif isinstance(value, int | float) and abs(value) > (LARGEST if isinstance(value, float) else sys.maxsize):
            raise StbenchError(f"{path}: expected a smaller number, got {value!r:.20}")


def check_config(config: dict[str, Any]) -> None:
    """Refuse a configuration in which something that readers rely on has another type.

    Raises:
        StbenchError: naming it by its path.
    """
    for path, expected in CONFIG_TYPES.items():
        value: Any = config
        for name in path.split("."):
            value = value.get(name) if isinstance(value, dict) else None
        fits = type(value) in ((int, float) if expected is float else (expected,))  # True is no number here
        if value is not None and not fits:
            raise StbenchError(f"config.{path}: expected {IN_WORDS[expected]}, got {value!r:.60}")


def check_file_name(path: str, name: str) -> None:
    """Refuse what cannot be the name of a file in a folder.

    Raises:
        StbenchError: naming it by its path in the record.
    """
    parts = PurePosixPath(name).parts
    if not parts or any(len(part.encode()) > LONGEST_NAME for part in parts) or len(parts) > DEEPEST:
        raise StbenchError(f"{path}: expected the name of a file, got {name!r:.60}")


def _leaves(value: Any, path: str, depth: int) -> Iterator[tuple[str, Any]]:
    """Every value that holds no others, with its dotted path; names are checked on the way."""
    if not isinstance(value, dict | list | tuple):
        yield path, value
        return
    if depth == 0:
        raise StbenchError(f"{path}: sections lie too deep in each other")
    for name, child in value.items() if isinstance(value, dict) else enumerate(value):
        if isinstance(name, str) and not (name.isprintable() and len(name) <= LONGEST_NAME):
            raise StbenchError(f"{path or 'record'}: expected a short printable name, got {name!a:.60}")
        yield from _leaves(child, f"{path}.{name}" if path else str(name), depth - 1)


def _check_text(path: str, text: str) -> None:
    if len(text) > LONGEST_TEXT:
        raise StbenchError(f"{path}: expected a text of at most {LONGEST_TEXT} characters, got {len(text)}")
    if "\0" in text or any("\ud800" <= mark <= "\udfff" for mark in text):  # the last are halves of characters
        raise StbenchError(f"{path}: expected a text that can be written, got {text!a:.60}")

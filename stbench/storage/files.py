"""Writing files whole or not at all, reading JSON, and refusing an output folder before the work that is to fill it."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from stbench.errors import StbenchError
from stbench.storage.hashing import sha256_of

UNFINISHED = ".partial"  # ends the name of a file that is being written


@contextmanager
def write_whole(path: Path) -> Iterator[Path]:
    """Yield another name beside `path` to write to; a reader of `path` never sees half of a file.

    When the block ends, the disk has what was written, so that even a power cut leaves a whole file, and it takes the
    place of `path`. When it fails, it is removed, and what stood at `path` before is untouched.

    Raises:
        StbenchError: the disk refused it; says after how many bytes.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}{UNFINISHED}")  # two processes may write the same file
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
    except OSError as error:
        size = temporary.stat().st_size if temporary.is_file() else 0
        raise StbenchError(f"cannot write {path}: {reason(error)} (after {size} bytes)") from error
    finally:  # after an interrupt as well
        with contextlib.suppress(OSError):
            temporary.unlink()


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    with write_whole(path) as temporary:
        temporary.write_bytes(content)


def write_json(path: Path, content: Any) -> None:
    """Write `content` as JSON, whole or not at all; NaN and infinities, which JSON does not know, are a ValueError."""
    write_bytes(path, (json.dumps(content, indent=1, allow_nan=False) + "\n").encode())


def write_arrays(path: Path, **arrays: Any) -> None:
    """Write an .npz file whole or not at all."""
    with write_whole(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        StbenchError: it cannot be read, or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise StbenchError(f"cannot read {path}: {reason(error)}") from error
    except (ValueError, RecursionError) as error:
        raise StbenchError(f"{path} is damaged: not JSON: {error}") from error


def write_sealed(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON object with a hash of itself, so that damage is seen when it is read."""
    write_json(path, {**content, "sha256": sha256_of(content)})


def read_sealed(path: Path) -> dict[str, Any]:
    """Read what `write_sealed` wrote.

    Raises:
        StbenchError: it cannot be read, or is not what was written.
    """
    content = read_json(path)
    if not isinstance(content, dict) or content.pop("sha256", None) != sha256_of(content):
        raise StbenchError(f"{path} is damaged: it is not what was written (by the hash that it holds)")
    return content


def check_folder(folder: Path) -> None:
    """Refuse a folder that cannot be made or written to, before the work that is to fill it; nothing is left behind.

    Raises:
        StbenchError: says why.
    """
    with making(folder):
        try:
            tempfile.TemporaryFile(dir=folder).close()
        except OSError as error:
            raise StbenchError(f"cannot write to the folder {folder}: {reason(error)}") from error


def check_file(path: Path) -> None:
    """Refuse a file that cannot be written, before the work whose outcome it is to hold.

    Raises:
        StbenchError: says why.
    """
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        with tempfile.NamedTemporaryFile(prefix=path.name, suffix=UNFINISHED, dir=path.parent):
            pass
    except OSError as error:
        raise StbenchError(f"cannot write {path}: {reason(error)}") from error


@contextmanager
def making(folder: Path) -> Iterator[None]:
    """Make a folder and what is missing above it; of these, what is still empty when the block ends is removed again.

    Raises:
        StbenchError: the folder cannot be made.
    """
    try:
        made = [each for each in (folder, *folder.parents) if not each.exists()]
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StbenchError(f"cannot make the folder {folder}: {reason(error)}") from error
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # the first that is not empty ends it
            for each in made:
                each.rmdir()


def reason(error: OSError) -> str:
    """What the system says of a failure, without the path."""
    return error.strerror or str(error)

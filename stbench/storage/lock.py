"""One process at a time in a folder.

The lock goes with its holder, however that ends: a kill leaves no lock behind. It is a record lock (`lockf`) and not
`flock`, which a killed process's children, forked to read clips, would go on holding.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from stbench.errors import StbenchError
from stbench.storage.files import making, reason

LOCK_NAME = "stbench.lock"  # the file in the folder, there while it is held; says by whom

_held: dict[Path, IO[bytes]] = {}  # by this process, whose own record locks do not exclude each other


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold `folder` for this process while the block runs; it is made, and removed again where it is left empty.

    Raises:
        StbenchError: another process holds it, or it cannot be made or written to.
    """
    with making(folder):
        path = folder.resolve() / LOCK_NAME
        _held[path] = _take(path)
        try:
            yield
        finally:
            if is_held(folder):
                path.unlink()
            _held.pop(path).close()


def is_held(folder: Path) -> bool:
    """Whether this process still holds `folder`: nobody has deleted it, or put another in its place."""
    path = folder.resolve() / LOCK_NAME
    return path in _held and _is_open_at(_held[path], path)


def holder_of(folder: Path) -> str | None:
    """Who works in `folder` at present, as the lock says; None where nobody does."""
    path = folder.resolve() / LOCK_NAME
    if path in _held:  # and must not be opened, since closing it would give the lock up
        return "this process"
    try:
        with path.open(encoding="utf-8") as file:
            fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return path.read_text(encoding="utf-8") or "another process"
    except OSError:
        return None  # nobody's: there is no such file, or it cannot be read
    return None


def _take(path: Path) -> IO[bytes]:
    """The lock file, open and locked, with the holder's name in it."""
    if path in _held:  # and must not be opened again: closing it would give the lock up
        raise _in_use(path, "this process")
    try:
        file = _open_locked(path)
        while not _is_open_at(file, path):  # its holder removed it just before it was locked here
            file.close()
            file = _open_locked(path)
        try:
            file.truncate(0)
            file.write(f"process {os.getpid()} on {socket.gethostname()}".encode())
        except OSError:
            path.unlink()
            file.close()
            raise
    except OSError as error:
        raise StbenchError(f"cannot lock {path.parent}: {reason(error)}") from error
    return file


def _open_locked(path: Path) -> IO[bytes]:
    file = path.open("ab+", buffering=0)
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        with file:
            if error.errno in (errno.EACCES, errno.EAGAIN):
                file.seek(0)
                raise _in_use(path, file.read().decode() or "another process") from error
            raise
    return file


def _is_open_at(file: IO[bytes], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except OSError:
        return False


def _in_use(path: Path, holder: str) -> StbenchError:
    return StbenchError(f"{path.parent} is in use by {holder}: wait until that ends, or name another --out")

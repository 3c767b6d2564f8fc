"""Reading .npz files of other people: plain arrays only, never code, never more than fits."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterable
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from stbench.errors import StbenchError, first_line

LARGEST_GIB = 4  # of all arrays that are read from one file together, unpacked: zeros shrink a thousand times


def array_names(path: Path) -> list[str]:
    """Return the names of the arrays in an .npz file, reading no more than its table of contents.

    Raises:
        StbenchError: the file is damaged, or another kind of file.
    """
    return _described(path, lambda archive: [name.removesuffix(".npy") for name in archive.namelist()])


def read_arrays(path: Path, names: Iterable[str] | None = None) -> dict[str, NDArray[Any]]:
    """Read arrays of an .npz file by their names, or all of them.

    Raises:
        StbenchError: the file is damaged or another kind of file, lacks one of these arrays, holds objects, which are
            code, or unpacks to more than `LARGEST_GIB`.
    """
    wanted = list(array_names(path) if names is None else names)

    def read(archive: zipfile.ZipFile) -> dict[str, NDArray[Any]]:
        total = 0
        for name in wanted:
            with archive.open(f"{name}.npy") as member:
                shape, _, dtype = read_header(member)
            total += prod(shape) * dtype.itemsize
        if total > LARGEST_GIB * 2**30:
            raise ValueError(f"it unpacks to {total / 2**30:.1f} GiB, more than {LARGEST_GIB}")
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in wanted}

    return _described(path, read)


def read_header(member: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Read the header of an array in numpy's file format: shape, whether in Fortran order, type."""
    version = np.lib.format.read_magic(member)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return read(member)


def _described(path: Path, read: Callable[[zipfile.ZipFile], Any]) -> Any:
    """Whatever zipfile, zlib and numpy find wrong with a file, in one line that names it."""
    try:
        with zipfile.ZipFile(path) as archive:
            return read(archive)
    except Exception as error:  # on damaged files they raise a dozen kinds
        size = f" ({path.stat().st_size} bytes; truncated or not plain arrays)" if path.is_file() else ""
        raise StbenchError(f"{path}: cannot be read as .npz{size}: {first_line(error)}") from error

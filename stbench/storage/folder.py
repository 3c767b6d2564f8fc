"""An output folder that appears whole: prepared beside its place, then swapped in."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stbench.errors import StbenchError


@contextmanager
def swapped_in(folder: Path, names: tuple[str, ...]) -> Iterator[Path]:
    """Yield a temporary folder that takes the place of `folder` when the block ends, or vanishes when it fails.

    Args:
        folder: where the output goes; an earlier output there is replaced as a whole.
        names: the files and folders that an output consists of.

    Raises:
        StbenchError: `folder` holds anything else, which would be lost, or cannot be written.
    """
    folder = folder.resolve()
    _refuse_foreign(folder, names)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as error:
        raise StbenchError(f"cannot write to {folder.parent}: {error.strerror}") from error
    try:
        yield temporary
        temporary.chmod(0o755)  # mkdtemp makes it private
        _swap(temporary, folder)
    except OSError as error:
        raise StbenchError(f"cannot write {folder}: {error.strerror}; what was there is untouched") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _refuse_foreign(folder: Path, names: tuple[str, ...]) -> None:
    if folder.exists() and not folder.is_dir():
        raise StbenchError(f"{folder} is a file; expected a folder to write to")
    foreign = sorted(path.name for path in folder.iterdir() if path.name not in names) if folder.is_dir() else []
    if foreign:
        raise StbenchError(
            f"{folder} holds {foreign[0]!r}, which replacing the folder would delete; "
            f"expected a new or empty folder, or an earlier output, e.g. {folder / 'report'}"
        )


def _swap(temporary: Path, folder: Path) -> None:
    if not folder.is_dir():
        temporary.replace(folder)
        return
    earlier = temporary.with_name(f"{temporary.name}.earlier")
    folder.replace(earlier)
    try:
        temporary.replace(folder)
    except OSError:
        earlier.replace(folder)
        raise
    shutil.rmtree(earlier)

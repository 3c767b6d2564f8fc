"""An output folder that appears whole: prepared beside its place, then swapped in."""

from __future__ import annotations

import contextlib
import glob
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stbench.errors import StbenchError
from stbench.storage.files import check_folder, making, reason
from stbench.storage.lock import LOCK_NAME, locked


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
    check_replaceable(folder, names)
    _remove_abandoned(folder)
    with making(folder.parent):
        temporary = _make_beside(folder)
        try:
            with locked(temporary):
                yield temporary
            temporary.chmod(0o755)  # mkdtemp makes it private
            _swap(temporary, folder)
        except OSError as error:
            raise StbenchError(f"cannot write {folder}: {reason(error)}; what was there is untouched") from error
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def check_replaceable(folder: Path, names: tuple[str, ...]) -> None:
    """Refuse what `swapped_in` would, before the work whose output it is to be.

    Raises:
        StbenchError: as `swapped_in`.
    """
    folder = folder.resolve()
    check_folder(folder.parent)
    try:
        foreign = sorted(path.name for path in folder.iterdir() if path.name not in names)
    except FileNotFoundError:
        return
    except NotADirectoryError:
        raise StbenchError(f"{folder} is a file; expected a folder to write to") from None
    except OSError as error:
        raise StbenchError(f"cannot write {folder}: {reason(error)}") from error
    if foreign:
        raise StbenchError(
            f"{folder} holds {foreign[0]!r}, which replacing the folder would delete; "
            f"expected a new or empty folder, or an earlier output, e.g. {folder / 'report'}"
        )


def _make_beside(folder: Path) -> Path:
    try:
        return Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as error:
        raise StbenchError(f"cannot write {folder}: {reason(error)}") from error


def _remove_abandoned(folder: Path) -> None:
    """Remove what a process that was killed had prepared for `folder`: it has a lock that nobody holds any more."""
    for lock in folder.parent.glob(f".{glob.escape(folder.name)}.*/{LOCK_NAME}"):
        with contextlib.suppress(StbenchError), locked(lock.parent):
            shutil.rmtree(lock.parent, ignore_errors=True)


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

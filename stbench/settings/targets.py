"""What a component names as `module:Class`: where its module is found, and that it is such a class before it is called.

A module is looked for in the folder of the YAML file that names it (of a run, in the copy of its code), then wherever
Python looks. Two such folders may have modules of one name: each component gets its own.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from stbench.errors import StbenchError, error_with_place, unknown_name

# The class that each kind of component inherits from. Named, not imported: torch takes seconds, and clips stand above.
BASES = {"variant": "torch.nn.modules.module.Module", "dataset": "stbench.data.clips.ClipDataset"}

_searched: set[Path] = set()  # folders of components, whose modules make way for their namesakes in another


def load_class(target: str, base: str, folder: Path | None) -> type:
    """Import a class, and see that it is one that may be called.

    Args:
        target: "module:Class".
        base: qualified name of a class that it must inherit from.
        folder: where its module is looked for first.

    Raises:
        StbenchError: not such words, nothing of that name, a module that fails, or something else than such a class.
    """
    module_name, class_name = split_target(target)
    try:
        module = import_module(module_name, folder)
    except (Exception, SystemExit) as error:  # a module of the user's may do anything
        raise StbenchError(_why_not_imported(error, module_name, folder)) from error
    if not hasattr(module, class_name):
        classes = [name for name, value in vars(module).items() if inspect.isclass(value)]
        raise unknown_name("class", class_name, classes)
    found = getattr(module, class_name)
    if not inspect.isclass(found) or base not in (f"{each.__module__}.{each.__qualname__}" for each in found.__mro__):
        raise StbenchError(f"expected a class that inherits from {base.rpartition('.')[2]}, got {found!r}")
    return found


def split_target(target: str) -> tuple[str, str]:
    """Module and class of "module:Class".

    Raises:
        StbenchError: for anything else.
    """
    module_name, _, class_name = target.partition(":")
    if not all(part.isidentifier() for part in (*module_name.split("."), class_name)):
        raise StbenchError("expected module:Class")
    return module_name, class_name


def is_foreign(target: str) -> bool:
    """Whether a target names code that does not come with stbench."""
    return target.partition(":")[0].partition(".")[0] != "stbench"


@functools.cache
def import_module(name: str, folder: Path | None) -> ModuleType:
    """Import a module, from `folder` when it holds it."""
    if folder is None or not _holds(folder, name):
        return importlib.import_module(name)
    with _looked_through(folder):
        return importlib.import_module(name)


def import_root(module_name: str, file: str) -> Path:
    """The folder in which Python found a module: that which holds its file, or its outermost package."""
    path = Path(file)
    return path.parents[module_name.count(".") + (path.stem == "__init__")]


def _holds(folder: Path, name: str) -> bool:
    path = folder / name.partition(".")[0]
    return path.is_dir() or path.with_suffix(".py").is_file()


@contextlib.contextmanager
def _looked_through(folder: Path) -> Iterator[None]:
    """Let `import` look through a folder first, and forget the modules of its names that other such folders brought."""
    others = _searched - {folder}
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if file and _holds(folder, name) and import_root(name, file) in others:
            del sys.modules[name]
    _searched.add(folder)
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(str(folder))


def _why_not_imported(error: BaseException, module_name: str, folder: Path | None) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name == module_name.partition(".")[0]:
        beside = f" in {folder} or" if folder else ""
        return f"cannot import it: {error}{beside} where Python looks (PYTHONPATH)"
    return f"cannot import it: {error_with_place(error)}"

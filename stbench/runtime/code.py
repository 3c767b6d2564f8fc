"""The code of classes that are not stbench's: what a run and a figure are made of, and no version tells.

It is the file of the class's module and every file that this imports, directly or not, from its own package or folder.
Files that code reads by itself, compiled modules, and modules that are imported by a computed name are not seen.
"""

from __future__ import annotations

import ast
import functools
import importlib.util
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from itertools import accumulate
from pathlib import Path

from stbench.errors import StbenchError, first_line
from stbench.settings.targets import import_module, import_root, is_foreign, split_target
from stbench.storage.hashing import sha256_of

_INSTALLED = ("site-packages", "dist-packages")  # where Python keeps the packages of others


@dataclass(frozen=True)
class Code:
    """The code of a class that is not stbench's.

    Attributes:
        files: their contents, by their path below the folder in which Python finds the module.
        installed: whether they are an installed package's.
    """

    files: Mapping[str, bytes]
    installed: bool

    @property
    def sha256(self) -> str:
        """Of names and contents."""
        return sha256_of({name: sha256(content).hexdigest() for name, content in self.files.items()})


@functools.cache
def code_of(target: str, folder: Path | None) -> Code:
    """Read the code of "module:Class", once for each process, as Python imports it: later changes are not run either.

    Raises:
        StbenchError: the module is no file of Python, or imports one that is damaged.
    """
    name, _ = split_target(target)
    file = getattr(import_module(name, folder), "__file__", None) or ""
    if name == "__main__" or not file.endswith(".py"):
        raise StbenchError(f"{target}: what it makes is kept with its code: expected a module that is a .py file")
    root = import_root(name, file)
    installed = root.name in _INSTALLED
    found: dict[str, bytes] = {}
    waiting = [name]
    while waiting:
        parts = waiting.pop().split(".")
        if parts[0] == "stbench" or (installed and parts[0] != name.partition(".")[0]):
            continue
        for module in accumulate(parts, "{}.{}".format):  # a package runs before the modules in it
            path = _file_of(module, root)
            if path and (below := path.relative_to(root).as_posix()) not in found:
                found[below] = path.read_bytes()
                waiting += _imports(module, path)
    return Code(dict(sorted(found.items())), installed)


def code_sha256(target: str, folder: Path | None) -> str | None:
    """SHA-256 of the code of "module:Class"; None for what comes with stbench, and for another kind of name."""
    return code_of(target, folder).sha256 if ":" in target and is_foreign(target) else None


def _file_of(module: str, root: Path) -> Path | None:
    path = root.joinpath(*module.split("."))
    return next((file for file in (path / "__init__.py", path.with_suffix(".py")) if file.is_file()), None)


def _imports(module: str, path: Path) -> Iterator[str]:
    """Everything that a module imports, at whatever place in it, by full names; some are of things in modules."""
    package = module if path.stem == "__init__" else module.rpartition(".")[0]
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError) as error:
        raise StbenchError(f"{path}: is imported, but not Python: {first_line(error)}") from error
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            origin = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            yield from (f"{origin}.{alias.name}" for alias in node.names)

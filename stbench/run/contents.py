"""What a run is made of besides its settings: videos, weights, and the code of classes that are not stbench's.

Where they lie does not matter, what is in them does: other content is another run. The code of a class is the file of
its module and every file that this imports, directly or not, from its own package or folder. Files that code reads by
itself, compiled modules, and modules that are imported by a computed name are not seen.
"""

from __future__ import annotations

import ast
import functools
import importlib.util
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import accumulate
from pathlib import Path

from stbench.data.autoencoders import Autoencoder
from stbench.data.clips import ClipDataset
from stbench.errors import StbenchError, first_line
from stbench.metrics.detectors import Detector
from stbench.settings.schema import Contents, RunConfig
from stbench.settings.targets import import_module, import_root, is_foreign, split_target
from stbench.storage.files import write_bytes
from stbench.storage.hashing import file_sha256, sha256_of
from stbench.training.start import weights_file

_INSTALLED = ("site-packages", "dist-packages")  # where Python keeps the packages of others
# What a trained run is used with again; who judges it may be another, and what it started from does not matter then.
_KEPT = {
    "videos": "the videos of dataset.root",
    "autoencoder": "the autoencoder's weights",
    "variant_code": "the code of the backbone",
    "dataset_code": "the code of the dataset",
}


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


def find_contents(config: RunConfig, dataset: ClipDataset, autoencoder: Autoencoder, detector: Detector) -> Contents:
    """Find what a run is made of.

    Args:
        config: of the run; where a trained one is used again, with the contents that it was made of.
        dataset: what it trains on.
        autoencoder: what makes its latents.
        detector: what judges it.

    Raises:
        StbenchError: `train.init` names no weights, or a trained run was made of something else.
    """
    variant, own = (_code_sha256(each.target, each.folder) for each in (config.variant, config.dataset))
    found = Contents(
        videos=dataset.describe().manifest_sha256,
        detector=detector.weights_sha256,
        autoencoder=autoencoder.weights_sha256,
        variant_code=variant,
        dataset_code=own,
        detector_code=_code_sha256(config.settings.protocol, None),
    )
    init, trained = config.settings.train.init, config.contents
    if trained is None:
        return replace(found, init=file_sha256(weights_file(init)) if init else None)
    for name, what in _KEPT.items():
        before, now = getattr(trained, name), getattr(found, name)
        if before != now:
            raise StbenchError(
                f"{what}: not what the run was made of (contents.{name} is {_short(now)}, the run's {_short(before)})"
            )
    return replace(found, init=trained.init)


def copy_code(config: RunConfig, folder: Path) -> None:
    """Write the code of variant and dataset into folders of these names; what is stbench's or installed is left out."""
    for component in (config.variant, config.dataset):
        code = code_of(component.target, component.folder) if is_foreign(component.target) else None
        for name, content in code.files.items() if code and not code.installed else ():
            path = folder / component.kind / name
            path.parent.mkdir(parents=True, exist_ok=True)
            write_bytes(path, content)


@functools.cache
def code_of(target: str, folder: Path | None) -> Code:
    """Read the code of "module:Class", once for each process, as Python imports it: later changes are not run either.

    Raises:
        StbenchError: the module is no file of Python, or imports one that is damaged.
    """
    name, _ = split_target(target)
    file = getattr(import_module(name, folder), "__file__", None) or ""
    if name == "__main__" or not file.endswith(".py"):
        raise StbenchError(f"{target}: a run keeps the code that it is made of: expected a module that is a .py file")
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


def _code_sha256(target: str, folder: Path | None) -> str | None:
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


def _short(digest: str | None) -> str:
    return digest[:8] if digest else "none"

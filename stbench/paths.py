"""Where things lie: the only module that knows.

Variants, datasets and claims are YAML files. An installed package carries them in `stbench/configs/`; in a checkout
they lie in the repository's root. More folders come from `--config-dir` or `STBENCH_CONFIG_DIR`, never from the current
directory.
"""

from __future__ import annotations

import os
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
CONFIG_DIR_VARIABLE = "STBENCH_CONFIG_DIR"
DEFAULT_RUNS = Path("runs")


def builtin_config_root() -> Path:
    """The folder that holds `variants/` and `datasets/`, and `claims/` or, in a checkout, `results/claims/`."""
    packaged = PACKAGE / "configs"
    return packaged if packaged.is_dir() else PACKAGE.parent


def config_folders(kind: str) -> list[Path]:
    """Folders searched for the YAML files of a `kind` ("variants", "datasets" or "claims"), the user's first."""
    extra = os.environ.get(CONFIG_DIR_VARIABLE)
    roots = [Path(part) for part in extra.split(os.pathsep)] if extra else []
    builtin = builtin_config_root()
    folders = [root / kind for root in [*roots, builtin, builtin / "results"]]  # claims of a checkout are results
    return [folder for folder in folders if folder.is_dir()]


def config_files(kind: str) -> dict[str, Path]:
    """Every YAML file of a `kind` by its name; a user's file hides a built-in one of the same name."""
    files: dict[str, Path] = {}
    for folder in config_folders(kind):
        for path in sorted(folder.glob("*.yaml")):
            files.setdefault(path.stem, path)
    return files


def user_cache() -> Path:
    """Where downloaded weights are looked for: `$XDG_CACHE_HOME/stbench` or `~/.cache/stbench`."""
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "stbench"


def user_state() -> Path:
    """Where what went wrong in stbench itself is kept: `$XDG_STATE_HOME/stbench` or `~/.local/state/stbench`."""
    return Path(os.environ.get("XDG_STATE_HOME", Path.home() / ".local" / "state")) / "stbench"


def checkout_root() -> Path | None:
    """The repository that stbench runs from, or None for an installed package."""
    root = PACKAGE.parent
    return root if (root / ".git").exists() else None

"""Runs that were begun and have no record: they were killed, or are still at work."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from stbench.records.schema import value_at
from stbench.records.store import CONFIG_NAME, RECORD_NAME
from stbench.storage.lock import holder_of


def unfinished_runs(paths: Iterable[Path]) -> dict[Path, str]:
    """Return each run folder under `paths` that has no record, with how far the run came."""
    found: dict[Path, str] = {}
    for path in paths:
        for file in sorted(path.rglob(CONFIG_NAME)) if path.is_dir() else ():
            config = _read_config(file)
            if config is not None and not (file.parent / RECORD_NAME).exists():
                found[file.parent] = f"{_name(config)} ({file.parent.name}): {_progress(file.parent, config)}"
    return found


def _read_config(file: Path) -> dict[str, Any] | None:
    """The configuration of a run; None where the file is something else, or damaged."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) and value_at(content, "variant.name") else None


def _name(config: dict[str, Any]) -> str:
    return f"{value_at(config, 'variant.name')}, seed {config.get('seed')}"


def _progress(folder: Path, config: dict[str, Any]) -> str:
    steps = [int(each.stem[5:]) for each in folder.glob("checkpoints/step-*.safetensors") if each.stem[5:].isdigit()]
    wanted, holder = value_at(config, "train.steps"), holder_of(folder)
    reached = f"newest checkpoint at step {max(steps)} of {wanted}" if steps else "no checkpoint"
    return f"still running ({holder}), {reached}" if holder else f"ended without a record, {reached}; --resume goes on"

"""The folder of one run: the names of its files and their formats."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stbench.errors import StbenchError
from stbench.records.store import RECORD_NAME
from stbench.run.evaluation import ClipSet
from stbench.settings.resolve import from_dict
from stbench.settings.schema import RunConfig
from stbench.storage.files import write_json

CONFIG_NAME = "config.json"


@dataclass(frozen=True)
class RunFolder:
    """The files of one run."""

    path: Path

    def begin(self, config: RunConfig, cost: dict[str, Any]) -> None:
        """Make the folder, with what was asked for and what it costs."""
        self.path.mkdir(parents=True, exist_ok=True)
        write_json(self.path / CONFIG_NAME, config.to_dict())
        write_json(self.cost, cost)

    @property
    def curve(self) -> Path:
        """Quality during training."""
        return self.path / "curve.json"

    @property
    def cost(self) -> Path:
        """The cost profile."""
        return self.path / "cost.json"

    @property
    def attention(self) -> Path:
        """What `attention=auto` chose."""
        return self.path / "attention.json"

    @property
    def record(self) -> Path:
        """The record."""
        return self.path / RECORD_NAME

    def save_clips(self, name: str, clips: ClipSet, class_names: tuple[str, ...]) -> str:
        """Keep clips for the report; returns the file's name."""
        save_clips(self.path / name, clips, class_names)
        return name


def save_clips(path: Path, clips: ClipSet, class_names: tuple[str, ...]) -> None:
    """Write clips, labels and class names as the report reads them."""
    np.savez_compressed(path, clips=clips.clips, labels=clips.labels, class_names=np.array(class_names, dtype=str))


def run_config(folder: Path) -> RunConfig:
    """The configuration that a run's folder was made with.

    Raises:
        StbenchError: when the folder is not a run's, or its configuration no longer fits this stbench.
    """
    path = folder / CONFIG_NAME
    if not path.is_file():
        raise StbenchError(f"{folder} is not a run's folder: it has no {CONFIG_NAME}")
    return from_dict(json.loads(path.read_text(encoding="utf-8")))

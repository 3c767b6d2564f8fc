"""Cells whose process is a stand-in for `stbench run` that takes no torch and no time."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from stbench.launch import execution
from stbench.launch.arms import Arm
from stbench.launch.cells import Cell, with_seed
from stbench.records.schema import Record
from stbench.records.sections import Validation
from stbench.settings.resolve import resolve
from stbench.settings.schema import Contents, RunConfig
from stbench.storage.files import write_json

STAND_IN = Path(__file__).parent / "stand_in.py"
MakeCell = Callable[..., Cell]


@pytest.fixture(scope="session")
def config() -> RunConfig:
    """Of a run that nobody runs."""
    config = resolve(["variant=latte1", "dataset=shapes", "preset=smoke"])
    return replace(config, contents=Contents(videos="0" * 64, detector="1" * 64))


def validation_of(loss: float, protocol: str = "p1") -> Validation:
    """A validation loss without anything to it."""
    return Validation(protocol_hash=protocol, n_clips=8, draws=5, edges=(0.0, 1.0), loss=loss, buckets=(loss,))


def record_of(cell: Cell, status: str = "finished", loss: float | None = None, **changes: Any) -> dict[str, Any]:
    """The content of a cell's record."""
    record = Record(
        run_id=cell.config.run_id,
        status=status,  # type: ignore[arg-type]
        reason=None if status == "finished" else "the loss is not finite",
        created="2026-01-02T03:04:05Z",
        config=cell.config.to_dict(),
        config_hash=cell.config.config_hash,
        group_hash=cell.config.group_hash,
        validation=None if loss is None else validation_of(loss),
    )
    return {**record.to_json(), **changes}


@dataclass(frozen=True, eq=False)
class StandInCell(Cell):
    """A cell of an arm that keeps its own words, whose process is told others.

    Attributes:
        told: what the stand-in is told.
    """

    told: tuple[str, ...] = ()

    @property
    def words(self) -> tuple[str, ...]:
        """What the stand-in is to run."""
        return (*self.told, f"seed={self.config.settings.seed}")


@pytest.fixture
def make_cell(config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeCell:
    """Makes a cell whose process does what it is told; see stand_in.py."""
    monkeypatch.setattr(execution, "COMMAND", (sys.executable, str(STAND_IN)))
    monkeypatch.setattr(execution, "POLL_S", 0.01)
    records = tmp_path / "records"
    records.mkdir()

    def make(
        do: str = "finish",
        seed: int = 0,
        steps: int = 6,
        loss: float | None = None,
        arm: Arm | None = None,
        pause: float = 0,
    ) -> Cell:
        settings = replace(config.settings, train=replace(config.settings.train, steps=steps))
        own = with_seed(replace(config, settings=settings), seed)
        told = f"do={do}", f"steps={steps}", f"records={records}", f"pause={pause}"
        cell = StandInCell(arm or Arm("latte1", (), (seed,)), own, tmp_path / "runs", told)
        write_json(records / f"{steps}-{seed}.json", record_of(cell, loss=loss))
        return cell

    return make


def write_record(cell: Cell, content: dict[str, Any]) -> None:
    """Put a record into a cell's folder."""
    cell.folder.mkdir(parents=True, exist_ok=True)
    (cell.folder / "result.json").write_text(json.dumps(content))

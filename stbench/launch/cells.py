"""Cells: the runs of a sweep, and how far each has come, as its folder and its log tell. Imports no torch.

A run's folder is named by what the run is made of, which only `prepare` finds: for all arms once, in a process of its
own, which takes models and memory of a GPU with it when it ends. The seed changes nothing of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from stbench.errors import StbenchError
from stbench.launch.arms import Arm
from stbench.launch.aside import call_aside
from stbench.launch.logs import FAILED, read_ending
from stbench.records.store import RECORD_NAME, read_record
from stbench.settings.schema import RunConfig
from stbench.storage.lock import holder_of


@dataclass(frozen=True, eq=False)
class Cell:
    """One run of a sweep.

    Attributes:
        arm: which it is of.
        config: of the run, with what it is made of.
        out: the folder of runs.
    """

    arm: Arm
    config: RunConfig
    out: Path

    @property
    def label(self) -> str:
        """What it is called in messages."""
        return f"{self.arm.label}, seed {self.config.settings.seed}"

    @property
    def words(self) -> tuple[str, ...]:
        """What `stbench run` is to run."""
        return (*self.arm.words, f"seed={self.config.settings.seed}")

    @property
    def folder(self) -> Path:
        """Of the run."""
        return self.out / self.config.run_id

    @property
    def log(self) -> Path:
        """The file that keeps what its processes print."""
        return self.out / f"{self.config.run_id}.log"

    @property
    def steps(self) -> int:
        """Of its training."""
        return self.config.settings.train.steps


@dataclass(frozen=True)
class State:
    """How far a cell has come.

    Attributes:
        name: "finished" when its record says so; "failed" when its record says otherwise, or its process crashed;
            "running" in another process; "interrupted" when it was begun and can go on; else "new".
        reason: why it is not finished, one line; nothing for a new one.
    """

    name: Literal["finished", "failed", "running", "interrupted", "new"]
    reason: str = ""


def prepare_cells(arms: Sequence[Arm], out: Path) -> list[Cell]:
    """The cells of a sweep, each once: the first seed of every arm, then the second of every arm.

    Raises:
        StbenchError: naming the arm, for whatever a run would refuse before it begins.
    """
    configs = call_aside(prepared_configs, list(arms))
    found: dict[str, Cell] = {}
    for place in range(max(len(arm.seeds) for arm in arms)):
        for arm, config in zip(arms, configs, strict=True):
            for seed in arm.seeds[place : place + 1]:
                cell = Cell(arm, with_seed(config, seed), out)
                found.setdefault(cell.config.run_id, cell)
    return list(found.values())


def prepared_configs(arms: Sequence[Arm]) -> list[RunConfig]:
    """The configuration of every arm, prepared; what several are made of is opened once.

    Raises:
        StbenchError: naming the arm, for whatever a run would refuse before it begins.
    """
    from stbench.run.setup import Parts, prepare
    from stbench.settings.resolve import resolve

    parts, configs = Parts(), []
    for arm in arms:
        try:
            configs.append(prepare(resolve(arm.words), parts).config)
        except StbenchError as error:
            raise StbenchError(f"{arm.label}: {error}") from error
    return configs


def with_seed(config: RunConfig, seed: int) -> RunConfig:
    """The same run with another seed."""
    return replace(config, settings=replace(config.settings, seed=seed))


def state_of(cell: Cell) -> State:
    """How far a cell has come."""
    has_record = (cell.folder / RECORD_NAME).exists()
    recorded = _recorded(cell) if has_record else State("new")
    if recorded.name == "finished":
        return recorded
    if holder := holder_of(cell.folder):
        return State("running", f"in {holder}")
    if has_record:
        return recorded
    if ending := read_ending(cell.log):
        return State("failed" if ending[0] == FAILED else "interrupted", ending[1])
    begun = cell.log.exists() or cell.folder.exists()
    return State("interrupted", "ended without a record") if begun else State("new")


def to_run(states: Mapping[Cell, State], retry: bool) -> list[Cell]:
    """The cells that a sweep runs: the new and the interrupted, and those that failed when asked."""
    wanted = ("new", "interrupted", "failed") if retry else ("new", "interrupted")
    return [cell for cell, state in states.items() if state.name in wanted]


def counted(states: Mapping[Cell, State]) -> str:
    """How many cells are in which state, in words."""
    counts = Counter(state.name for state in states.values())
    return ", ".join(f"{number} {name}" for name, number in counts.items())


def _recorded(cell: Cell) -> State:
    try:
        record = read_record(cell.folder)
    except StbenchError as error:
        return State("failed", str(error))
    if record.config_hash != cell.config.config_hash:
        return State("failed", f"{cell.folder / RECORD_NAME} is of another run, configuration {record.config_hash[:8]}")
    return State("finished") if record.finished else State("failed", f"{record.status}: {record.reason}")

"""Cells run through crashes, kills and signals: what becomes of one is no other's, and nothing runs twice."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from stbench.launch import execution
from stbench.launch.cells import Cell, state_of
from stbench.launch.execution import run_cells, threads_of, usual_jobs
from stbench.storage.lock import holder_of

from .conftest import STAND_IN, MakeCell

# A parent that a test may kill: it runs the cells that it finds in a file.
PARENT = f"""
import pickle, sys
from pathlib import Path
from stbench.launch import execution
from stbench.signals import Interrupted, heeded
execution.COMMAND, execution.POLL_S = (sys.executable, {str(STAND_IN)!r}), 0.01
try:
    with heeded():
        execution.run_cells(pickle.loads(Path(sys.argv[1]).read_bytes()), jobs=2)
except Interrupted as error:
    sys.exit(error.exit_status)
"""


def states(cells: list[Cell]) -> list[str]:
    return [state_of(cell).name for cell in cells]


def steps(cell: Cell) -> list[int]:
    """The steps that a cell's processes took, in order."""
    return [int(line.split(",")[0]) for line in (cell.folder / "loss.csv").read_text().splitlines()]


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


@pytest.fixture
def parent(tmp_path: Path) -> Callable[[list[Cell]], subprocess.Popen[bytes]]:
    """Starts a process that runs cells."""

    def start(cells: list[Cell]) -> subprocess.Popen[bytes]:
        file = tmp_path / "cells.pickle"
        file.write_bytes(pickle.dumps(cells))
        return subprocess.Popen([sys.executable, "-c", PARENT, str(file)], stderr=subprocess.DEVNULL)

    return start


def test_what_fails_costs_no_other_cell(make_cell: MakeCell) -> None:
    """Its whole log is kept, and a readable reason."""
    kinds = ("crash", "finish", f"signal={signal.SIGSEGV}", f"signal={signal.SIGKILL}", "finish")
    cells = [make_cell(do, seed) for seed, do in enumerate(kinds)]
    run_cells(cells, jobs=2)
    assert states(cells) == ["failed", "finished", "failed", "interrupted", "finished"]
    assert state_of(cells[0]).reason == "the wheel came off (exit status 2)"
    assert state_of(cells[2]).reason == "crashed by SIGSEGV"
    assert "Fatal Python error: Segmentation fault" in cells[2].log.read_text()
    assert state_of(cells[3]).reason == "killed by SIGKILL"
    begun = cells[0].log.read_text().splitlines()
    assert begun[0].startswith("=== begun: stbench run do=crash")
    assert begun[1:] == ["half a line", "stbench: the wheel came off", "=== failed: exit status 2"]


def test_a_finished_cell_is_left_alone(make_cell: MakeCell) -> None:
    cell = make_cell()
    run_cells([cell], jobs=1)
    log = cell.log.read_text()
    run_cells([cell], jobs=1)
    assert cell.log.read_text() == log


@pytest.mark.parametrize(
    ("device", "gpus", "jobs"), [("auto", [], 2), ("auto", ["0000:00:1e.0"], 1), ("cpu", ["0000:00:1e.0"], 2)]
)
def test_two_cells_run_at_once_but_on_a_gpu(
    device: str, gpus: list[str], jobs: int, make_cell: MakeCell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in gpus:
        (tmp_path / "gpus" / name).mkdir(parents=True)
    monkeypatch.setattr(execution, "GPUS", tmp_path / "gpus")
    cell = make_cell()
    settings = replace(cell.config.settings, device=device)
    assert usual_jobs([replace(cell, config=replace(cell.config, settings=settings))]) == jobs


def test_threads_are_divided(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert [threads_of(jobs) for jobs in (1, 2, 8)] == [None, 2, 1]


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM], ids=lambda signum: signum.name)
def test_a_signal_is_passed_on_and_waited_for(
    signum: signal.Signals, make_cell: MakeCell, parent: Callable[[list[Cell]], subprocess.Popen[bytes]]
) -> None:
    cells = [make_cell(seed=seed, steps=6000, pause=0.01) for seed in range(3)]
    process = parent(cells)
    wait_for(lambda: all(holder_of(cell.folder) for cell in cells[:2]))
    process.send_signal(signum)
    assert process.wait() == 128 + signum
    assert [holder_of(cell.folder) for cell in cells] == [None] * 3
    assert states(cells) == ["interrupted", "interrupted", "new"]
    assert state_of(cells[0]).reason == f"stopped by {signum.name} (stopped by {signum.name})"


@pytest.mark.parametrize("killed", ["parent", "cell", "both"])
def test_what_is_killed_goes_on_with_nothing_lost_and_nothing_twice(
    killed: str, make_cell: MakeCell, parent: Callable[[list[Cell]], subprocess.Popen[bytes]]
) -> None:
    cells = [make_cell(seed=seed, steps=60, pause=0.02) for seed in range(2)]
    first = parent(cells)
    wait_for(lambda: all((cell.folder / "loss.csv").exists() and len(steps(cell)) > 2 for cell in cells))
    if killed != "cell":
        first.kill()
        first.wait()
    if killed != "parent":
        holder = holder_of(cells[0].folder)
        assert holder
        os.kill(int(holder.split()[1]), signal.SIGKILL)
    if killed == "cell":
        first.wait()
        assert states(cells) == ["interrupted", "finished"]
    second = parent(cells)
    second.wait()
    wait_for(lambda: not any(holder_of(cell.folder) for cell in cells))  # what the first had begun goes on without it
    assert states(cells) == ["finished", "finished"]
    assert [steps(cell) for cell in cells] == [list(range(1, 61))] * 2
    processes = {line.split(",")[2] for line in (cells[1].folder / "loss.csv").read_text().splitlines()}
    assert len(processes) == 1, "the second cell was never killed"

"""A sweep goes on where it stands: what is finished is skipped, what failed is run again when asked."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stbench.errors import FinishedInPart
from stbench.launch.cells import State
from stbench.launch.sweep import raise_if_missing, run_missing
from stbench.records.store import read_record

from .conftest import MakeCell, record_of, write_record

TINY = [
    *("variant=latte1", "variant.hidden_size=32", "variant.depth=2", "variant.num_heads=2"),
    *("dataset=shapes", "dataset.num_frames=4", "dataset.image_size=8", "eval.num_clips=4", "eval.untrained=false"),
    *("preset=smoke", "device=cpu", "precision=float32", "train.steps=100", "train.checkpoint_every=5"),
]


def test_what_failed_is_run_again_only_when_asked(make_cell: MakeCell, capsys: pytest.CaptureFixture[str]) -> None:
    cells = [make_cell(seed=seed) for seed in range(3)]
    write_record(cells[0], record_of(cells[0]))
    write_record(cells[1], record_of(cells[1], "nan"))
    states = run_missing(cells)
    assert [state.name for state in states.values()] == ["finished", "failed", "finished"]
    assert "1 of 3 cells to run; left as they are: 1 finished, 1 failed" in capsys.readouterr().err
    (cells[1].folder / "result.json").unlink()  # as the stand-in takes any record for a finished one
    assert [state.name for state in run_missing(cells, retry=True).values()] == ["finished"] * 3


def test_a_sweep_in_part_says_what_to_do(make_cell: MakeCell) -> None:
    cells = [make_cell(seed=seed) for seed in range(3)]
    raise_if_missing(dict.fromkeys(cells, State("finished")))
    states = [State("finished"), State("interrupted", "killed"), State("new")]
    with pytest.raises(FinishedInPart, match=r"^2 of 3 .* \(1 finished, 1 interrupted, 1 new\): the same command goes"):
        raise_if_missing(dict(zip(cells, states, strict=True)))
    with pytest.raises(FinishedInPart, match=r"^3 of 3 .* \(3 failed\): --retry runs"):
        raise_if_missing(dict.fromkeys(cells, State("failed", "nan")))


def test_a_sweep_of_real_runs_survives_the_death_of_all_its_processes(tmp_path: Path) -> None:
    """Two calls, of which the first is killed with its cells, end with what one would have, and print it."""
    command = [sys.executable, "-m", "stbench", "sweep", *TINY, "seed=0,1", "--jobs", "2", "--out", str(tmp_path)]
    first = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 240
    while not list(tmp_path.glob("*/checkpoints/*.safetensors")) and time.monotonic() < deadline:
        time.sleep(0.01)
    first.kill()
    for lock in tmp_path.glob("*/stbench.lock"):
        os.kill(int(lock.read_text().split()[1]), signal.SIGKILL)
    assert not list(tmp_path.glob("*/result.json")), "it was over before it could be killed"
    second = subprocess.run(command, capture_output=True, text=True)
    assert second.returncode == 0, second.stderr
    assert "arm     seeds finished" in second.stdout
    assert "latte1  2 of 2" in second.stdout
    records = [read_record(file) for file in sorted(tmp_path.glob("*/result.json"))]
    assert [(record.status, record.config["seed"]) for record in records] == [("finished", 0), ("finished", 1)]
    assert any("resuming from step-" in log.read_text() for log in tmp_path.glob("*.log"))

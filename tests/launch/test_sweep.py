"""A sweep goes on where it stands: what is finished is skipped, what failed is run again when asked."""

from __future__ import annotations

import math
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stbench.errors import FinishedInPart
from stbench.launch import sweep as launch_sweep
from stbench.launch import tuning
from stbench.launch.arms import Arm
from stbench.launch.cells import Cell, State
from stbench.launch.sweep import raise_if_missing, run_missing, sweep
from stbench.records.store import read_record
from stbench.settings.options import SweepOptions, Until

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


def test_seeds_are_added_until_every_pair_is_decided(
    make_cell: MakeCell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An arm that is clearly better has as many seeds as the first test takes; two alike arms go on to the limit."""
    losses = {"a": 1.0, "b": 0.3, "c": 1.001}

    def cells(arms: list[Arm], out: Path) -> list[Cell]:
        return [
            make_cell(seed=seed, steps=6 + number, loss=losses[arm.label] + 0.02 * math.sin(9 * seed + number), arm=arm)
            for number, arm in enumerate(arms)
            for seed in arm.seeds
        ]

    monkeypatch.setattr(launch_sweep, "prepare_cells", cells)
    monkeypatch.setattr(launch_sweep, "read_arms", lambda *_: [Arm(label, ()) for label in losses])
    monkeypatch.setattr(launch_sweep, "known_cards", lambda _: [])
    sweep([], SweepOptions(until=Until.decided, max_seeds=7, margin=1e-4, jobs=2), tmp_path / "runs")
    told = capsys.readouterr().out
    assert re.findall(r"^(\w)  +(\d) of (\d)", told, re.MULTILINE) == [
        ("a", "7", "7"),
        ("b", "5", "5"),
        ("c", "7", "7"),
    ]
    verdicts = re.findall(r"^(\w)  +(\w)  +(better|worse|undecided)", told, re.MULTILINE)
    assert verdicts == [("b", "a", "better"), ("c", "a", "undecided"), ("c", "b", "worse")]
    log = next((tmp_path / "runs").glob("*-s0-*.log")).read_text()
    assert log.count("=== begun") == 1, "a cell of an earlier round is not run again"


def test_every_arm_is_tried_at_the_same_rates_and_then_run_at_its_best(
    make_cell: MakeCell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    best, ran = {"a": 2e-3, "b": 4e-3}, []

    def cells(arms: list[Arm], out: Path) -> list[Cell]:
        ran.append([(arm.label, arm.seeds) for arm in arms])
        numbers = {arm: 6 + 4 * "ab".index(arm.label[0]) + round(1e3 * float(arm.values["train.lr"])) for arm in arms}
        losses = {arm: 1 + abs(math.log(float(arm.values["train.lr"]) / best[arm.label[0]])) for arm in arms}
        return [
            make_cell(seed=seed, steps=numbers[arm], loss=losses[arm], arm=arm) for arm in arms for seed in arm.seeds
        ]

    monkeypatch.setattr(launch_sweep, "prepare_cells", cells)
    monkeypatch.setattr(launch_sweep, "known_cards", lambda _: [])
    monkeypatch.setattr(launch_sweep, "read_arms", lambda *_: [Arm("a", (), (3, 4)), Arm("b", (), (3, 4))])
    monkeypatch.setattr(tuning, "call_aside", lambda function, arms: [2e-3 for _ in arms])
    sweep(["tune.lr=3"], SweepOptions(jobs=2), tmp_path / "runs")
    rates = ("0.001", "0.002", "0.004")
    assert ran[0] == [(f"{arm} train.lr={rate}", (3,)) for arm in "ab" for rate in rates]
    assert ran[1] == [("a train.lr=0.002", (3, 4)), ("b train.lr=0.004", (3, 4))]
    told = capsys.readouterr().out
    assert "a: train.lr=0.002 by validation loss (0.001: 1.693, 0.002: 1, 0.004: 1.693)\n" in told
    assert re.search(r"^b: train\.lr=0\.004 by .*; the best lies on the edge of the grid", told, re.MULTILINE)


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

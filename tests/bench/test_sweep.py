"""The same cells are run in every way, and each way has its multiple of the first."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from stbench.bench import sweep
from stbench.bench.sweep import ARMS, SEEDS, measure_cells_per_hour, rows_of


def test_a_speedup_is_over_one_run_after_the_other() -> None:
    cells = {"steps": 30, "cells": 4}
    assert rows_of({"run": 200.0, "sweep": 100.0}, **cells) == [
        {**cells, "way": "run", "seconds": 200.0, "cells_per_hour": 72.0, "speedup": 1.0},
        {**cells, "way": "sweep", "seconds": 100.0, "cells_per_hour": 144.0, "speedup": 2.0},
    ]


def test_every_way_runs_the_same_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiled ones after others have compiled; and nobody waits for what somebody compiled before."""
    commands: list[list[str]] = []

    def run(command: list[str], env: dict[str, str], **_: Any) -> None:
        commands.append(command[3:])
        assert env["TORCHINDUCTOR_CACHE_DIR"].endswith("compiled")

    monkeypatch.setattr(subprocess, "run", run)
    measured = measure_cells_per_hour()
    first, *others = commands
    assert "compile=default" in first and "seed=99" in first
    for steps, seeds in SEEDS.items():
        rows = [row for row in measured["rows"] if row["steps"] == steps]
        assert [row["way"] for row in rows] == [sweep.FIRST_WAY, *sweep.WAYS]
        own = [command for command in others if f"train.steps={steps}" in command]
        runs, sweeps = own[: rows[0]["cells"]], own[rows[0]["cells"] :]
        assert {(command[-4], command[-3]) for command in runs} == {
            (f"variant={arm}", f"seed={seed}") for arm in ARMS for seed in seeds
        }
        assert ["compile=default" in command for command in sweeps] == [False, True]
        assert len({command[-1] for command in own}) == 3, "no two ways share a folder"

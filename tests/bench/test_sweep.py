"""The same cells are run in every way, and each way has its multiple of the first."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from stbench.bench import sweep
from stbench.bench.sweep import ARMS, SEEDS, measure_cells_per_hour, rows_of


def test_a_speedup_is_over_one_run_after_the_other() -> None:
    assert rows_of({"run": 200.0, "sweep": 100.0}, cells=4) == [
        {"way": "run", "seconds": 200.0, "cells_per_hour": 72.0, "speedup": 1.0},
        {"way": "sweep", "seconds": 100.0, "cells_per_hour": 144.0, "speedup": 2.0},
    ]


def test_every_way_runs_the_same_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiled ones after others have compiled; and nobody waits for what somebody compiled before."""
    commands: list[list[str]] = []

    def run(command: list[str], env: dict[str, str], **_: Any) -> None:
        commands.append(command[3:])
        assert env["TORCHINDUCTOR_CACHE_DIR"].endswith("compiled")

    monkeypatch.setattr(subprocess, "run", run)
    measured = measure_cells_per_hour()
    assert [row["way"] for row in measured["rows"]] == ["stbench run, one after the other", *sweep.WAYS]
    runs, sweeps = commands[: measured["cells"]], commands[measured["cells"] :]
    assert {(command[-4], command[-3]) for command in runs} == {
        (f"variant={arm}", f"seed={seed}") for arm in ARMS for seed in SEEDS
    }
    assert [("compile=default" in command, "seed=99" in command) for command in sweeps] == [
        (True, True),
        (False, False),
        (True, False),
    ]
    assert len({command[-1] for command in commands}) == 4, "no two ways share a folder"

"""The line that stands at every comparison: budget, protocol and machine, by name where all share them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from stbench.records.store import find_records
from stbench.reports.context import context_of

MakeRun = Callable[..., Path]


def context(run: Path) -> str:
    return context_of([stored.record for stored in find_records([run.parent]).stored])


def test_what_all_share_is_named(make_run: MakeRun) -> None:
    make_run("a", 0, **{"training.wall_s": 1.0, "counts.params_total": 5})
    run = make_run("b", 0, **{"timing.train_step.median": 0.1})
    assert context(run) == "Compared at equal training steps; protocol protocol; machine Test CPU."


def test_what_they_do_not_share_is_counted(make_run: MakeRun, failed: dict[str, Any]) -> None:
    make_run("a", 0)
    make_run("b", 0, **{"config.train.steps": 80, "machine.gpu": "H200", "quality.protocol_hash": "other"})
    run = make_run("c", 0, **failed, machine=None)
    assert context(run) == "Compared at equal parameters; 2 protocols; 2 machines."

"""Labels that tell runs apart."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from stbench.errors import StbenchError
from stbench.reports.runs import load_runs

MakeRun = Callable[..., Path]


def test_seeds_share_a_label_and_a_colour(make_run: MakeRun) -> None:
    make_run("latte1", 0)
    run = make_run("latte1", 1)
    runs = load_runs([run.parent])
    assert runs.table["label"].tolist() == ["latte1", "latte1"]
    assert list(runs.colours) == ["latte1"]


def test_nothing_to_report_is_an_error() -> None:
    with pytest.raises(StbenchError, match="no run to report"):
        load_runs([])


def test_runs_of_one_group_share_a_label_whatever_else_differs(make_run: MakeRun) -> None:
    """Where a run is computed is not what it is: seeds on other devices are one variant, one row, one colour."""
    for seed, device in ((0, "auto"), (1, "cpu")):
        make_run("latte1", seed, group_hash="one", **{"config.device": device, "config.eval.batch_size": 2 + seed})
    run = make_run("latte2", 0)
    runs = load_runs([run.parent])
    assert runs.table["label"].tolist() == ["latte1", "latte1", "latte2"]
    assert runs.table["group"].nunique() == 2

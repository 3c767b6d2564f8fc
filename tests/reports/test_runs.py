"""Labels that tell runs apart."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from stbench.errors import StbenchError
from stbench.reports.runs import load_runs, read_file

MakeRun = Callable[..., Path]


def test_seeds_share_a_label_and_a_colour(make_run: MakeRun) -> None:
    make_run("latte1", 0)
    run = make_run("latte1", 1)
    runs = load_runs([run.parent])
    assert runs.frame()["label"].tolist() == ["latte1", "latte1"]
    assert list(runs.colours) == ["latte1"]


def test_nothing_to_report_is_an_error() -> None:
    with pytest.raises(StbenchError, match="no finished run to report"):
        load_runs([])


def test_runs_of_one_group_share_a_label_whatever_else_differs(make_run: MakeRun) -> None:
    """Where a run is computed is not what it is: seeds on other devices are one variant, one row, one colour."""
    for seed, device in ((0, "auto"), (1, "cpu")):
        make_run("latte1", seed, group_hash="one", **{"config.device": device, "config.eval.batch_size": 2 + seed})
    run = make_run("latte2", 0)
    runs = load_runs([run.parent])
    assert runs.frame()["label"].tolist() == ["latte1", "latte1", "latte2"]
    assert [len(group.records) for group in runs.groups] == [2, 1]


def test_runs_stand_by_variant_then_by_how_long_they_were_trained(make_run: MakeRun) -> None:
    for variant, steps, seed in (("b", 6, 0), ("a", 1200, 1), ("a", 1200, 0), ("a", 200, 0)):
        run = make_run(variant, seed, **{"config.train.steps": steps})
    reported = load_runs([run.parent])
    found = [(label, stored.record.config["seed"]) for label, stored in reported.labelled()]
    assert found == [("a steps=200", 0), ("a steps=1200", 0), ("a steps=1200", 1), ("b steps=6", 0)]


def test_a_damaged_file_is_said_and_one_that_is_not_kept_is_none(make_run: MakeRun) -> None:
    run = load_runs([make_run()]).stored[0]
    unread: list[str] = []

    def reader(path: Path) -> str:
        if path.name == "loss.csv":
            raise StbenchError(f"{path.name}: damaged")
        return path.name

    names = ("samples.npz", "loss.csv", "absent.npz", None, "../../elsewhere")
    assert [read_file(run, name, reader, unread) for name in names] == ["samples.npz", None, None, None, None]
    assert unread[0] == "loss.csv: damaged"
    assert "lies outside the run folder" in unread[1] and len(unread) == 2

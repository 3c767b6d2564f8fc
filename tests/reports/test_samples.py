"""Which strips of samples a report gets, and what is said of those that cannot be read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stbench.reports import samples
from stbench.reports.runs import load_runs
from stbench.reports.samples import SampleGrid, sample_grids
from stbench.storage.clips import Clips

MakeRun = Callable[..., Path]


def grids_of(folder: Path) -> list[SampleGrid]:
    """The grids of the runs in a folder, of which no file is damaged."""
    unread: list[str] = []
    grids = sample_grids(load_runs([folder]), unread)
    assert unread == []
    return grids


def test_samples_of_a_data_set_stand_under_its_real_clips(make_run: MakeRun) -> None:
    make_run("latte1", 0, 100.0)
    run = make_run("latte2", 1, **{"quality.fvd": None, "quality.refused": "too few clips"})
    [grid] = grids_of(run.parent)
    assert (grid.dataset, grid.columns) == ("shapes", ["circle", "square"] * 4)
    assert [(row.name, row.label, row.what, row.score) for row in grid.rows] == [
        ("shapes-00-real", "Real clips", "real clips", "the data set"),
        ("shapes-01-latte1-0", "latte1", "samples of latte1-0", "seed 0 · FVD[shapes3d] 100"),
        ("shapes-02-latte2-1", "latte2", "samples of latte2-1", "seed 1 · no FVD"),
    ]
    assert {(row.strip.width, row.strip.height) for row in grid.rows} == {(668, 80)}


def test_samples_of_none_of_the_real_clips_classes_are_shown(make_run: MakeRun) -> None:
    run = make_run("latte1")
    clips = np.zeros((2, 3, 16, 16, 3), np.uint8)
    Clips(clips, np.array([5, 6]), ("circle", "square")).save(run / "samples.npz")
    [grid] = grids_of(run)
    assert grid.columns == ["circle", "square"] * 4
    assert [row.label for row in grid.rows] == ["Real clips", "latte1"]


def test_each_data_set_has_strips_of_its_own_and_runs_without_samples_none(
    make_run: MakeRun, failed: dict[str, Any]
) -> None:
    make_run("latte1", **{"config.dataset.name": "clouds", "files": {"samples": "samples.npz"}})
    make_run("latte2", **failed)
    grids = grids_of(make_run("latte1").parent)
    assert [(grid.dataset, [row.label for row in grid.rows]) for grid in grids] == [
        ("clouds", ["latte1 dataset=clouds"]),
        ("shapes", ["Real clips", "latte1 dataset=shapes"]),
    ]


def test_damaged_clips_are_named_and_stop_no_other(make_run: MakeRun) -> None:
    """One flipped byte in a compressed array stopped the whole report."""
    for name, damage in (("a", b"PK"), ("b", None)):
        file = make_run(name) / "samples.npz"
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 0xFF
        file.write_bytes(damage or content)
    unread: list[str] = []
    [grid] = sample_grids(load_runs([make_run("c").parent]), unread)
    assert [row.label for row in grid.rows] == ["Real clips", "c"]
    assert len(unread) == 2 and all("samples.npz" in reason for reason in unread)


def test_a_seed_of_each_configuration_is_shown_and_the_rest_is_folded(make_run: MakeRun) -> None:
    steps = {f"samples_step_{step}": "samples.npz" for step in (200, 20)}
    make_run("latte1", 0, files={"samples": "samples.npz", "real": "real.npz", **steps})
    make_run("latte2", 0)
    [grid] = grids_of(make_run("latte1", 1).parent)
    assert [row.label for row in grid.rows] == ["Real clips", "latte1", "latte2"]
    assert {what: [(row.name, row.score) for row in more.rows] for what, more in grid.folded.items()} == {
        "Over training": [
            ("shapes-03-latte1-0-step-20", "seed 0 · step 20"),
            ("shapes-04-latte1-0-step-200", "seed 0 · step 200"),
        ],
        "Other runs": [("shapes-05-latte1-1", "seed 1 · FVD[shapes3d] 100")],
    }
    assert {tuple(more.columns) for more in grid.folded.values()} == {tuple(grid.columns)}


def test_of_many_only_so_many_are_shown_and_it_is_said(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples, "MOST_STRIPS", 2)
    for place, fvd in enumerate((30.0, 10.0, 20.0)):
        run = make_run(f"v{place}", 0, fvd)
    [grid] = grids_of(run.parent)
    assert [row.label for row in grid.rows] == ["Real clips", "v1", "v2"]  # the best
    assert [(what, [row.label for row in more.rows]) for what, more in grid.folded.items()] == [("Other runs", ["v0"])]
    make_run("v0", 1)
    [grid] = grids_of(make_run("v0", 2).parent)
    assert list(grid.folded) == ["Other runs, 2 of 3"]

"""Which plots and which strips of samples a report gets, and what is said of those that it cannot have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stbench.errors import StbenchError
from stbench.reports.figures import NEEDS, draw_plots, sample_grids
from stbench.reports.runs import load_runs
from stbench.storage.clips import Clips

MakeRun = Callable[..., Path]


def test_two_detectors_and_two_protocols_have_plots_of_their_own(make_run: MakeRun) -> None:
    make_run("latte1", 0)
    make_run("latte1", 1, **{"quality.protocol_hash": "protocol-b"})
    run = make_run("latte1", 2, **{"quality.detector": "i3d", "quality.protocol_hash": "c"})
    drawn, missing = draw_plots(load_runs([run.parent]))
    names = [plot.name for plot in drawn if "gmacs" in plot.name]
    assert len(names) == len(set(names)) == 3
    assert [name.split("-")[1] for name in names] == ["shapes3d", "shapes3d", "i3d"]
    titles = [plot.figure.axes[0].get_title(loc="left") for plot in drawn if "gmacs" in plot.name]
    assert titles[1] == "Quality against computation, protocol protocol-b"
    assert missing == []


def test_what_cannot_be_drawn_is_said(make_run: MakeRun, failed: dict[str, Any]) -> None:
    run = make_run("latte1", **failed)
    (run / "loss.csv").unlink()
    drawn, missing = draw_plots(load_runs([run]))
    assert drawn == []
    assert len(missing) == 5
    assert missing[0] == "No plot of FVD against computation: no run has both an FVD and counted GMACs."


def test_the_name_of_a_detector_does_not_hide_what_is_missing(make_run: MakeRun) -> None:
    run = make_run(**{"quality.detector": "my-loss-vs-memory", "quality.curve": [], "memory": None})
    (run / "loss.csv").unlink()
    _, missing = draw_plots(load_runs([run]))
    assert missing == [
        "No plot of FVD against memory: no run has both an FVD and a peak of memory.",
        "No plot of FVD over training: no run recorded it.",
        "No plot of training loss: no run kept its loss curve.",
    ]


def test_every_plot_has_a_kind_a_name_and_its_content_in_words(make_run: MakeRun) -> None:
    make_run("latte1", 0, 100.0)
    make_run("latte1", 1, 110.0)
    drawn, missing = draw_plots(load_runs([make_run("latte2", 0, 150.0).parent]))
    points = "latte1: FVD 105 at {0}; latte2: FVD 150 at {0}"
    assert [(plot.kind, plot.name, plot.alt) for plot in drawn] == [
        (
            "gmacs",
            "fvd-shapes3d-vs-gmacs",
            "Scatter plot of FVD[shapes3d] against GMACs. " + points.format("1.500 GMACs"),
        ),
        (
            "train-step",
            "fvd-shapes3d-vs-train-step",
            "Scatter plot of FVD[shapes3d] against ms a training step. " + points.format("30 ms a training step"),
        ),
        (
            "memory",
            "fvd-shapes3d-vs-memory",
            "Scatter plot of FVD[shapes3d] against MiB. " + points.format("500 MiB"),
        ),
        (
            "over-training",
            "fvd-shapes3d-16-over-training",
            "Curves of FVD[shapes3d] over training. latte1: from 900 to 120; latte1: from 900 to 132; "
            "latte2: from 900 to 180",
        ),
        (
            "loss",
            "loss",
            "Curves of training loss. latte1: from 1 to 0.02500; latte1: from 1 to 0.02500; latte2: from 1 to 0.02500",
        ),
    ]
    assert [plot.kind for plot in drawn] == list(NEEDS)
    assert missing == []


def test_two_machines_and_two_data_sets_have_plots_of_their_own(make_run: MakeRun) -> None:
    make_run("latte1")
    run = make_run("latte2", **{"machine.fingerprint": "box 2", "config.dataset.name": "clouds"})
    drawn, _ = draw_plots(load_runs([run.parent]))
    assert [plot.name for plot in drawn] == [
        "fvd-shapes3d-vs-gmacs",
        "fvd-shapes3d-vs-train-step-box-2",
        "fvd-shapes3d-vs-memory-box-2",
        "fvd-shapes3d-vs-train-step-box-1",
        "fvd-shapes3d-vs-memory-box-1",
        "fvd-shapes3d-16-over-training-clouds",
        "loss-clouds",
        "fvd-shapes3d-16-over-training-shapes",
        "loss-shapes",
    ]
    titles = [plot.figure.axes[0].get_title(loc="left") for plot in drawn]
    assert titles[1] == "Quality against training time, machine box 2"
    assert titles[-1] == "Training loss, shapes"


def test_memory_is_that_of_the_device_where_any_run_has_one(make_run: MakeRun) -> None:
    make_run("latte1")
    run = make_run("latte2", fvd=150.0, **{"memory.peak_allocated_mib": 300.0})
    drawn, _ = draw_plots(load_runs([run.parent]))
    [memory] = [plot for plot in drawn if plot.kind == "memory"]
    assert memory.figure.axes[0].get_xlabel() == "Peak allocated device memory (MiB)"
    assert memory.alt == "Scatter plot of FVD[shapes3d] against MiB. latte2: FVD 150 at 300 MiB"


def test_a_diverged_loss_is_drawn_up_to_its_last_number(make_run: MakeRun) -> None:
    run = make_run("latte1")
    (run / "loss.csv").write_text("step,loss\n0,2.0\n1,1.5\n2,inf\n3,nan\n")
    drawn, _ = draw_plots(load_runs([run]))
    assert drawn[-1].alt == "Curves of training loss. latte1: from 2 to 1.500"


def test_a_damaged_loss_curve_is_named(make_run: MakeRun) -> None:
    run = make_run("latte1")
    (run / "loss.csv").write_text("step,value\n0,2.0\n")
    with pytest.raises(StbenchError, match=r"loss\.csv: expected a CSV file with the columns step and loss: "):
        draw_plots(load_runs([run]))


def test_samples_of_a_data_set_stand_under_its_real_clips(make_run: MakeRun) -> None:
    make_run("latte1", 0, 100.0)
    run = make_run("latte2", 1, **{"quality.fvd": None, "quality.refused": "too few clips"})
    [grid] = sample_grids(load_runs([run.parent]))
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
    [grid] = sample_grids(load_runs([run]))
    assert grid.columns == ["circle", "square"] * 4
    assert [row.label for row in grid.rows] == ["Real clips", "latte1"]


def test_each_data_set_has_strips_of_its_own_and_runs_without_samples_none(
    make_run: MakeRun, failed: dict[str, Any]
) -> None:
    make_run("latte1", **{"config.dataset.name": "clouds", "files": {"samples": "samples.npz"}})
    make_run("latte2", **failed)
    grids = sample_grids(load_runs([make_run("latte1").parent]))
    assert [(grid.dataset, [row.label for row in grid.rows]) for grid in grids] == [
        ("clouds", ["latte1 dataset=clouds"]),
        ("shapes", ["Real clips", "latte1 dataset=shapes"]),
    ]

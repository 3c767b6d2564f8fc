"""Which plots a report gets, and what is said of those that it cannot have."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stbench.reports.drawing import to_svg
from stbench.reports.figures import CURVES, NEEDS, SECTIONS, draw_plots
from stbench.reports.plots import Plot
from stbench.reports.runs import load_runs

MakeRun = Callable[..., Path]


def drawn_of(folder: Path) -> tuple[list[Plot], list[str]]:
    """The plots of the runs in a folder, and what is missing; no file of theirs is damaged."""
    unread: list[str] = []
    drawn, missing = draw_plots(load_runs([folder]), unread)
    assert unread == []
    assert list(drawn) == list(SECTIONS)
    return [plot for plots in drawn.values() for plot in plots], missing


def test_two_detectors_and_two_protocols_have_plots_of_their_own(make_run: MakeRun) -> None:
    make_run("latte1", 0)
    make_run("latte1", 1, **{"quality.protocol_hash": "protocol-b"})
    run = make_run("latte1", 2, **{"quality.detector": "i3d", "quality.protocol_hash": "c"})
    drawn, missing = drawn_of(run.parent)
    names = [plot.name for plot in drawn if "gmacs" in plot.name]
    assert len(names) == len(set(names)) == 3
    assert [name.split("-")[1] for name in names] == ["shapes3d", "shapes3d", "i3d"]
    titles = [plot.figure.axes[0].get_title(loc="left") for plot in drawn if "gmacs" in plot.name]
    assert titles[1] == "FVD[shapes3d] against computation, protocol protocol-b"
    assert missing == [f"No plot of {NEEDS['validation']}."]


def test_what_cannot_be_drawn_is_said(make_run: MakeRun, failed: dict[str, Any]) -> None:
    run = make_run("latte1", **failed)
    (run / "loss.csv").unlink()
    drawn, missing = drawn_of(run)
    assert drawn == []
    assert len(missing) == len(NEEDS)
    assert missing[0] == "No plot of quality against computation: no run has both a quality and counted GMACs."


def test_the_name_of_a_detector_does_not_hide_what_is_missing(make_run: MakeRun) -> None:
    run = make_run(**{"quality.detector": "my-loss-vs-memory", "quality.curve": [], "memory": None})
    (run / "loss.csv").unlink()
    _, missing = drawn_of(run)
    assert missing == [
        "No plot of quality against memory: no run has both a quality and a peak of memory.",
        "No plot of validation loss over training: no run recorded it.",
        "No plot of FVD over training: no run recorded it.",
        "No plot of training loss: no run kept its loss curve.",
    ]


def test_every_plot_has_a_kind_a_name_and_its_content_in_words(make_run: MakeRun) -> None:
    make_run("latte1", 0, 100.0)
    make_run("latte1", 1, 110.0)
    drawn, missing = drawn_of(make_run("latte2", 0, 150.0).parent)
    points = "latte1: FVD[shapes3d] 105 [41.47, 168.5] over 2 seeds at {0}; latte2: FVD[shapes3d] 150 at {0}"
    assert [(plot.kind, plot.name, plot.alt) for plot in drawn] == [
        (
            "gmacs",
            "fvd-shapes3d-vs-gmacs",
            "Scatter plot of FVD[shapes3d] against GMACs. " + points.format("1.500 GMACs"),
        ),
        (
            "params",
            "fvd-shapes3d-vs-params",
            "Scatter plot of FVD[shapes3d] against M parameters. " + points.format("32.48 M parameters"),
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
            "Curves of FVD[shapes3d] of 16 clips over training. latte1: from 900 to 126; latte2: from 900 to 180",
        ),
        (
            "loss",
            "loss",
            "Curves of loss over training. latte1: from 1 to 0.02500; latte2: from 1 to 0.02500",
        ),
    ]
    assert [plot.kind for plot in drawn] == [kind for kind in NEEDS if kind != "validation"]
    assert missing == [f"No plot of {NEEDS['validation']}."]


def test_two_machines_and_two_data_sets_have_plots_of_their_own(make_run: MakeRun) -> None:
    make_run("latte1")
    run = make_run("latte2", **{"conditions.machine": "box 2", "config.dataset.name": "clouds"})
    drawn, _ = drawn_of(run.parent)
    assert [plot.name for plot in drawn] == [
        "fvd-shapes3d-vs-gmacs",
        "fvd-shapes3d-vs-params",
        "fvd-shapes3d-vs-train-step-machine-box-2",
        "fvd-shapes3d-vs-memory-machine-box-2",
        "fvd-shapes3d-vs-train-step-machine-box-1",
        "fvd-shapes3d-vs-memory-machine-box-1",
        "fvd-shapes3d-16-over-training-clouds",
        "loss-clouds",
        "fvd-shapes3d-16-over-training-shapes",
        "loss-shapes",
    ]
    titles = [plot.figure.axes[0].get_title(loc="left") for plot in drawn]
    assert titles[2] == "FVD[shapes3d] against training time, machine box 2"
    assert titles[-1] == "Training loss, running median, shapes"


def test_memory_is_that_of_the_device_where_any_run_has_one(make_run: MakeRun) -> None:
    make_run("latte1")
    run = make_run("latte2", fvd=150.0, **{"memory.peak_allocated_mib": 300.0})
    drawn, _ = drawn_of(run.parent)
    [memory] = [plot for plot in drawn if plot.kind == "memory"]
    assert memory.figure.axes[0].get_xlabel() == "Peak allocated device memory (MiB)"
    assert memory.alt == "Scatter plot of FVD[shapes3d] against MiB. latte2: FVD[shapes3d] 150 at 300 MiB"


def test_a_diverged_loss_is_drawn_up_to_its_last_number(make_run: MakeRun) -> None:
    run = make_run("latte1")
    (run / "loss.csv").write_text("step,loss\n0,2.0\n1,1.5\n2,inf\n3,nan\n")
    drawn, _ = drawn_of(run)
    assert drawn[-1].alt == "Curves of loss over training. latte1: from 2 to 1.500"


def test_a_damaged_loss_curve_is_named_and_stops_no_other(make_run: MakeRun) -> None:
    damaged = make_run("latte1")
    (damaged / "loss.csv").write_text("step,value\n0,2.0\n")
    (make_run("latte2") / "loss.csv").write_bytes(b"\xff\xfe")
    unread: list[str] = []
    drawn, _ = draw_plots(load_runs([make_run("latte3").parent]), unread)
    assert len(unread) == 2
    assert "loss.csv: expected a CSV file with the columns step and loss: " in unread[0]
    assert drawn[CURVES][-1].alt == "Curves of loss over training. latte3: from 1 to 0.02500"


def test_times_under_load_are_in_no_plot(make_run: MakeRun) -> None:
    make_run("a")
    drawn, _ = drawn_of(make_run("b", **{"timing.train_step.waited_share": 0.5}).parent)
    [times] = [plot for plot in drawn if plot.kind == "train-step"]
    assert "a: FVD[shapes3d]" in times.alt and "b: FVD[shapes3d]" not in times.alt


def test_where_every_time_was_taken_under_load_that_is_said(make_run: MakeRun) -> None:
    drawn, missing = drawn_of(make_run("b", **{"timing.train_step.waited_share": 0.5}))
    assert "train-step" not in {plot.kind for plot in drawn}
    assert missing == [f"No plot of {NEEDS[kind]}." for kind in ("train-step", "validation")]


def test_two_configurations_of_one_variant_have_marks_of_their_own(make_run: MakeRun) -> None:
    """Runs of 200 and of 1200 steps under one label were drawn as their mean."""
    many = {f"config.eval.setting_{i}": i for i in range(5)}
    make_run("latte1", 0, 93.0, **{"config.train.steps": 200})
    drawn, _ = drawn_of(make_run("latte1", 0, 13.2, **{"config.train.steps": 1200}, **many).parent)
    assert drawn[0].alt.endswith(
        "latte1 steps=200: FVD[shapes3d] 93 at 1.500 GMACs; latte1 steps=1200: FVD[shapes3d] 13.20 at 1.500 GMACs"
    )


def test_intervals_are_in_the_words_and_references_in_the_plot(make_run: MakeRun) -> None:
    figures = {"quality.fvd_interval": [90.0, 110.5], "quality.fvd_untrained": 900.0, "quality.fvd_real_vs_real": 2.5}
    drawn, _ = drawn_of(make_run(**figures))
    assert drawn[0].alt.endswith("latte1: FVD[shapes3d] 100 [90, 110.5] at 1.500 GMACs")
    texts = [text.get_text() for text in drawn[0].figure.axes[0].texts]
    assert texts == ["untrained", "real against real", "latte1"]


@pytest.mark.filterwarnings("error")
def test_many_configurations_with_long_names_are_drawn_without_a_warning(make_run: MakeRun) -> None:
    for index in range(12):
        name = f"a_variant_with_a_name_of_some_length_{index}"
        run = make_run(name, 0, 100.0 + index, **{"config.train.lr": 0.1 / (1 + index)})
    for plot in drawn_of(run.parent)[0]:
        plot.figure.canvas.draw()
        width, height = plot.figure.bbox.width, plot.figure.bbox.height
        axes = plot.figure.axes[0].get_window_extent()
        assert axes.width > width / 3 and axes.height > height / 2
        for text in plot.figure.axes[0].texts:
            box = text.get_window_extent()
            assert box.x0 >= 0 and box.x1 <= width + 1 and box.y0 >= 0 and box.y1 <= height + 1, text.get_text()


def test_parts_of_the_operations_are_bars_that_tell_their_share(make_run: MakeRun) -> None:
    run = make_run("latte1", **{"counts.gmacs_by_part": {"blocks": 3.0, "": 1.0}})
    [parts] = [plot for plot in drawn_of(run)[0] if plot.kind == "parts"]
    assert parts.alt == "Bars of GMACs by part. latte1: blocks takes most"
    assert re.findall(r'aria-label="([^"]+)"', to_svg(parts.figure)) == [
        "latte1, blocks: 3 GMACs, 75 %",
        "latte1, (outside its parts): 1 GMACs, 25 %",
    ]


def test_more_parts_than_colours_are_drawn_with_the_smallest_as_one(make_run: MakeRun) -> None:
    """No two parts of a bar share a colour, and the legend of many parts leaves room for the bars."""
    many = {"first": 50.0, **{f"part {number}": 1.0 + number for number in range(30)}}
    run = make_run("latte1", **{"counts.gmacs_by_part": many})
    [parts] = [plot for plot in drawn_of(run)[0] if plot.kind == "parts"]
    told = re.findall(r'aria-label="latte1, ([^"]+): ([0-9.]+) GMACs', to_svg(parts.figure))
    assert told[0] == ("first", "50")
    assert told[-1] == ("(smaller parts)", f"{sum(range(1, 25)):g}")
    assert len(parts.figure.legends[0].get_texts()) == len(told) == 8

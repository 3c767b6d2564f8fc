"""What the plots say: axes with units, the detector's name, labels that do not overlap."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

from stbench.reports import drawing, plots
from stbench.reports.figures import draw_plots
from stbench.reports.plots import Curve
from stbench.reports.runs import load_runs

MakeRun = Callable[..., Path]


def texts(figure: Figure) -> list[str]:
    return [child.get_text() for child in figure.axes[0].texts]


@pytest.mark.parametrize(
    ("plot", "axis"),
    [
        (plots.fvd_against_gmacs, "Cost of one forward pass (GMACs; 1 MAC = 2 FLOPs)"),
        (plots.fvd_against_train_step, "Training step (ms, median)"),
        (plots.fvd_against_memory, "Peak resident memory of the process (MiB)"),
    ],
)
def test_axes_name_units_and_the_detector(plot: Callable[..., Figure], axis: str, make_run: MakeRun) -> None:
    make_run("latte1", 0, 100.0)
    make_run("latte1", 1, 110.0)
    study = load_runs([make_run("latte2", 0, 150.0).parent])
    axes = plot(study.table, "shapes3d", study.colours).axes[0]
    assert axes.get_xlabel() == axis
    assert axes.get_ylabel() == "FVD[shapes3d], lower is better"
    assert [text.get_text() for text in axes.texts] == ["latte1", "latte2"]
    means = [line.get_ydata()[0] for line in axes.lines if line.get_markersize() == 9]
    assert means == [105, 150]


def test_run_without_score_is_marked(make_run: MakeRun, failed: dict[str, Any]) -> None:
    make_run("latte1")
    study = load_runs([make_run("latte2", **failed).parent])
    figure = plots.fvd_against_gmacs(study.table, "shapes3d", study.colours)
    assert texts(figure) == ["latte2: no FVD (oom)", "latte1"]


def test_curve_of_a_failed_run_says_so() -> None:
    curves = [Curve("a", [0, 1, 2], [3.0, 2.0, 1.0]), Curve("a", [0, 1], [3.0, 2.5], "nan")]
    assert texts(plots.loss_curves(curves, {"a": "#000000"})) == ["nan", "a"]


def test_hostile_label_is_plain_text() -> None:
    curve = Curve("$\\frac{<script>", [0, 1], [2.0, 1.0])
    svg = drawing.to_inline_svg(plots.loss_curves([curve], {curve.label: "#000000"}))
    assert "<script>" not in svg
    assert "$\\frac{&lt;script&gt;" in svg


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

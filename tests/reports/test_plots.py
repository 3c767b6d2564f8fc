"""What the plots say: axes with units, the detector's name, labels that do not overlap."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Annotation

from stbench.reports import drawing, plots
from stbench.reports.plots import Curve
from stbench.reports.runs import load_runs

MakeRun = Callable[..., Path]


def texts(figure: Figure) -> list[str]:
    return [child.get_text() for child in figure.axes[0].texts]


@pytest.mark.parametrize(
    ("cost", "title", "axis"),
    [
        ("gmacs", "Quality against computation", "Cost of one forward pass (GMACs; 1 MAC = 2 FLOPs)"),
        ("train_step_ms", "Quality against training time", "Training step (ms, median)"),
        ("peak_rss_mib", "Quality against memory", "Peak resident memory of the process (MiB)"),
        ("peak_allocated_mib", "Quality against memory", "Peak allocated device memory (MiB)"),
    ],
)
def test_axes_name_units_and_the_detector(cost: str, title: str, axis: str, make_run: MakeRun) -> None:
    device = {"memory.peak_allocated_mib": 300.0}
    make_run("latte1", 0, 100.0, **device)
    make_run("latte1", 1, 110.0, **device)
    reported = load_runs([make_run("latte2", 0, 150.0, **device).parent])
    axes = plots.fvd_against(reported.table, "shapes3d", cost, reported.colours, ", here").axes[0]
    assert axes.get_title(loc="left") == f"{title}, here"
    assert axes.get_xlabel() == axis
    assert axes.get_ylabel() == "FVD[shapes3d], lower is better"
    assert [text.get_text() for text in axes.texts] == ["latte1", "latte2"]
    means = [line.get_ydata()[0] for line in axes.lines if line.get_markersize() == 9]
    assert means == [105, 150]
    assert [line.get_ydata().tolist() for line in axes.lines if line.get_alpha()] == [[100, 110]]  # single seeds


def test_run_without_score_is_marked(make_run: MakeRun, failed: dict[str, Any]) -> None:
    make_run("latte1")
    study = load_runs([make_run("latte2", **failed).parent])
    figure = plots.fvd_against(study.table, "shapes3d", "gmacs", study.colours)
    assert texts(figure) == ["latte2: no FVD (oom)", "latte1"]


def test_curve_of_a_failed_run_says_so() -> None:
    curves = [Curve("a", [0, 1, 2], [3.0, 2.0, 1.0]), Curve("a", [0, 1], [3.0, 2.5], "nan")]
    assert texts(plots.loss_curves(curves, {"a": "#000000"})) == ["nan", "a"]


def test_loss_is_shown_step_by_step_and_as_a_running_median() -> None:
    steps = list(range(50))
    curve = Curve("a", steps, [1.0] * 25 + [9.0] + [1.0] * 24)
    figure = plots.loss_curves([curve], {"a": "#123456"}, ", shapes")
    faint, firm = figure.axes[0].lines
    assert figure.axes[0].get_title(loc="left") == "Training loss, shapes"
    assert (figure.axes[0].get_xlabel(), figure.axes[0].get_ylabel()) == ("Training step", "Loss")
    assert np.asarray(faint.get_ydata()).tolist() == list(curve.values)
    # The median over two steps: half of the single outlier, at the two places that hold it.
    assert np.asarray(firm.get_ydata()).tolist() == [1.0] * 25 + [5.0, 5.0] + [1.0] * 23
    assert {faint.get_color(), firm.get_color()} == {"#123456"}


def test_fvd_over_training_names_what_a_point_is() -> None:
    figure = plots.fvd_over_training([Curve("a", [0, 10], [100.0, 1.0])], "i3d", 16, {"a": "#000000"})
    axes = figure.axes[0]
    assert axes.get_title(loc="left") == "FVD over training (EMA weights)"
    assert (axes.get_xlabel(), axes.get_ylabel()) == (
        "Training step (0: untrained)",
        "FVD[i3d] of 16 clips, lower is better",
    )
    assert axes.get_yscale() == "log"
    assert np.asarray(axes.lines[0].get_xydata()).tolist() == [[0.0, 100.0], [10.0, 1.0]]


def test_seeds_of_one_label_share_its_name_at_their_mean_height() -> None:
    curves = [Curve("a", [0, 10], [4.0, 1.0]), Curve("a", [0, 10], [4.0, 3.0]), Curve("a", [0, 5], [4.0, 2.5])]
    figure = plots.fvd_over_training(curves, "i3d", 16, {"a": "#000000"})
    labels = [child for child in figure.axes[0].texts if isinstance(child, Annotation)]
    assert [(label.get_text(), label.xy) for label in labels] == [("a", (10.0, 2.0))]


def test_ratios_stand_one_a_line_in_the_colour_of_their_verdict() -> None:
    figure = plots.ratios([("FVD", 1.2, "worse"), ("KVD", 0.5, "better"), ("GMACs", 1.0, "same")])
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["FVD", "KVD", "GMACs"]
    assert texts(figure) == ["1.2 worse", "0.5 better", "1 same"]
    assert [text.get_color() for text in axes.texts] == ["#D55E00", "#009E73", drawing.NEUTRAL]
    assert axes.get_ylim()[0] > axes.get_ylim()[1]  # the first line is on top
    assert axes.get_xscale() == "log"

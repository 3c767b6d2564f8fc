"""What the plots say: axes with units, the detector's name, labels that do not overlap."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Annotation

from stbench.reports import drawing, plots
from stbench.reports.plots import Curve, Mark, Unscored


def texts(figure: Figure) -> list[str]:
    return [child.get_text() for child in figure.axes[0].texts]


COLOURS = {"latte1": "#0072B2", "latte2": "#D55E00"}
MARKS = [Mark("latte1", 1.5, 105.0, (41.5, 168.5), (100.0, 110.0)), Mark("latte2", 1.4, 150.0, None, (150.0,))]


def against(
    marks: Sequence[Mark], unscored: Sequence[Unscored] = (), references: Mapping[str, float] | None = None
) -> Axes:
    figure = plots.fvd_against(marks, unscored, references or {}, "shapes3d", plots.COSTS["gmacs"], COLOURS, ", here")
    return figure.axes[0]


@pytest.mark.parametrize(
    ("cost", "title", "axis"),
    [
        ("gmacs", "Quality against computation", "GMACs per clip and forward pass (1 MAC = 2 FLOPs)"),
        ("train_step_ms", "Quality against training time", "Training step (ms, median)"),
        ("peak_rss_mib", "Quality against memory", "Peak resident memory of the process (MiB)"),
        ("peak_allocated_mib", "Quality against memory", "Peak allocated device memory (MiB)"),
    ],
)
def test_axes_name_units_and_the_detector(cost: str, title: str, axis: str) -> None:
    axes = plots.fvd_against(MARKS, [], {}, "shapes3d", plots.COSTS[cost], COLOURS, ", here").axes[0]
    assert axes.get_title(loc="left") == f"{title}, here"
    assert axes.get_xlabel() == axis
    assert axes.get_ylabel() == "FVD[shapes3d], lower is better"


def test_means_single_seeds_and_intervals_are_drawn() -> None:
    axes = against(MARKS)
    assert [text.get_text() for text in axes.texts] == ["latte1", "latte2"]
    drawn = [(line.get_markersize(), np.asarray(line.get_ydata()).tolist()) for line in axes.lines]
    assert drawn == [(8, [41.5, 168.5]), (5, [100, 110]), (9, [105]), (9, [150])]


def test_axes_begin_at_zero_so_that_a_difference_keeps_its_size() -> None:
    """Two dots at 12.7 and 13.2 stood in opposite corners."""
    axes = against([Mark("latte1", 631.0, 13.2, (10.0, 15.0), (13.2,)), Mark("latte2", 638.0, 12.7, None, (12.7,))])
    assert axes.get_xlim() == pytest.approx((0, 1.15 * 638))
    assert axes.get_ylim() == pytest.approx((0, 1.15 * 15))


def test_references_are_lines_within_the_axes() -> None:
    axes = against(MARKS, references={"untrained": 900.0, "real against real": 2.5})
    assert axes.get_yscale() == "log"
    low, high = axes.get_ylim()
    assert low < 2.5 and high > 900
    assert [text.get_text() for text in axes.texts][:2] == ["untrained", "real against real"]


def test_a_run_without_a_score_stands_on_the_upper_edge() -> None:
    axes = against(MARKS, [Unscored("latte2", 1.0, {"oom": 1, "finished": 1})])
    assert [text.get_text() for text in axes.texts][2:] == ["latte2: no FVD (oom)", "latte2: no FVD"]
    edge = [line for line in axes.lines if line.get_marker() == "s"]
    assert [np.asarray(line.get_xydata()).tolist() for line in edge] == [[[1.0, axes.get_ylim()[1]]]]


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

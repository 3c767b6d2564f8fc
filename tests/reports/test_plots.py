"""What the plots say: axes with units, the detector's name, labels that do not overlap."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stbench.reports import drawing, plots
from stbench.reports.plots import Mark, Unscored
from stbench.reports.seed_bands import Band


def texts(figure: Figure) -> list[str]:
    return [child.get_text() for child in figure.axes[0].texts]


COLOURS = {"latte1": "#0072B2", "latte2": "#D55E00"}
MARKS = [Mark("latte1", 1.5, 105.0, (41.5, 168.5), (100.0, 110.0)), Mark("latte2", 1.4, 150.0, None, (150.0,))]


def against(
    marks: Sequence[Mark], unscored: Sequence[Unscored] = (), references: Mapping[str, float] | None = None
) -> Axes:
    figure = plots.quality_against(
        marks, unscored, references or {}, "FVD[shapes3d]", plots.COSTS["gmacs"], COLOURS, ", here"
    )
    return figure.axes[0]


@pytest.mark.parametrize(
    ("cost", "title", "axis"),
    [
        ("gmacs", "FVD[shapes3d] against computation", "GMACs per clip and forward pass (1 MAC = 2 FLOPs)"),
        ("params_m", "FVD[shapes3d] against parameters", "Parameters (M)"),
        ("train_step_ms", "FVD[shapes3d] against training time", "Training step (ms, median)"),
        ("peak_rss_mib", "FVD[shapes3d] against memory", "Peak resident memory of the process (MiB)"),
        ("peak_allocated_mib", "FVD[shapes3d] against memory", "Peak allocated device memory (MiB)"),
    ],
)
def test_axes_name_units_and_the_detector(cost: str, title: str, axis: str) -> None:
    axes = plots.quality_against(MARKS, [], {}, "FVD[shapes3d]", plots.COSTS[cost], COLOURS, ", here").axes[0]
    assert axes.get_title(loc="left") == f"{title}, here"
    assert axes.get_xlabel() == axis
    assert axes.get_ylabel() == "FVD[shapes3d], lower is better"


def test_means_single_seeds_and_intervals_are_drawn() -> None:
    axes = against(MARKS)
    assert [text.get_text() for text in axes.texts] == ["latte1", "latte2"]
    step, *means = axes.lines
    assert [np.asarray(line.get_xydata()).tolist() for line in means] == [[[1.5, 105.0]], [[1.4, 150.0]]]
    intervals, seeds = axes.collections
    assert [path.vertices.tolist() for path in intervals.get_paths()] == [[[1.5, 41.5], [1.5, 168.5]]]
    assert np.asarray(seeds.get_offsets()).tolist() == [[1.5, 100.0], [1.5, 110.0]]
    # Neither is cheaper and better than the other: both are on the front.
    assert np.asarray(step.get_xydata()).tolist() == [[1.4, 150.0], [1.5, 150.0], [1.5, 105.0]]


def test_every_mark_tells_its_values() -> None:
    svg = drawing.to_svg(against(MARKS, [Unscored("latte2", 1.0, {"oom": 1})]).figure)  # type: ignore[arg-type]
    assert re.findall(r'aria-label="([^"]+)"', svg) == [
        "latte1: FVD[shapes3d] 105 [41.50, 168.5] over 2 seeds at 1.500 GMACs, on the front",
        "latte2: FVD[shapes3d] 150 at 1.400 GMACs, on the front",
        "latte2: no FVD[shapes3d] (oom)",
    ]


def test_of_many_configurations_only_the_front_is_named() -> None:
    marks = [Mark("latte1" if i else "latte2", 1.0 + i, 100.0 + i, None, (100.0 + i,)) for i in range(20)]
    assert [text.get_text() for text in against(marks).texts] == ["latte2"]


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
    assert [text.get_text() for text in axes.texts][2:] == [
        "latte2: no FVD[shapes3d]\n(oom)",
        "latte2: no FVD[shapes3d]",
    ]
    edge = [line for line in axes.lines if line.get_marker() == "s"]
    assert [np.asarray(line.get_xydata()).tolist() for line in edge] == [[[1.0, axes.get_ylim()[1]]]]


BANDS = [
    Band("latte1", [0, 10], [100.0, 2.0], [90.0, 1.0], [110.0, 3.0], [2, 2], []),
    Band("latte2", [0, 10], [100.0, 1.0], [100.0, 1.0], [100.0, 1.0], [1, 1], [(10, 1.0, "nan")]),
]


def test_curves_are_means_in_a_band_of_seeds() -> None:
    axes = plots.training_curves(BANDS, "FVD over training", "FVD[i3d] of 16 clips", COLOURS).axes[0]
    assert axes.get_title(loc="left") == "FVD over training"
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_yscale()) == ("Training step", "FVD[i3d] of 16 clips", "log")
    [band] = axes.collections  # one seed has none
    corners = {tuple(corner) for corner in band.get_paths()[0].vertices.tolist()}
    assert corners == {(0, 90), (10, 1), (10, 3), (0, 110)}
    lines = [np.asarray(line.get_xydata()).tolist() for line in axes.lines if np.asarray(line.get_xdata()).size > 1]
    assert lines == [[[0, 100], [10, 2]], [[0, 100], [10, 1]]]
    assert [text.get_text() for text in axes.texts] == ["nan", "latte1", "latte2"]


def test_points_of_a_curve_tell_their_seeds_and_those_of_a_smoothed_one_only_the_last() -> None:
    said = [
        "latte1 at step 0: FVD 100, 90 to 110 over 2 seeds",
        "latte1 at step 10: FVD 2, 1 to 3 over 2 seeds",
        "latte2 at step 0: FVD 100",
        "latte2 at step 10: FVD 1",
    ]
    for points, expected in ((True, said), (False, said[1::2])):
        svg = drawing.to_svg(plots.training_curves(BANDS, "Curves", "FVD", COLOURS, points=points))
        assert re.findall(r'aria-label="([^"]+)"', svg) == expected


def test_curves_of_one_colour_are_told_apart_by_their_dashes() -> None:
    axes = plots.training_curves(BANDS, "Curves", "FVD", {"latte1": "#0072B2", "latte2": "#0072B2"}).axes[0]
    assert [line.get_linestyle() for line in axes.lines if np.asarray(line.get_xdata()).size > 1] == ["-", "--"]


def test_ratios_stand_one_a_line_in_the_colour_of_their_verdict() -> None:
    figure = plots.ratios([("FVD", 1.2, "worse"), ("KVD", 0.5, "better"), ("GMACs", 1.0, "same")])
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["FVD", "KVD", "GMACs"]
    assert texts(figure) == ["1.2 worse", "0.5 better", "1 same"]
    assert [text.get_color() for text in axes.texts] == ["#D55E00", "#009E73", drawing.NEUTRAL]
    assert axes.get_ylim()[0] > axes.get_ylim()[1]  # the first line is on top
    assert axes.get_xscale() == "log"

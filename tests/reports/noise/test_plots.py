"""The plots of a noise study: its curves, the theory, and what they say where there is nothing to draw."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from stbench.reports.noise.plots import bias_plot, response_plot

Make = Callable[..., dict[str, Any]]


STATIC = ("gaussian_noise", "blur", "salt_and_pepper", "black_rectangles")


def texts(figure: Figure, panel: int) -> list[str]:
    return [text.get_text() for text in figure.axes[panel].texts]


def test_responses_stand_side_by_side_from_a_common_floor(noise: Make) -> None:
    figure = response_plot(noise(), "shapes3d")
    static, temporal = figure.axes
    assert [axes.get_title(loc="left") for axes in (static, temporal)] == ["Damage to frames", "Damage to their order"]
    assert static.get_ylabel() == "FVD[shapes3d]"
    assert static.get_ylim() == temporal.get_ylim()
    assert static.get_yscale() == "log"
    assert texts(figure, 0)[0] == "undistorted, 128 clips: 1"
    assert set(texts(figure, 0)[1:]) == {name.replace("_", " ") for name in STATIC}
    colours = set()
    for axes in (static, temporal):
        floor, *curves = axes.lines
        assert np.asarray(floor.get_ydata()).tolist() == [1.0, 1.0]
        for curve in curves:
            assert curve.get_xydata()[0].tolist() == [0.0, 1.0]
            colours.add(curve.get_color())
    assert len(colours) == 8


def test_a_distance_below_zero_has_a_linear_axis(noise: Make) -> None:
    figure = response_plot(noise("kvd", floor=-0.01), "shapes3d")
    assert figure.axes[0].get_yscale() == "linear"
    assert figure.axes[0].get_ylabel() == "KVD[shapes3d]"


def test_bias_has_the_theory_and_the_refused_sizes(bias: Make) -> None:
    figure = bias_plot(bias(), "shapes3d")
    fvd, infinity, kvd = figure.axes
    pairs, means, theory = fvd.lines
    assert means.get_ydata().tolist() == [20, 10, 5, 2.5]
    assert theory.get_ydata().tolist() == [600 / n for n in (32, 64, 128, 256)]
    assert np.asarray(pairs.get_xdata()).shape == (8,)
    assert (fvd.get_xscale(), fvd.get_yscale()) == ("log", "log")
    assert texts(figure, 0) == ["dashed: 600 / N, expected of Gaussians", "N ≤ 64: refused"]
    assert texts(figure, 1) == ["FVD", "FVD∞, real side fixed", "FVD∞"]
    assert "N ≤ 30: refused" not in texts(bias_plot(bias(dim=30), "shapes3d"), 0)
    assert kvd.get_ylabel() == "KVD[shapes3d], unbiased"
    assert {axes.get_xlabel() for axes in (fvd, infinity, kvd)} == {"Clips on each side, N"}


def test_without_extrapolation_the_plot_says_what_it_needs(bias: Make) -> None:
    assert texts(bias_plot(bias(infinity=False), "shapes3d"), 1) == ["FVD∞ needs 256 on each side"]


def test_a_label_stands_at_the_end_of_each_curve_in_its_colour(noise: Make) -> None:
    temporal = response_plot(noise(), "shapes3d").axes[1]
    curves, labels = temporal.lines[1:], temporal.texts[1:]
    assert [label.get_text() for label in labels] == ["local swap", "global swap", "interleave", "switch"]
    assert [label.get_color() for label in labels] == [curve.get_color() for curve in curves]
    assert [curve.get_xydata()[-1].tolist() for curve in curves] == [[1.0, value] for value in (51, 61, 71, 81)]


def test_every_second_size_is_written(bias: Make) -> None:
    few = bias_plot(bias(), "shapes3d").axes[2]
    assert few.get_xticks().tolist() == [32, 64, 128, 256]
    more = bias()
    more["by_size"] = [{**more["by_size"][0], "n": 16}, *more["by_size"]]
    assert bias_plot(more, "shapes3d").axes[2].get_xticks().tolist() == [256, 64, 16]


def test_means_have_bars_of_one_standard_deviation(bias: Make) -> None:
    kvd = bias_plot(bias(), "shapes3d").axes[2]
    [bars] = [drawn for drawn in kvd.collections if isinstance(drawn, LineCollection)]
    assert [part.tolist() for part in bars.get_segments()] == [[[n, -0.5], [n, 0.5]] for n in (32, 64, 128, 256)]


def test_what_is_not_of_clips_says_so(bias: Make) -> None:
    figure = bias_plot(bias(), "N(0, I), d = 40", "Samples")
    assert {axes.get_xlabel() for axes in figure.axes} == {"Samples on each side, N"}
    assert [axes.get_ylabel() for axes in figure.axes] == [
        "FVD[N(0, I), d = 40]",
        "FVD and FVD∞[N(0, I), d = 40]",
        "KVD[N(0, I), d = 40], unbiased",
    ]

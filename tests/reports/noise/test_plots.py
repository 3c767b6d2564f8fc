"""The plots of a noise study: its curves, the theory, and what they say where there is nothing to draw."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
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
    assert texts(figure, 1) == ["FVD∞", "FVD∞, real side fixed", "FVD"]
    assert "N ≤ 30: refused" not in texts(bias_plot(bias(dim=30), "shapes3d"), 0)
    assert kvd.get_ylabel() == "KVD[shapes3d], unbiased"
    assert {axes.get_xlabel() for axes in (fvd, infinity, kvd)} == {"Clips on each side, N"}


def test_without_extrapolation_the_plot_says_what_it_needs(bias: Make) -> None:
    assert texts(bias_plot(bias(infinity=False), "shapes3d"), 1) == ["FVD∞ needs 256 on each side"]

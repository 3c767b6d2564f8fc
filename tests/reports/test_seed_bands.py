"""Curves of seeds put together: means, bands, how many seeds a step has, and running medians."""

from __future__ import annotations

from stbench.reports.seed_bands import SMOOTHED_POINTS, Band, Curve, seed_bands


def test_curves_of_one_label_are_a_mean_with_a_band() -> None:
    curves = [
        Curve("a", [0, 10], [4.0, 1.0]),
        Curve("b", [0], [7.0]),
        Curve("a", [0, 10], [8.0, 3.0]),
        Curve("a", [0, 5], [6.0, 2.5], "nan"),
    ]
    assert seed_bands(curves) == [
        Band("a", [0, 5, 10], [6.0, 2.5, 2.0], [4.0, 2.5, 1.0], [8.0, 2.5, 3.0], [3, 1, 2], [(5, 2.5, "nan")]),
        Band("b", [0], [7.0], [7.0], [7.0], [1], []),
    ]


def test_a_running_median_over_a_25th_of_the_curve() -> None:
    curve = Curve("a", list(range(50)), [1.0] * 25 + [9.0] + [1.0] * 24, "oom")
    smoothed = curve.smoothed()
    # The median over two steps: half of the single outlier, at the two places that hold it.
    assert (smoothed.steps, smoothed.status) == (curve.steps, "oom")
    assert smoothed.values == [1.0] * 25 + [5.0, 5.0] + [1.0] * 23


def test_a_long_curve_is_thinned_and_keeps_its_ends() -> None:
    smoothed = Curve("a", list(range(5000)), [float(i) for i in range(5000)]).smoothed()
    assert len(smoothed.steps) == len(smoothed.values) == SMOOTHED_POINTS
    assert (smoothed.steps[0], smoothed.steps[-1]) == (0, 4999)

"""Plots of the study of a metric: its answer to each distortion, and its bias against the number of clips."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator

from stbench.reports.drawing import INK, NEUTRAL, RULE, STYLE, End, dress_axes, format_tick, label_points
from stbench.reports.noise.findings import curves, plain
from stbench.reports.runs import PALETTE
from stbench.reports.tables import METRIC_NAMES
from stbench.reports.text import format_number

# Two more than there are elsewhere: eight distortions, one colour each.
COLOURS = (*PALETTE, "#882255", NEUTRAL)
KINDS = {"static": "Damage to frames", "temporal": "Damage to their order"}


@matplotlib.rc_context(STYLE)
def response_plot(noise: Mapping[str, Any], detector: str) -> Figure:
    """Plot the distance over the strength of every distortion, static and temporal ones side by side.

    Args:
        noise: the section of a study.
        detector: whose features the distance is taken on.
    """
    figure = Figure(figsize=(11.6, 4.3), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, 2, sharey=True)
    name, floor = noise["figure"], noise["floor"]
    positive = all(row[name] > 0 for row in noise["rows"])
    drawn = list(zip(curves(noise).items(), COLOURS, strict=True))
    for axes, (kind, title) in zip(panels, KINDS.items(), strict=True):
        y_axis = f"{METRIC_NAMES[name]}[{detector}]" if kind == "static" else ""
        dress_axes(axes, title, "Strength of the distortion", y_axis)
        axes.axhline(floor, color=NEUTRAL, linewidth=1.2, linestyle="--")
        ends: list[End] = []
        for (distortion, curve), colour in drawn:
            if curve[-1]["kind"] == kind:
                strengths, values = ([row[key] for row in curve] for key in ("strength", name))
                axes.plot(strengths, values, color=colour, linewidth=1.8, marker=".", markersize=8)
                ends.append((strengths[-1], values[-1], plain(distortion), colour))
        if positive:
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator())
            axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(FuncFormatter(format_tick))
        axes.set_xlim(-0.02, 1.02)
        text = f"undistorted, {noise['rows'][0]['n']} clips: {format_number(floor)}"
        axes.annotate(text, (1, floor), (0, 5), textcoords="offset points", color=NEUTRAL, ha="right")
        label_points(axes, ends, outside=True)
    return figure


@matplotlib.rc_context(STYLE)
def bias_plot(bias: Mapping[str, Any], subject: str, unit: str = "Clips") -> Figure:
    """Plot the distances between two samples of one distribution over their size: FVD, FVD∞ and KVD.

    Args:
        bias: the section of a study.
        subject: what the samples are of.
        unit: what a sample consists of.
    """
    figure = Figure(figsize=(14.4, 4.1), layout="constrained")
    FigureCanvasAgg(figure)
    fvd, infinity, kvd = figure.subplots(1, 3)
    means = bias["by_size"]
    extrapolated = [row for row in means if row["fvd_inf"] is not None]
    x_axis = f"{unit} on each side, N"
    dress_axes(fvd, "FVD falls as 1/N", x_axis, f"FVD[{subject}]")
    dress_axes(infinity, "FVD∞ takes the bias away", x_axis, f"FVD and FVD∞[{subject}]")
    dress_axes(kvd, "KVD has none", x_axis, f"KVD[{subject}], unbiased")
    _size_axis(fvd, means)
    _size_axis(infinity, extrapolated)
    _size_axis(kvd, means)
    _fvd_panel(fvd, bias)
    if extrapolated:
        infinity.axhline(0, color=INK, linewidth=0.8)
        figures = {"fvd": "FVD", "fvd_inf_real_fixed": "FVD∞, real side fixed", "fvd_inf": "FVD∞"}
        shifts = (0.96, 1.0, 1.04)  # side by side, so that the bars do not hide one another
        drawn = zip(figures.items(), PALETTE, shifts, strict=False)
        ends = [_spread(infinity, extrapolated, *named, colour, shift) for named, colour, shift in drawn]
        label_points(infinity, ends, outside=True)
    else:
        needed = f"FVD∞ needs {4 * bias['dim']} on each side"  # see `metrics.intervals.min_samples_at_infinity`
        infinity.annotate(needed, (0.5, 0.5), xycoords="axes fraction", ha="center", color=NEUTRAL)
    kvd.axhline(0, color=INK, linewidth=0.8)
    _spread(kvd, means, "kvd", "", PALETTE[3])
    for axes in (fvd, infinity, kvd):
        axes.yaxis.set_major_formatter(FuncFormatter(format_tick))
        axes.yaxis.set_minor_formatter(NullFormatter())
    return figure


def _size_axis(axes: Axes, means: Sequence[Mapping[str, Any]]) -> None:
    """Make the axis of sizes logarithmic, with every second size written under it."""
    sizes = [row["n"] for row in means]
    if not sizes:
        axes.set_xticks([])
        return
    axes.set_xscale("log")
    axes.set_xlim(min(sizes) / 1.25, max(sizes) * 1.25)
    axes.xaxis.set_major_locator(FixedLocator(sizes[::-2] if len(sizes) > 4 else sizes))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(format_tick))


def _fvd_panel(axes: Axes, bias: Mapping[str, Any]) -> None:
    """Every pair faintly, the means firmly, and the line that Gaussian features have."""
    axes.set_yscale("log")
    rows, means, expected = bias["rows"], bias["by_size"], bias["expected_n_times_fvd"]
    sizes = np.array([row["n"] for row in means])
    pairs = ([row["n"] for row in rows], [row["fvd"] for row in rows])
    axes.plot(*pairs, "o", color=PALETTE[0], alpha=0.25, markersize=4, markeredgewidth=0)
    axes.plot(sizes, [row["fvd"] for row in means], "o-", color=PALETTE[0], linewidth=1.8, markersize=6)
    axes.plot(sizes, expected / sizes, "--", color=INK, linewidth=1.2)
    label = f"dashed: {format_number(expected)} / N, expected of Gaussians"
    axes.annotate(label, (1, 1), (-4, -4), xycoords="axes fraction", textcoords="offset points", ha="right", va="top")
    axes.set_ylim(top=3 * max(axes.get_ylim()))  # room for the label above the curves
    if sizes[0] <= bias["dim"]:
        axes.axvspan(sizes[0] / 10, bias["dim"], color=RULE, alpha=0.45, linewidth=0, zorder=0)
        _size_axis(axes, means)
        note = f"N ≤ {bias['dim']}: refused"
        axes.annotate(note, (0, 0), (6, 6), xycoords="axes fraction", textcoords="offset points", color=NEUTRAL)


def _spread(
    axes: Axes, means: Sequence[Mapping[str, Any]], figure: str, text: str, colour: str, shift: float = 1.0
) -> End:
    """Draw means with bars of one standard deviation over the pairs."""
    sizes, values = [row["n"] * shift for row in means], [row[figure] for row in means]
    deviations = [row[f"{figure}_sd"] or 0 for row in means]
    axes.errorbar(sizes, values, deviations, fmt="o-", color=colour, linewidth=1.6, markersize=5, capsize=3)
    return max(row["n"] for row in means) * 1.2, values[-1], text, colour

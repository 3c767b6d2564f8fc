"""Plots of a report's runs, one function a plot, each returning a matplotlib Figure.

One colour a variant in every plot (`ReportedRuns.colours`), one marker a status, labels beside the marks instead of a
legend.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from stbench.records.statistics import FACTOR
from stbench.reports.drawing import INK, NEUTRAL, RULE, STYLE, End, format_tick, label_points, new_figure, scale_axis

MARKERS = {"finished": "o", "failed": "X", "oom": "s", "nan": "D"}
VERDICT_COLOURS = {"better": "#009E73", "worse": "#D55E00", "changed": "#D55E00"}


@dataclass(frozen=True)
class Curve:
    """One run's values over training steps; `status` marks how it ended."""

    label: str
    steps: Sequence[float]
    values: Sequence[float]
    status: str = "finished"


@dataclass(frozen=True)
class Cost:
    """A cost that quality is plotted against: what it is called in titles, on its axis and after its values."""

    kind: str
    title: str
    axis: str
    unit: str


# By column of a table of runs. Times and memory may share a plot only on one machine.
COSTS = {
    "gmacs": Cost("gmacs", "computation", "Cost of one forward pass (GMACs; 1 MAC = 2 FLOPs)", "GMACs"),
    "train_step_ms": Cost("train-step", "training time", "Training step (ms, median)", "ms a training step"),
    "peak_allocated_mib": Cost("memory", "memory", "Peak allocated device memory (MiB)", "MiB"),
    "peak_rss_mib": Cost("memory", "memory", "Peak resident memory of the process (MiB)", "MiB"),
}


@matplotlib.rc_context(STYLE)
def fvd_against(runs: pd.DataFrame, detector: str, cost: str, colours: Mapping[str, str], where: str = "") -> Figure:
    """Plot FVD against a cost.

    Args:
        runs: rows of a table of runs that share one protocol, and runs without a score.
        detector: the name of the network whose features the distance is taken on.
        cost: a column of `COSTS`.
        colours: of every label.
        where: what sets this plot apart from others of its kind, added to the title.
    """
    score = f"fvd_{detector}"
    title = f"Quality against {COSTS[cost].title}{where}"
    figure, axes = new_figure(title, COSTS[cost].axis, f"FVD[{detector}], lower is better")
    scored = runs.dropna(subset=[score, cost])
    unscored = runs[runs[score].isna() & runs[cost].notna()]
    scale_axis(axes, "x", [*scored[cost], *unscored[cost]])
    scale_axis(axes, "y", list(scored[score]))
    names = []
    for label, group in scored.groupby("label", sort=False):
        colour = colours[str(label)]
        x, y = float(group[cost].median()), float(group[score].mean())
        if len(group) > 1:
            axes.plot(group[cost], group[score], "o", color=colour, alpha=0.35, markersize=5, markeredgewidth=0)
        axes.plot(x, y, MARKERS["finished"], color=colour, markersize=9)
        names.append((x, y, str(label), INK))
    # Runs without a score have a cost, but no place on the other axis: they stand along the upper edge.
    edge = axes.get_xaxis_transform()
    for (variant, status), group in unscored.groupby(["label", "status"], sort=False):
        x, colour = float(group[cost].median()), colours[str(variant)]
        axes.plot(x, 1.0, MARKERS[str(status)], color=colour, markersize=8, transform=edge, clip_on=False, zorder=5)
        note = f"{variant}: no FVD" + ("" if status == "finished" else f" ({status})")
        axes.annotate(
            note, (x, 1.0), (0, -7), xycoords=edge, textcoords="offset points", color=colour, va="top", ha="center"
        )
    axes.margins(x=0.16, y=0.18)
    label_points(axes, names)
    return figure


@matplotlib.rc_context(STYLE)
def loss_curves(curves: Sequence[Curve], colours: Mapping[str, str], where: str = "") -> Figure:
    """Plot the training loss over steps: each step faintly, the running median firmly.

    Args:
        curves: one a run.
        colours: of every label.
        where: what sets this plot apart from others of its kind, added to the title.
    """
    figure, axes = new_figure(f"Training loss{where}", "Training step", "Loss")
    scale_axis(axes, "y", [value for curve in curves for value in curve.values])
    ends = []
    for curve in curves:
        values = pd.Series(curve.values, dtype=float)
        smooth = values.rolling(max(1, len(values) // 25), center=True, min_periods=1).median()
        axes.plot(curve.steps, values, color=colours[curve.label], alpha=0.15, linewidth=0.8)
        ends.append(_draw_curve(axes, curve, list(smooth), colours))
    axes.margins(x=0.02)
    label_points(axes, _one_end_a_label(ends), outside=True)
    return figure


@matplotlib.rc_context(STYLE)
def fvd_over_training(
    curves: Sequence[Curve], detector: str, n_fake: int, colours: Mapping[str, str], where: str = ""
) -> Figure:
    """Plot FVD over training steps, on EMA weights by the cheap protocol.

    Args:
        curves: one a run; step 0 is the untrained network.
        detector: the name of the network whose features the distance is taken on.
        n_fake: how many clips were sampled for each point.
        colours: of every label.
        where: what sets this plot apart from others of its kind, added to the title.
    """
    axis = f"FVD[{detector}] of {n_fake} clips, lower is better"
    figure, axes = new_figure(f"FVD over training (EMA weights){where}", "Training step (0: untrained)", axis)
    scale_axis(axes, "y", [value for curve in curves for value in curve.values])
    ends = [_draw_curve(axes, curve, curve.values, colours, marker=".") for curve in curves]
    axes.margins(x=0.02)
    label_points(axes, _one_end_a_label(ends), outside=True)
    return figure


@matplotlib.rc_context(STYLE)
def ratios(points: Sequence[tuple[str, float, str]]) -> Figure:
    """Plot ratios of new over base, one a line.

    Args:
        points: (name, ratio, verdict) of each.
    """
    figure, axes = new_figure("Change of every metric", "New over base", "")
    figure.set_size_inches(7.2, 1.7 + 0.34 * len(points))
    axes.axvspan(1 / FACTOR, FACTOR, color=RULE, alpha=0.45, linewidth=0)
    axes.axvline(1, color=INK, linewidth=0.8)
    for line, (_, ratio, verdict) in enumerate(points):
        colour = VERDICT_COLOURS.get(verdict, NEUTRAL)
        axes.plot([1, ratio], [line, line], color=colour, linewidth=2)
        axes.plot(ratio, line, "o", color=colour, markersize=8)
        place = (max(ratio, 1.0), line)
        axes.annotate(f"{ratio:.3g} {verdict}", place, (9, 0), textcoords="offset points", color=colour, va="center")
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.xaxis.set_major_formatter(FuncFormatter(format_tick))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_yticks(range(len(points)), [name for name, _, _ in points])
    axes.invert_yaxis()
    axes.margins(x=0.25)
    axes.grid(visible=False, axis="y")
    return figure


def _draw_curve(axes: Axes, curve: Curve, values: Sequence[float], colours: Mapping[str, str], marker: str = "") -> End:
    colour = colours[curve.label]
    axes.plot(curve.steps, values, color=colour, linewidth=1.8, marker=marker, markersize=7)
    x, y = float(curve.steps[-1]), float(values[-1])
    if curve.status != "finished":
        axes.plot(x, y, MARKERS[curve.status], color=colour, markersize=8)
        axes.annotate(curve.status, (x, y), (0, 8), textcoords="offset points", color=colour, ha="center")
    return (x, y, curve.label, colour)


def _one_end_a_label(ends: Sequence[End]) -> list[End]:
    """Return one place for each label: at the last step that any of its seeds reached, at their mean height."""
    seeds: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for x, y, label, colour in ends:
        seeds.setdefault((label, colour), []).append((x, y))
    places = []
    for (label, colour), points in seeds.items():
        last = max(x for x, _ in points)
        places.append((last, float(np.mean([y for x, y in points if x == last])), label, colour))
    return places

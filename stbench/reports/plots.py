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
from stbench.reports.drawing import (
    INK,
    NEUTRAL,
    RULE,
    STYLE,
    End,
    add_note,
    format_tick,
    from_zero,
    label_points,
    new_figure,
    scale_axis,
)

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
class Mark:
    """One configuration in a plot of quality against a cost."""

    label: str
    x: float
    y: float
    interval: tuple[float, float] | None  # 95 %, of y
    seeds: Sequence[float]  # y of each


@dataclass(frozen=True)
class Unscored:
    """A configuration that has a cost and no score, and how often its runs came to which end."""

    label: str
    x: float
    statuses: Mapping[str, int]


@dataclass(frozen=True)
class Cost:
    """A cost that quality is plotted against: what it is called in titles, on its axis and after its values."""

    kind: str
    title: str
    axis: str
    unit: str


# Times and memory may share a plot only where they were taken under equal conditions.
COSTS = {
    "gmacs": Cost("gmacs", "computation", "GMACs per clip and forward pass (1 MAC = 2 FLOPs)", "GMACs"),
    "train_step_ms": Cost("train-step", "training time", "Training step (ms, median)", "ms a training step"),
    "peak_allocated_mib": Cost("memory", "memory", "Peak allocated device memory (MiB)", "MiB"),
    "peak_rss_mib": Cost("memory", "memory", "Peak resident memory of the process (MiB)", "MiB"),
}


@matplotlib.rc_context(STYLE)
def fvd_against(
    marks: Sequence[Mark],
    unscored: Sequence[Unscored],
    references: Mapping[str, float],
    detector: str,
    cost: Cost,
    colours: Mapping[str, str],
    where: str = "",
) -> Figure:
    """Plot FVD against a cost, with 95 % intervals; both axes begin at zero, unless they are logarithmic.

    Args:
        marks: configurations that share one protocol.
        unscored: those that have no score.
        references: FVDs that others are held against, by name: lines.
        detector: the name of the network whose features the distance is taken on.
        cost: what the other axis is.
        colours: of every label.
        where: what sets this plot apart from others of its kind, added to the title.
    """
    title = f"Quality against {cost.title}{where}"
    figure, axes = new_figure(title, cost.axis, f"FVD[{detector}], lower is better")
    scale_axis(axes, "x", [*(mark.x for mark in marks), *(each.x for each in unscored)])
    ends = [end for mark in marks for end in (mark.interval or ())]
    scale_axis(axes, "y", [*(mark.y for mark in marks), *ends, *references.values()])
    for mark in marks:
        _draw_mark(axes, mark, colours[mark.label])
    for name, value in references.items():
        axes.axhline(value, color=NEUTRAL, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
        side = axes.get_yaxis_transform()
        add_note(axes, name, (0.0, value), (4, 2), NEUTRAL, xycoords=side, va="bottom")
    axes.margins(x=0.16, y=0.18)
    from_zero(axes, "x")
    from_zero(axes, "y")
    top = axes.get_ylim()[1]
    # Runs without a score have a cost, but no place on the other axis: they stand along the upper edge.
    names = [(mark.x, mark.y, mark.label, INK) for mark in marks]
    for each in unscored:
        for status in each.statuses:
            colour, ended = colours[each.label], "" if status == "finished" else f" ({status})"
            axes.plot(each.x, top, MARKERS[status], color=colour, markersize=8, clip_on=False, zorder=5)
            names.append((each.x, top, f"{each.label}: no FVD{ended}", colour))
    axes.set_ylim(top=top)
    label_points(axes, names)
    return figure


def _draw_mark(axes: Axes, mark: Mark, colour: str) -> None:
    """A large dot at the mean with its interval, and a small one for each seed."""
    if mark.interval:
        axes.plot([mark.x] * 2, mark.interval, color=colour, linewidth=1.4, marker="_", markersize=8, alpha=0.8)
    if len(mark.seeds) > 1:
        axes.plot(
            [mark.x] * len(mark.seeds), mark.seeds, "o", color=colour, alpha=0.35, markersize=5, markeredgewidth=0
        )
    axes.plot(mark.x, mark.y, MARKERS["finished"], color=colour, markersize=9)


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
    from_zero(axes, "y")
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
    from_zero(axes, "y")
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
        add_note(axes, curve.status, (x, y), (0, 8), colour, ha="center")
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

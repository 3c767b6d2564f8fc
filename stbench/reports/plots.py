"""Plots of a study, one function a plot, each returning a matplotlib Figure.

One colour a variant in every plot (`Study.colours`), one marker a status, labels beside the marks instead of a legend.
"""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from matplotlib.transforms import Bbox

from stbench.records.statistics import FACTOR
from stbench.reports.tables import format_number

INK, RULE = "#24292f", "#d8dee4"
MARKERS = {"finished": "o", "failed": "X", "oom": "s", "nan": "D"}
VERDICT_COLOURS = {"better": "#009E73", "worse": "#D55E00", "changed": "#D55E00"}
NEUTRAL = "#7d8590"
MARK_PIXELS = 7  # half the size of the space that a label leaves around a mark
LABEL_POINTS = 9  # from the middle of a mark to its label
LOG_FROM_RANGE = 8  # an axis whose values span more than this factor is logarithmic
STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "stbench",
    "text.parse_math": False,  # a dollar sign in a run's name is a dollar sign
    "font.family": ["sans-serif"],
    "font.sans-serif": ["Inter", "Helvetica Neue", "Arial", "DejaVu Sans"],
    "font.size": 10.5,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": RULE,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.titlesize": 12,
    "axes.titleweight": "semibold",
    "axes.titlelocation": "left",
}


@dataclass(frozen=True)
class Curve:
    """One run's values over training steps; `status` marks how it ended."""

    label: str
    steps: Sequence[float]
    values: Sequence[float]
    status: str = "finished"


@matplotlib.rc_context(STYLE)
def fvd_against_gmacs(runs: pd.DataFrame, detector: str, colours: Mapping[str, str], where: str = "") -> Figure:
    """Plot FVD against the multiply-accumulates of one forward pass.

    Args:
        runs: rows of a `Study`'s table that share one protocol, and runs without a score.
        detector: the name of the network whose features the distance is taken on.
        colours: of every label.
        where: what sets this plot apart from others of its kind, added to the title.
    """
    axis = "Cost of one forward pass (GMACs; 1 MAC = 2 FLOPs)"
    return _fvd_against(runs, detector, colours, "gmacs", axis, f"Quality against computation{where}")


@matplotlib.rc_context(STYLE)
def fvd_against_train_step(runs: pd.DataFrame, detector: str, colours: Mapping[str, str], where: str = "") -> Figure:
    """Plot FVD against the median time of a training step, for runs of one machine.

    Arguments as for `fvd_against_gmacs`.
    """
    axis = "Training step (ms, median)"
    return _fvd_against(runs, detector, colours, "train_step_ms", axis, f"Quality against training time{where}")


@matplotlib.rc_context(STYLE)
def fvd_against_memory(runs: pd.DataFrame, detector: str, colours: Mapping[str, str], where: str = "") -> Figure:
    """Plot FVD against peak memory, for runs of one machine: the device's where known, else the process's.

    Arguments as for `fvd_against_gmacs`.
    """
    on_device = bool(runs["peak_allocated_mib"].notna().any())
    column, axis = (
        ("peak_allocated_mib", "Peak allocated device memory (MiB)")
        if on_device
        else ("peak_rss_mib", "Peak resident memory of the process (MiB)")
    )
    return _fvd_against(runs, detector, colours, column, axis, f"Quality against memory{where}")


def _fvd_against(
    runs: pd.DataFrame, detector: str, colours: Mapping[str, str], cost: str, cost_axis: str, title: str
) -> Figure:
    score = f"fvd_{detector}"
    figure, axes = new_figure(title, cost_axis, f"FVD[{detector}], lower is better")
    scored = runs.dropna(subset=[score, cost])
    unscored = runs[runs[score].isna() & runs[cost].notna()]
    _scale(axes, "x", [*scored[cost], *unscored[cost]])
    _scale(axes, "y", list(scored[score]))
    names = []
    for label, group in scored.groupby("label", sort=False):
        colour = colours[str(label)]
        x, y = float(group[cost].median()), float(group[score].mean())
        if len(group) > 1:
            axes.plot(group[cost], group[score], "o", color=colour, alpha=0.35, markersize=5, markeredgewidth=0)
        axes.plot(x, y, MARKERS["finished"], color=colour, markersize=9)
        names.append((x, y, str(label), INK))
    _mark_unscored(axes, unscored, cost, colours)
    axes.margins(x=0.16, y=0.18)
    label_points(axes, names)
    return figure


def _mark_unscored(axes: Axes, runs: pd.DataFrame, cost: str, colours: Mapping[str, str]) -> None:
    """Mark runs without a score along the upper edge: they have a cost, but no place on the other axis."""
    for (label, status), group in runs.groupby(["label", "status"], sort=False):
        x, colour = float(group[cost].median()), colours[str(label)]
        edge = axes.get_xaxis_transform()
        axes.plot(x, 1.0, MARKERS[str(status)], color=colour, markersize=8, transform=edge, clip_on=False, zorder=5)
        note = f"{label}: no FVD" + ("" if status == "finished" else f" ({status})")
        axes.annotate(
            note, (x, 1.0), (0, -7), xycoords=edge, textcoords="offset points", color=colour, va="top", ha="center"
        )


@matplotlib.rc_context(STYLE)
def loss_curves(curves: Sequence[Curve], colours: Mapping[str, str], where: str = "") -> Figure:
    """Plot the training loss over steps: each step faintly, the running median firmly.

    Args:
        curves: one a run.
        colours: of every label.
        where: what sets this plot apart from others of its kind, added to the title.
    """
    figure, axes = new_figure(f"Training loss{where}", "Training step", "Loss")
    _scale(axes, "y", [value for curve in curves for value in curve.values])
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
    _scale(axes, "y", [value for curve in curves for value in curve.values])
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


End = tuple[float, float, str, str]


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


def new_figure(title: str, x_axis: str, y_axis: str) -> tuple[Figure, Axes]:
    """Return an empty figure with its axes, titled and named."""
    figure = Figure(figsize=(5.8, 3.9), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    dress_axes(axes, title, x_axis, y_axis)
    return figure, axes


def dress_axes(axes: Axes, title: str, x_axis: str, y_axis: str) -> None:
    """Give axes their title, names, rules and no frame."""
    axes.set_title(title, pad=14)
    axes.set_xlabel(x_axis, labelpad=8)
    axes.set_ylabel(y_axis, labelpad=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color=RULE, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(which="both", length=0)


def _scale(axes: Axes, which: str, values: Sequence[float]) -> None:
    """Make an axis logarithmic where its values span orders of magnitude; numbers are written out either way."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    low, high = min(values, default=1), max(values, default=1)
    if low > 0 and high / low > LOG_FROM_RANGE:
        (axes.set_xscale if which == "x" else axes.set_yscale)("log")
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_minor_formatter(NullFormatter())
    axis.set_major_formatter(FuncFormatter(format_tick))


def format_tick(value: float, _: int | None) -> str:
    """Write a tick as a plain number; the second argument is its place, as matplotlib hands it on."""
    return f"{value:.4g}" if abs(value) < 1e4 else format_number(value)


def label_points(axes: Axes, points: Sequence[End], outside: bool = False) -> None:
    """Write each label beside its point, on the side and at the height where it overlaps no mark and no other label.

    Args:
        axes: where the points are.
        points: (x, y, text, colour) in data coordinates.
        outside: write to the right of the axes, for the ends of curves.
    """
    axes.figure.canvas.draw()
    pixels = 72 / axes.figure.dpi
    marks = [axes.transData.transform((x, y)) for x, y, _, _ in points]
    taken = [Bbox.from_extents(x - MARK_PIXELS, y - MARK_PIXELS, x + MARK_PIXELS, y + MARK_PIXELS) for x, y in marks]
    for x, y, text, colour in sorted(points, key=lambda point: point[1]):
        note = axes.annotate(
            text, (x, y), (LABEL_POINTS, 0), textcoords="offset points", color=colour, va="center",
            annotation_clip=False, fontweight="medium",
        )  # fmt: skip
        box = note.get_window_extent()
        shift, rise = _free_place(box, taken, [0.0] if outside else _sides(axes, box, pixels))
        note.set_position((LABEL_POINTS + shift * pixels, rise * pixels))
        taken.append(box.translated(shift, rise))


def _sides(axes: Axes, box: Bbox, pixels: float) -> list[float]:
    """Return how far to move a label to stand on the right of its mark or on the left, what fits the axes first."""
    left = -(box.width + 2 * LABEL_POINTS / pixels)
    return [0.0, left] if box.x1 < axes.get_window_extent().x1 else [left, 0.0]


def _free_place(box: Bbox, taken: Sequence[Bbox], sides: Sequence[float]) -> tuple[float, float]:
    """Return the shift and the rise, in pixels, of the lowest free place."""
    places = ((shift, rise) for rise in itertools.count(0, 2) for shift in sides)
    return next(place for place in places if not any(box.translated(*place).overlaps(other) for other in taken))


@matplotlib.rc_context(STYLE)
def to_svg(figure: Figure) -> str:
    """Return a figure as an SVG document, the same text for the same figure."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return buffer.getvalue()


@matplotlib.rc_context(STYLE)
def to_png(figure: Figure) -> bytes:
    """Return a figure as PNG at twice the nominal resolution, on white."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=200)
    return buffer.getvalue()


def to_inline_svg(figure: Figure) -> str:
    """Return a figure as an SVG element for a page: transparent, and in the page's own ink and rule colours."""
    svg = to_svg(figure)
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r'(<g id="patch_1">\s*<path[^>]*style=")fill: #ffffff', r"\1fill: none", svg, count=1)
    svg = re.sub(r'(<g id="patch_2">\s*<path[^>]*style=")fill: #ffffff', r"\1fill: none", svg, count=1)
    svg = re.sub(r' id="(figure|axes|patch|line2d|text|matplotlib\.axis|xtick|ytick)_\d+"', "", svg)
    return svg.replace(INK, "currentColor").replace(RULE, "var(--rule)")

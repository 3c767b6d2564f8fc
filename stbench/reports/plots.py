"""Plots of a report's runs, one function a plot, each returning a matplotlib Figure.

One colour a configuration in every plot (`ReportedRuns.colours`), one marker a status, labels beside the marks instead
of a legend; each mark tells its values (`drawing.tell`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from stbench.records.costs import largest_parts
from stbench.records.scaling import FARTHEST, PowerLaw, Sizes
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
    tell,
)
from stbench.reports.pareto import pareto_front
from stbench.reports.seed_bands import Band
from stbench.reports.text import format_number

PAPER = "#ffffff"  # around marks that may stand on each other; of a page its own
MARKERS = {"finished": "o", "failed": "X", "oom": "s", "nan": "D"}
DASHES = ("solid", "dashed", "dotted", "dashdot")
MOST_NAMED = 12  # marks beside which their names stand
# Of the parts of a network; those of configurations would be taken for these.
SHADES = ("#4c78a8", "#9ecae9", "#f58518", "#ffbf79", "#54a24b", "#88d27a", "#b279a2", "#d6a5c9")
VERDICT_COLOURS = {"better": "#009E73", "worse": "#D55E00", "changed": "#D55E00"}


@dataclass(frozen=True)
class Plot:
    """A figure in a report.

    Attributes:
        kind: what it shows; a key of `figures.NEEDS`.
        name: stem of its file's name.
        alt: its content in words, for those who cannot see it.
        figure: the plot itself.
        caption: what its figures were measured under.
    """

    kind: str
    name: str
    alt: str
    figure: Figure
    caption: str = ""


@dataclass(frozen=True)
class Mark:
    """One configuration in a plot of quality against a cost."""

    label: str
    x: float
    y: float
    interval: tuple[float, float] | None  # 95 %, of y
    seeds: Sequence[float]  # y of each

    def said(self, quality: str, cost: Cost) -> str:
        """The mark in words."""
        ends = f" [{', '.join(map(format_number, self.interval))}]" if self.interval else ""
        over = f" over {len(self.seeds)} seeds" if len(self.seeds) > 1 else ""
        return f"{self.label}: {quality} {format_number(self.y)}{ends}{over} at {format_number(self.x)} {cost.unit}"


@dataclass(frozen=True)
class ScaledArm:
    """A network at several sizes, with its power law where it has one."""

    label: str
    colour: str
    sizes: Sizes
    law: PowerLaw | None


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
    "params_m": Cost("params", "parameters", "Parameters (M)", "M parameters"),
    "train_step_ms": Cost("train-step", "training time", "Training step (ms, median)", "ms a training step"),
    "peak_allocated_mib": Cost("memory", "memory", "Peak allocated device memory (MiB)", "MiB"),
    "peak_rss_mib": Cost("memory", "memory", "Peak resident memory of the process (MiB)", "MiB"),
}


@matplotlib.rc_context(STYLE)
def quality_against(
    marks: Sequence[Mark],
    unscored: Sequence[Unscored],
    references: Mapping[str, float],
    quality: str,
    cost: Cost,
    colours: Mapping[str, str],
    where: str = "",
) -> Figure:
    """Plot a quality against a cost, both better where lower, with 95 % intervals and the Pareto front of the means.

    Both axes begin at zero, unless they are logarithmic.

    Args:
        marks: configurations that share one protocol.
        unscored: those that have no score.
        references: what others are held against, by name: lines.
        quality: what is plotted, e.g. "FVD[i3d]".
        cost: what the other axis is.
        colours: of every label.
        where: what sets this plot apart from others of its kind, added to the title.
    """
    figure, axes = new_figure(
        f"{quality[0].upper()}{quality[1:]} against {cost.title}{where}", cost.axis, f"{quality}, lower is better"
    )
    scale_axis(axes, "x", [*(mark.x for mark in marks), *(each.x for each in unscored)])
    ends = [end for mark in marks for end in (mark.interval or ())]
    scale_axis(axes, "y", [*(mark.y for mark in marks), *ends, *references.values()])
    front = [marks[place] for place in pareto_front([(mark.x, mark.y) for mark in marks])]
    corners = [corner for a, b in pairwise(front) for corner in ((a.x, a.y), (b.x, a.y), (b.x, b.y))]
    axes.plot([x for x, _ in corners], [y for _, y in corners], color=NEUTRAL, linewidth=1.2, zorder=1)
    _draw_spread(axes, marks, colours)
    for mark in marks:
        [dot] = axes.plot(mark.x, mark.y, MARKERS["finished"], color=colours[mark.label], markersize=9.5, mec=PAPER)
        tell(dot, f"{mark.said(quality, cost)}{', on the front' * (mark in front)}")
    for name, value in references.items():
        axes.axhline(value, color=NEUTRAL, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
        side = axes.get_yaxis_transform()
        add_note(axes, name, (0.0, value), (4, 2), NEUTRAL, xycoords=side, va="bottom")
    axes.margins(x=0.16, y=0.18)
    from_zero(axes, "x")
    from_zero(axes, "y")
    # Of many configurations only those on the front are named; the others tell their names themselves.
    named = [(mark.x, mark.y, mark.label, INK) for mark in (marks if len(marks) <= MOST_NAMED else front)]
    label_points(axes, [*named, *_draw_edge(axes, unscored, quality, colours)], corners=corners)
    return figure


def _draw_edge(axes: Axes, unscored: Sequence[Unscored], quality: str, colours: Mapping[str, str]) -> list[End]:
    """Runs without a score have a cost, but no place on the other axis: they stand along the upper edge."""
    top, names = axes.get_ylim()[1], []
    for each in unscored:
        for status in each.statuses:
            said = f"{each.label}: no {quality}" + ("" if status == "finished" else f" ({status})")
            colour = colours[each.label]
            [mark] = axes.plot(each.x, top, MARKERS[status], color=colour, markersize=8, clip_on=False, zorder=5)
            tell(mark, said)
            names.append((each.x, top, said, INK))
    axes.set_ylim(top=top)
    return names if len(names) <= MOST_NAMED else []


def _draw_spread(axes: Axes, marks: Sequence[Mark], colours: Mapping[str, str]) -> None:
    """The interval of each mark, and a small dot for each of its seeds; two artists, since there may be hundreds."""
    spread = [mark for mark in marks if mark.interval]
    lows, highs = zip(*(mark.interval for mark in spread if mark.interval), strict=True) if spread else ((), ())
    axes.vlines([mark.x for mark in spread], lows, highs, [colours[mark.label] for mark in spread], alpha=0.8)
    seeds = [(mark.x, seed, colours[mark.label]) for mark in marks if len(mark.seeds) > 1 for seed in mark.seeds]
    x, y, colour = zip(*seeds, strict=True) if seeds else ((), (), ())
    axes.scatter(x, y, s=25, c=colour, alpha=0.35, linewidths=0)


@matplotlib.rc_context(STYLE)
def training_curves(
    bands: Sequence[Band],
    title: str,
    axis: str,
    colours: Mapping[str, str],
    points: bool = True,
    along: tuple[str, str] = ("Training step", "step"),
) -> Figure:
    """Plot curves over training steps, or blocks: means over seeds, in a band from the lowest to the highest.

    Args:
        bands: one a configuration; step 0 is the untrained network.
        title: of the plot.
        axis: what the values are.
        colours: of every label.
        points: whether each value is a measurement, which is marked, or one of many.
        along: what the x axis is called, and a place on it.
    """
    figure, axes = new_figure(title, along[0], axis)
    scale_axis(axes, "y", [value for band in bands for value in (*band.low, *band.high)])
    for place, band in enumerate(bands):
        # Where colours come again, lines are dashed.
        alike = [colours[other.label] for other in bands[:place]].count(colours[band.label])
        _draw_band(axes, band, colours[band.label], DASHES[alike % len(DASHES)], axis, points, along[1])
    axes.margins(x=0.02)
    from_zero(axes, "y")
    label_points(
        axes, [(band.steps[-1], band.mean[-1], band.label, colours[band.label]) for band in bands], outside=True
    )
    return figure


def _draw_band(axes: Axes, band: Band, colour: str, dash: str, axis: str, points: bool, place_name: str) -> None:
    axes.plot(band.steps, band.mean, color=colour, linewidth=1.8, linestyle=dash)
    if max(band.seeds) > 1:
        axes.fill_between(band.steps, band.low, band.high, color=colour, alpha=0.16, linewidth=0)
    for place in range(len(band.steps)) if points else [-1]:
        x, y, seeds = band.steps[place], band.mean[place], band.seeds[place]
        [dot] = axes.plot(x, y, "o", color=colour, markersize=4)
        span = f", {format_number(band.low[place])} to {format_number(band.high[place])} over {seeds} seeds"
        tell(dot, f"{band.label} at {place_name} {x:g}: {axis} {format_number(y)}{span if seeds > 1 else ''}")
    for x, y, status in band.ended:
        axes.plot(x, y, MARKERS[status], color=colour, markersize=8)
        add_note(axes, status, (x, y), (0, 8), INK, ha="center")


@matplotlib.rc_context(STYLE)
def over_sizes(arms: Sequence[ScaledArm], quality: str, over: str, axis: str) -> Figure:
    """Plot quality over size, both logarithmic, with the power laws: dotted where they are read beyond the sizes.

    Args:
        arms: with or without a law.
        quality: what is plotted.
        over: what it is plotted over, in a word.
        axis: the same with its unit.
    """
    figure, axes = new_figure(f"{quality[0].upper()}{quality[1:]} over {over}", axis, f"{quality}, lower is better")
    ends = []
    for arm in arms:
        costs, means = arm.sizes.costs, arm.sizes.means
        seeds = [(cost, seed) for cost, own in zip(costs, arm.sizes.figures, strict=True) for seed in own.values()]
        axes.scatter([x for x, _ in seeds], [y for _, y in seeds], s=16, color=arm.colour, alpha=0.35, linewidths=0)
        for cost, mean, own in zip(costs, means, arm.sizes.figures, strict=True):
            [dot] = axes.plot(cost, mean, "o", color=arm.colour, markersize=7)
            over_seeds = f" over {len(own)} seeds" * (len(own) > 1)
            tell(dot, f"{arm.label}: {quality} {format_number(mean)}{over_seeds} at {format_number(cost)}, {axis}")
        last = (costs[-1], means[-1])
        if arm.law:
            last = _draw_law(axes, arm.law, arm.colour)
        ends.append((*last, arm.label, arm.colour))
    for axis_scale in (axes.set_xscale, axes.set_yscale):
        axis_scale("log")
    for ticks in (axes.xaxis, axes.yaxis):
        ticks.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ticks.set_major_formatter(FuncFormatter(format_tick))
        ticks.set_minor_formatter(NullFormatter())
    label_points(axes, ends, outside=True)
    return figure


def _draw_law(axes: Axes, law: PowerLaw, colour: str) -> tuple[float, float]:
    """Draw a power law over its sizes and, dotted, as far as it may be read; return where it ends."""
    for start, end, dash in ((law.smallest, law.largest, "solid"), (law.largest, law.largest * FARTHEST, "dotted")):
        costs = np.geomspace(start, end, 50)
        figures = law.law.at(costs)[0]
        axes.plot(costs, figures, color=colour, linewidth=1.5, linestyle=dash)
    return float(costs[-1]), float(figures[-1])


@matplotlib.rc_context(STYLE)
def parts_of_cost(parts: Mapping[str, Mapping[str, float]]) -> Figure:
    """Plot how much of its operations each part of a network takes: a stacked bar for each configuration.

    Args:
        parts: GMACs by part, by the label of a configuration; the smallest are drawn as one where the colours end.
    """
    figure, axes = new_figure("Where the operations go", "GMACs per clip and forward pass", "")
    figure.set_size_inches(7.2, 1.9 + 0.34 * len(parts))
    drawn = [_with_others(largest_parts(of), _largest_names(parts)) for of in parts.values()]
    left = [0.0] * len(parts)
    for name, shade in zip(dict.fromkeys(name for of in drawn for name in of), SHADES, strict=False):
        widths = [of.get(name, 0.0) for of in drawn]
        bars = axes.barh(range(len(parts)), widths, left=left, color=shade, label=name, height=0.7)
        for bar, label, width in zip(bars, parts, widths, strict=True):
            share = width / max(sum(parts[label].values()), 1e-300)
            tell(bar, f"{label}, {name}: {format_number(width)} GMACs, {100 * share:.0f} %")
        left = [start + width for start, width in zip(left, widths, strict=True)]
    axes.set_yticks(range(len(parts)), list(parts))
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    return figure


def _largest_names(parts: Mapping[str, Mapping[str, float]]) -> set[str]:
    """The parts with a colour of their own: all, or those with the largest shares, and one is left for the others."""
    shares: dict[str, float] = {}
    for of in parts.values():
        for name, gmacs in largest_parts(of).items():
            shares[name] = max(shares.get(name, 0.0), gmacs / max(sum(of.values()), 1e-300))
    ordered = sorted(shares, key=lambda name: -shares[name])
    return set(ordered if len(ordered) <= len(SHADES) else ordered[: len(SHADES) - 1])


def _with_others(of: Mapping[str, float], names: set[str]) -> dict[str, float]:
    """These parts of a network, and what all of its other parts take together."""
    own = {name: gmacs for name, gmacs in of.items() if name in names}
    others = sum(gmacs for name, gmacs in of.items() if name not in names)
    return {**own, "(smaller parts)": others} if others else own


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

"""Plots of what backbones cost: where the operations are, how costs grow with size, and the roofline."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator

from stbench.records.costs import Ceilings, Profile, Scaling, Utilisation, largest_parts
from stbench.reports.drawing import INK, NEUTRAL, STYLE, file_stem, format_tick, label_points, new_figure
from stbench.reports.runs import PALETTE

# Figure of a scaling point -> title and axis of its plot.
SCALED = {
    "gmacs": ("Operations of a forward pass", "GMACs of the batch; 1 MAC = 2 FLOPs"),
    "train_step_s": ("Time of a training step", "Training step (s, median)"),
    "peak_allocated_mib": ("Device memory of a training step", "Peak allocated device memory (MiB)"),
    "peak_rss_mib": ("Memory of a training step", "Peak resident memory of the process (MiB)"),
}
SIZES = {
    "frames": "Frames",
    "resolution": "Side of the latents",
    "width": "Width of the network",
    "batch": "Clips of a batch",
}


def draw_cost_plots(profile: Profile) -> dict[str, Figure]:
    """Draw every plot that a profile allows; variants that failed have none.

    Returns:
        Stem of a file's name -> figure.
    """
    figures, scalings, measured = {}, {}, {}
    for each in profile.variants:
        name = each.variant["name"]
        if each.cost:
            figures[f"breakdown-{file_stem(name)}"] = breakdown(name, each.cost.counts.gmacs_by_part)
        if each.scaling:
            scalings[name] = each.scaling
        if each.utilisation:
            measured[name] = each.utilisation["forward"]
    for figure in SCALED:
        if any(point.get(figure) for scaling in scalings.values() for point in scaling.points):
            figures[f"scaling-{figure.replace('_', '-')}"] = scaling_plot(scalings, figure)
    if profile.ceilings and measured:
        figures["roofline"] = roofline(profile.ceilings, measured)
    return figures


@matplotlib.rc_context(STYLE)
def breakdown(name: str, gmacs_by_part: Mapping[str, float]) -> Figure:
    """Plot the operations of each part of a network as bars, largest first.

    Args:
        name: of the variant.
        gmacs_by_part: 10^9 MACs by part; "" is the network itself.
    """
    parts = largest_parts(gmacs_by_part)
    total = sum(gmacs_by_part.values())
    figure, axes = new_figure(f"{name}: {total:.4g} GMACs a forward pass", "GMACs; 1 MAC = 2 FLOPs", "")
    figure.set_size_inches(7.2, 1.7 + 0.3 * len(parts))
    bars = axes.barh(range(len(parts)), list(parts.values()), color=PALETTE[0], height=0.7)
    axes.bar_label(bars, [f"{100 * gmacs / total:.1f} %" for gmacs in parts.values()], padding=5, color=INK)
    axes.set_yticks(range(len(parts)), list(parts))
    axes.xaxis.set_major_formatter(FuncFormatter(format_tick))
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.grid(visible=False, axis="y")
    return figure


@matplotlib.rc_context(STYLE)
def scaling_plot(scalings: Mapping[str, Scaling], figure_name: str) -> Figure:
    """Plot a cost against a size on logarithmic axes, with the fitted exponents as labels.

    Args:
        scalings: of each variant; all along one axis.
        figure_name: a name of `SCALED`.
    """
    axis = next(iter(scalings.values())).axis
    title, y_axis = SCALED[figure_name]
    figure, axes = new_figure(f"{title} by {axis}", SIZES[axis], y_axis)
    axes.set_xscale("log")
    axes.set_yscale("log")
    ends = []
    for colour, (name, scaling) in zip(itertools.cycle(PALETTE), scalings.items(), strict=False):
        points = [(point[axis], point[figure_name]) for point in scaling.points if point.get(figure_name)]
        if points:
            axes.plot(*zip(*points, strict=True), "o-", color=colour, linewidth=1.8, markersize=6)
            exponent = scaling.exponents.get(figure_name)
            note = name if exponent is None else f"{name}, exponent {exponent:.2f}"
            ends.append((*points[-1], note, colour))
    sizes = sorted({point[axis] for scaling in scalings.values() for point in scaling.points})
    axes.xaxis.set_major_locator(FixedLocator(sizes))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_minor_formatter(NullFormatter())
    for each in (axes.xaxis, axes.yaxis):
        each.set_major_formatter(FuncFormatter(format_tick))
    label_points(axes, ends, outside=True)
    return figure


@matplotlib.rc_context(STYLE)
def roofline(ceilings: Ceilings, measured: Mapping[str, Utilisation]) -> Figure:
    """Plot the speed of each variant's forward pass under the ceilings of its device.

    Args:
        ceilings: of the device.
        measured: the forward pass of each variant.
    """
    x_axis = "FLOPs per byte (estimate: weights, inputs and outputs of every layer moved once)"
    figure, axes = new_figure(f"Roofline of {ceilings.device_name}, {ceilings.precision}", x_axis, "GFLOP/s")
    figure.set_size_inches(7.2, 4.4)
    peak, bandwidth = ceilings.matmul_gflops_per_s[ceilings.precision], ceilings.copy_gb_per_s
    roofs = {"measured": (peak, bandwidth)}
    if ceilings.datasheet_gflops_per_s is not None and ceilings.datasheet_gb_per_s is not None:
        roofs["data sheet"] = (ceilings.datasheet_gflops_per_s, ceilings.datasheet_gb_per_s)
    points = {
        name: (each.flop_per_byte_estimate, each.gflops_per_s)
        for name, each in measured.items()
        if each.flop_per_byte_estimate is not None
    }
    intensities = [intensity for intensity, _ in points.values()]
    ridges = [peak / bandwidth for peak, bandwidth in roofs.values()]
    x = np.geomspace(min(intensities + ridges) / 4, 4 * max(intensities + ridges), 200)
    for (name, (peak, bandwidth)), line in zip(roofs.items(), ("-", "--"), strict=False):
        axes.plot(x, np.minimum(peak, bandwidth * x), line, color=NEUTRAL, linewidth=1.6)
        place = (float(x[-1]), peak)
        axes.annotate(name, place, (0, 4), textcoords="offset points", color=NEUTRAL, ha="right", va="bottom")
    axes.set_xscale("log")
    axes.set_yscale("log")
    names = []
    for colour, (name, point) in zip(itertools.cycle(PALETTE), points.items(), strict=False):
        axes.plot(*point, "o", color=colour, markersize=9)
        names.append((*point, name, INK))
    axes.margins(y=0.1)
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    for each_axis in (axes.xaxis, axes.yaxis):
        each_axis.set_minor_formatter(NullFormatter())
        each_axis.set_major_formatter(FuncFormatter(format_tick))
    label_points(axes, names)
    return figure

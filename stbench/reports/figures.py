"""Which plots a report gets; what cannot be drawn is said, not skipped."""

from __future__ import annotations

from collections.abc import Iterator

from stbench.records.costs import largest_parts
from stbench.reports.curves import curve_plots
from stbench.reports.depth import depth_plots
from stbench.reports.groups import best_of
from stbench.reports.plots import Plot, parts_of_cost
from stbench.reports.runs import ReportedRuns
from stbench.reports.trade_offs import trade_off_plots

MOST_BARS = 24
# Kind of a plot -> what it shows, and why there may be none.
NEEDS = {
    "gmacs": "quality against computation: no run has both a quality and counted GMACs",
    "params": "quality against parameters: no run has both a quality and counted parameters",
    "train-step": "quality against training time: no run has both a quality and a quiet machine's training step",
    "memory": "quality against memory: no run has both a quality and a peak of memory",
    "validation": "validation loss over training: no run recorded it",
    "over-training": "FVD over training: no run recorded it",
    "loss": "training loss: no run kept its loss curve",
}

TRADE_OFFS, CURVES = "Quality against cost", "Over training"
PARTS, DEPTH = "Where the operations go", "Inside the networks"
SECTIONS = {
    TRADE_OFFS: "Large dots are means over seeds, small ones single seeds, bars 95 % intervals as in the table, the "
    "grey step the Pareto front of the means; runs without a score stand on the upper edge. Axes begin at zero, or are "
    "logarithmic. Every dot tells its values: point at it, or Tab to a plot and use the arrows.",
    CURVES: "The averaged weights are judged; the training loss is of the weights that are trained.",
    PARTS: "Of one forward pass of each network, by its parts.",
    DEPTH: "After each block: how alike the features of two frames of a clip are, on noisy held-out clips.",
}


def draw_plots(reported: ReportedRuns, unread: list[str]) -> tuple[dict[str, list[Plot]], list[str]]:
    """Return the plots that the runs' records allow by `SECTIONS`, and a sentence for each kind that they do not.

    Args:
        reported: the runs.
        unread: gets a sentence for each file that cannot be read.
    """
    drawn = {
        TRADE_OFFS: list(trade_off_plots(reported)),
        CURVES: list(curve_plots(reported, unread)),
        PARTS: list(_part_plots(reported)),
        DEPTH: list(depth_plots(reported)),
    }
    kinds = {plot.kind for plots in drawn.values() for plot in plots}
    return drawn, [f"No plot of {need}." for kind, need in NEEDS.items() if kind not in kinds]


def _part_plots(reported: ReportedRuns) -> Iterator[Plot]:
    """Yield where the operations of each configuration go, of many those of the best."""
    groups = [group for group in reported.groups if any(group.values("counts.gmacs_by_part"))]
    parts = {
        group.label: next(filter(None, group.values("counts.gmacs_by_part"))) for group in best_of(groups, MOST_BARS)
    }
    if parts:
        said = "; ".join(f"{label}: {next(iter(largest_parts(of)))} takes most" for label, of in parts.items())
        capped = f"The {len(parts)} best of {len(groups)} configurations." if len(parts) < len(groups) else ""
        yield Plot("parts", "operations-by-part", f"Bars of GMACs by part. {said}", parts_of_cost(parts), capped)

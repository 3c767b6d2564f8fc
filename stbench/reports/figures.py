"""Which plots a report gets; what cannot be drawn is said, not skipped."""

from __future__ import annotations

from stbench.reports.curves import curve_plots
from stbench.reports.depth import depth_plots
from stbench.reports.plots import Plot
from stbench.reports.runs import ReportedRuns
from stbench.reports.trade_offs import trade_off_plots

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

TRADE_OFFS, CURVES, DEPTH = "Quality against cost", "Over training", "Inside the networks"
SECTIONS = {
    TRADE_OFFS: "Large dots are means over seeds, small ones single seeds, bars 95 % intervals as in the table, the "
    "grey step the Pareto front of the means; runs without a score stand on the upper edge. Axes begin at zero, or are "
    "logarithmic. Every dot tells its values: point at it, or Tab to a plot and use the arrows.",
    CURVES: "The averaged weights are judged; the training loss is of the weights that are trained.",
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
        DEPTH: list(depth_plots(reported)),
    }
    kinds = {plot.kind for plots in drawn.values() for plot in plots}
    return drawn, [f"No plot of {need}." for kind, need in NEEDS.items() if kind not in kinds]

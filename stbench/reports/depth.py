"""Plots over the depth of networks: how alike the frames of a clip are after each block."""

from __future__ import annotations

from collections.abc import Iterator

from stbench.reports.context import context_of
from stbench.reports.curves import MOST_CURVES
from stbench.reports.drawing import file_stem
from stbench.reports.groups import best_of
from stbench.reports.plots import Plot, training_curves
from stbench.reports.runs import ReportedRuns, dataset_of
from stbench.reports.seed_bands import BAND, Curve, seed_bands
from stbench.reports.text import format_number

TITLE, VALUES = "Likeness of frames by depth", "cosine between two frames"


def depth_plots(reported: ReportedRuns) -> Iterator[Plot]:
    """Yield the plot of each data set whose networks were looked into."""
    known = [group for group in reported.groups if group.values("diagnostics")]
    datasets = list(dict.fromkeys(dataset_of(group.config) for group in known))
    for dataset in datasets:
        groups = best_of([group for group in known if dataset_of(group.config) == dataset], MOST_CURVES)
        bands = seed_bands(
            [
                Curve(group.label, range(1, len(found.frame_similarity) + 1), found.frame_similarity)
                for group in groups
                for found in group.values("diagnostics")
            ]
        )
        several = len(datasets) > 1
        title = f"{TITLE}, {dataset}" if several else TITLE
        figure = training_curves(bands, title, VALUES, reported.colours, along=("Block", "block"))
        spans = [
            f"{band.label}: from {format_number(band.mean[0])} to {format_number(band.mean[-1])}" for band in bands
        ]
        alt = f"Curves of the {VALUES} of a clip by depth. " + "; ".join(spans)
        context = context_of([record for group in groups for record in group.records])
        yield Plot("depth", f"depth-{file_stem(dataset)}" if several else "depth", alt, figure, f"{BAND} {context}")

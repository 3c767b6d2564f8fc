"""Which plots a report gets; what cannot be drawn is said, not skipped."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from stbench.errors import StbenchError
from stbench.reports import plots
from stbench.reports.drawing import file_stem
from stbench.reports.groups import Group, conditions_apart
from stbench.reports.runs import ReportedRuns, dataset_of, read_file
from stbench.reports.text import format_number

# Kind of a plot -> what it shows, and why there may be none.
NEEDS = {
    "gmacs": "FVD against computation: no run has both an FVD and counted GMACs",
    "train-step": "FVD against training time: no run has both an FVD and a training step timed on a quiet machine",
    "memory": "FVD against memory: no run has both an FVD and a peak of memory",
    "over-training": "FVD over training: no run recorded it",
    "loss": "training loss: no run kept its loss curve",
}


@dataclass(frozen=True)
class Plot:
    """A figure with its kind, the stem of its file's name, and its content in words for those who cannot see it."""

    kind: str
    name: str
    alt: str
    figure: Figure


def draw_plots(reported: ReportedRuns, unread: list[str]) -> tuple[list[Plot], list[str]]:
    """Return the plots that the runs' records allow, and a sentence for each kind that they do not.

    Args:
        reported: the runs.
        unread: gets a sentence for each file that cannot be read.
    """
    drawn = [*_score_plots(reported), *_curve_plots(reported, unread)]
    kinds = {plot.kind for plot in drawn}
    return drawn, [f"No plot of {need}." for kind, need in NEEDS.items() if kind not in kinds]


def _score_plots(reported: ReportedRuns) -> Iterator[Plot]:
    """Yield plots of FVD against costs: one for each protocol, and for times and memory for each set of conditions."""
    scored = [group for group in reported.groups if group.score("fvd")]
    protocols = dict.fromkeys(group.protocol_hash for group in scored)
    for protocol in protocols:
        judged = [group for group in scored if group.protocol_hash == protocol]
        datasets = {dataset_of(group.config) for group in judged}
        unscored = [g for g in reported.groups if not g.score("fvd") and dataset_of(g.config) in datasets]
        stem, where = f"fvd-{file_stem(str(judged[0].detector))}", ""
        if len(protocols) > 1:
            stem, where = f"{stem}-{file_stem(str(protocol))}", f", protocol {str(protocol)[:12]}"
        groups = [*judged, *unscored]
        yield from _plot_against("gmacs", groups, reported, stem, where)
        for these, told in conditions_apart(groups).items():
            alike = [group for group in groups if group.conditions == (these,)]
            here, end = (f"{where}, {told}", f"-{file_stem(told)}") if told else (where, "")
            # The peak of the device where any run has one, else the peak of the process.
            on_device = any(group.values("memory.peak_allocated_mib") for group in alike)
            for cost in ("train_step_ms", "peak_allocated_mib" if on_device else "peak_rss_mib"):
                yield from _plot_against(cost, alike, reported, stem, here, end)


def _plot_against(
    cost: str, groups: Sequence[Group], reported: ReportedRuns, stem: str, where: str, end: str = ""
) -> Iterator[Plot]:
    """Yield the plot of FVD against a cost, where any group has both."""
    about = plots.COSTS[cost]
    known = [(group, value) for group in groups if (value := _cost(group, cost)) is not None]
    marks = [_mark(group, value) for group, value in known if group.score("fvd")]
    if not marks:
        return
    edge = [plots.Unscored(group.label, value, group.statuses) for group, value in known if not group.score("fvd")]
    judged = [group for group, _ in known if group.score("fvd")]
    detector = str(judged[0].detector)
    said = [f"{mark.label}: FVD {_with_interval(mark)} at {format_number(mark.x)} {about.unit}" for mark in marks]
    figure = plots.fvd_against(marks, edge, _references(judged), detector, about, reported.colours, where)
    alt = f"Scatter plot of FVD[{detector}] against {about.unit}. " + "; ".join(said)
    yield Plot(about.kind, f"{stem}-vs-{about.kind}{end}", alt, figure)


def _cost(group: Group, cost: str) -> float | None:
    """A cost of a group under its name in `plots.COSTS`; a time that was taken under load is none."""
    if cost == "gmacs":
        return group.figure("counts.gmacs")
    if cost == "train_step_ms":
        time = group.time("train_step")
        return time.ms if time and not time.under_load else None
    return group.cost(f"memory.{cost}")


def _mark(group: Group, x: float) -> plots.Mark:
    score = group.score("fvd")
    assert score is not None
    return plots.Mark(group.label, x, score.mean, score.interval, score.values)


def _with_interval(mark: plots.Mark) -> str:
    ends = f" [{', '.join(map(format_number, mark.interval))}]" if mark.interval else ""
    return format_number(mark.y) + ends


def _references(groups: Sequence[Group]) -> dict[str, float]:
    """What FVDs are held against, by name: the lowest of untrained networks, and of real clips against others."""
    found = {
        "untrained": [value for group in groups for value in group.values("quality.fvd_untrained")],
        "real against real": [value for group in groups for value in group.values("quality.fvd_real_vs_real")],
    }
    return {name: min(values) for name, values in found.items() if values}


def _curve_plots(reported: ReportedRuns, unread: list[str]) -> Iterator[Plot]:
    """Yield FVD over training and the loss curves, each data set on its own."""
    datasets = list(dict.fromkeys(dataset_of(run.record.config) for run in reported.stored))
    for dataset in datasets:
        end = f"-{file_stem(dataset)}" if len(datasets) > 1 else ""
        where = f", {dataset}" if len(datasets) > 1 else ""
        runs = [(label, run) for label, run in reported.labelled() if dataset_of(run.record.config) == dataset]
        # By detector, clips of a point, and protocol hash: only equals share a plot.
        by_protocol: dict[tuple[str, int, str], list[plots.Curve]] = {}
        for label, run in runs:
            if (quality := run.record.quality) and quality.curve:
                key = (quality.detector, quality.curve[0].n_fake, quality.curve[0].protocol_hash)
                steps, values = [point.step for point in quality.curve], [point.fvd for point in quality.curve]
                by_protocol.setdefault(key, []).append(plots.Curve(label, steps, values, run.record.status))
        names = [(detector, n_fake) for detector, n_fake, _ in by_protocol]
        for (detector, n_fake, protocol), curves in by_protocol.items():
            several = names.count((detector, n_fake)) > 1
            apart = f", protocol {protocol[:12]}" if several else ""
            figure = plots.fvd_over_training(curves, detector, n_fake, reported.colours, where + apart)
            stem = f"{file_stem(detector)}-{n_fake}" + (f"-{file_stem(protocol)}" if several else "")
            name = f"fvd-{stem}-over-training{end}"
            yield Plot("over-training", name, _describe_curves(f"FVD[{detector}] over training", curves), figure)
        losses = []
        for label, run in runs:
            file = run.record.training.loss_curve if run.record.training else None
            if points := read_file(run, file, _loss_points, unread):
                losses.append(plots.Curve(label, *points, run.record.status))
        if losses:
            figure = plots.loss_curves(losses, reported.colours, where)
            yield Plot("loss", f"loss{end}", _describe_curves("training loss", losses), figure)


def _loss_points(path: Path) -> tuple[list[float], list[float]] | None:
    """Steps and losses of a loss curve; None where no step has a loss that can be drawn."""
    try:
        rows = pd.read_csv(path)[["step", "loss"]].astype(float)
    except (OSError, ValueError, KeyError) as error:
        raise StbenchError(f"{path}: expected a CSV file with the columns step and loss: {error}") from error
    rows = rows.replace([np.inf, -np.inf], np.nan).dropna()  # a run that diverged ends in what cannot be drawn
    return None if rows.empty else (rows["step"].tolist(), rows["loss"].tolist())


def _describe_curves(what: str, curves: list[plots.Curve]) -> str:
    spans = [(curve.label, *(format_number(curve.values[index]) for index in (0, -1))) for curve in curves]
    ends = [f"{label}: from {first} to {last}" for label, first, last in spans]
    return f"Curves of {what}. " + "; ".join(ends)

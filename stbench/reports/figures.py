"""Which plots and which strips of samples a report gets; what cannot be drawn is said, not skipped."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from stbench.errors import StbenchError
from stbench.records.clips import Clips, load_clips
from stbench.records.schema import Record, value_at
from stbench.records.store import StoredRecord
from stbench.reports import media, plots
from stbench.reports.drawing import file_stem
from stbench.reports.runs import ReportedRuns
from stbench.reports.tables import format_number

# Kind of a plot -> what it shows, and why there may be none.
NEEDS = {
    "gmacs": "FVD against computation: no run has both an FVD and counted GMACs",
    "train-step": "FVD against training time: no run has both an FVD and a timed training step",
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


@dataclass(frozen=True)
class SampleRow:
    """One strip of samples with the stem of its file's name, its label, what it shows, and the score of that."""

    name: str
    label: str
    what: str
    score: str
    strip: media.Strip


@dataclass(frozen=True)
class SampleGrid:
    """The strips of one data set, real clips first, and the class of each column (none: not class-conditional)."""

    dataset: str
    columns: list[str]
    rows: list[SampleRow]


def draw_plots(reported: ReportedRuns) -> tuple[list[Plot], list[str]]:
    """Return the plots that the runs' records allow, and a sentence for each kind that they do not."""
    drawn = [*_score_plots(reported), *_curve_plots(reported)]
    kinds = {plot.kind for plot in drawn}
    return drawn, [f"No plot of {need}." for kind, need in NEEDS.items() if kind not in kinds]


def _score_plots(reported: ReportedRuns) -> Iterator[Plot]:
    """Yield plots of FVD against costs: one for each protocol, and for times and memory for each machine."""
    table, colours = reported.table, reported.colours
    detectors = table["detector"]
    has_fvd = [isinstance(name, str) and pd.notna(table.at[row, f"fvd_{name}"]) for row, name in detectors.items()]
    scored = pd.DataFrame(table[has_fvd])
    protocols = list(scored.groupby("protocol_hash", sort=False))
    for protocol, group in protocols:
        detector = str(group["detector"].iloc[0])
        several = len(protocols) > 1
        stem = f"fvd-{file_stem(detector)}" + (f"-{file_stem(str(protocol))}" if several else "")
        where = f", protocol {str(protocol)[:12]}" if several else ""
        unscored = table[~table.index.isin(scored.index) & table["dataset"].isin(group["dataset"])]
        rows = pd.concat([group, unscored])
        yield from _score_plot(rows, detector, "gmacs", colours, stem, "", where)
        machines = list(rows.groupby("machine", sort=False))
        for machine, on_machine in machines:
            end = f"-{file_stem(str(machine))}" if len(machines) > 1 else ""
            here = where + (f", machine {str(machine)[:12]}" if len(machines) > 1 else "")
            # The peak of the device where any run has one, else the peak of the process.
            memory = "peak_allocated_mib" if on_machine["peak_allocated_mib"].notna().any() else "peak_rss_mib"
            for cost in ("train_step_ms", memory):
                yield from _score_plot(on_machine, detector, cost, colours, stem, end, here)


def _score_plot(
    rows: pd.DataFrame, detector: str, cost: str, colours: dict[str, str], stem: str, end: str, where: str
) -> Iterator[Plot]:
    """Yield the plot of FVD against one cost, where any run has both."""
    score, about = f"fvd_{detector}", plots.COSTS[cost]
    known = rows.dropna(subset=[score, cost])
    if known.empty:
        return
    points = [
        f"{label}: FVD {format_number(group[score].mean())} at {format_number(group[cost].median())} {about.unit}"
        for label, group in known.groupby("label", sort=False)
    ]
    alt = f"Scatter plot of FVD[{detector}] against {about.unit}. " + "; ".join(points)
    figure = plots.fvd_against(rows, detector, cost, colours, where)
    yield Plot(about.kind, f"{stem}-vs-{about.kind}{end}", alt, figure)


def _curve_plots(reported: ReportedRuns) -> Iterator[Plot]:
    """Yield FVD over training and the loss curves, each data set on its own."""
    datasets = reported.table["dataset"].fillna("unnamed").unique()
    for dataset in datasets:
        end = f"-{file_stem(dataset)}" if len(datasets) > 1 else ""
        where = f", {dataset}" if len(datasets) > 1 else ""
        runs = [(label, run) for label, run in reported.labelled() if _dataset(run) == dataset]
        by_protocol = _fvd_curves(runs)
        names = [(detector, n_fake) for detector, n_fake, _ in by_protocol]
        for (detector, n_fake, protocol), curves in by_protocol.items():
            several = names.count((detector, n_fake)) > 1
            apart = f", protocol {protocol[:12]}" if several else ""
            figure = plots.fvd_over_training(curves, detector, n_fake, reported.colours, where + apart)
            stem = f"{file_stem(detector)}-{n_fake}" + (f"-{file_stem(protocol)}" if several else "")
            name = f"fvd-{stem}-over-training{end}"
            yield Plot("over-training", name, _describe_curves(f"FVD[{detector}] over training", curves), figure)
        losses = [curve for label, run in runs if (curve := _loss_curve(label, run))]
        if losses:
            figure = plots.loss_curves(losses, reported.colours, where)
            yield Plot("loss", f"loss{end}", _describe_curves("training loss", losses), figure)


def _fvd_curves(runs: list[tuple[str, StoredRecord]]) -> dict[tuple[str, int, str], list[plots.Curve]]:
    """FVD over training of each run, by detector, clips of a point, and protocol hash: only equals share a plot."""
    curves: dict[tuple[str, int, str], list[plots.Curve]] = {}
    for label, run in runs:
        quality = run.record.quality
        if quality and quality.curve:
            first = quality.curve[0]
            steps, values = [point.step for point in quality.curve], [point.fvd for point in quality.curve]
            curve = plots.Curve(label, steps, values, run.record.status)
            curves.setdefault((quality.detector, first.n_fake, first.protocol_hash), []).append(curve)
    return curves


def _loss_curve(label: str, run: StoredRecord) -> plots.Curve | None:
    path = run.file(run.record.training.loss_curve if run.record.training else None)
    if path is None:
        return None
    try:
        rows = pd.read_csv(path)[["step", "loss"]].astype(float)
    except (ValueError, KeyError) as error:
        raise StbenchError(f"{path}: expected a CSV file with the columns step and loss: {error}") from error
    rows = rows.replace([np.inf, -np.inf], np.nan).dropna()  # a run that diverged ends in what cannot be drawn
    if rows.empty:
        return None
    return plots.Curve(label, rows["step"].tolist(), rows["loss"].tolist(), run.record.status)


def _describe_curves(what: str, curves: list[plots.Curve]) -> str:
    spans = [(curve.label, *(format_number(curve.values[index]) for index in (0, -1))) for curve in curves]
    ends = [f"{label}: from {first} to {last}" for label, first, last in spans]
    return f"Curves of {what}. " + "; ".join(ends)


def _dataset(run: StoredRecord) -> str:
    return value_at(run.record.config, "dataset.name") or "unnamed"


def sample_grids(reported: ReportedRuns) -> list[SampleGrid]:
    """Return the strips of samples of every run that kept some, each data set on its own."""
    grids: dict[str, list[tuple[str, StoredRecord, Clips]]] = {}
    for label, run in reported.labelled():
        if clips := _clips(run, "samples"):
            grids.setdefault(_dataset(run), []).append((label, run, clips))
    return [_sample_grid(dataset, rows) for dataset, rows in grids.items()]


def _sample_grid(dataset: str, rows: list[tuple[str, StoredRecord, Clips]]) -> SampleGrid:
    real = next((clips for _, run, _ in rows if (clips := _clips(run, "real"))), None)
    sets = [clips for _, _, clips in rows]
    stem = file_stem(dataset)
    columns = media.choose_columns([real, *sets] if real else sets)
    strips = [
        SampleRow(
            f"{stem}-{index:02d}-{file_stem(run.record.run_id)}",
            label,
            f"samples of {run.record.run_id}",
            _score(run.record),
            media.make_strip(clips, columns),
        )
        for index, (label, run, clips) in enumerate(rows, start=1)
    ]
    if real:
        strip = media.make_strip(real, columns)
        strips.insert(0, SampleRow(f"{stem}-00-real", "Real clips", "real clips", "the data set", strip))
    return SampleGrid(dataset, media.column_names(real or sets[0], columns), strips)


def _score(record: Record) -> str:
    seed, quality = f"seed {record.config.get('seed')}", record.quality
    if quality is None or quality.fvd is None:
        return f"{seed} · no FVD"
    return f"{seed} · FVD[{quality.detector}] {format_number(quality.fvd)}"


def _clips(run: StoredRecord, name: str) -> Clips | None:
    path = run.file(run.record.files.get(name))
    return load_clips(path) if path else None

"""Which plots and which strips of samples a report gets; what cannot be drawn is said, not skipped."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from stbench.errors import StbenchError
from stbench.records.schema import value_at
from stbench.records.store import StoredRecord
from stbench.reports import media, plots
from stbench.reports.drawing import file_stem
from stbench.reports.runs import ReportedRuns
from stbench.reports.text import format_number
from stbench.storage.clips import Clips, load_clips

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
        machines = list(rows.groupby("machine", sort=False))
        # (rows, cost, end of the file's name, what sets the plot apart)
        wanted = [(rows, "gmacs", "", where)]
        for machine, on_machine in machines:
            end = f"-{file_stem(str(machine))}" if len(machines) > 1 else ""
            here = where + (f", machine {str(machine)[:12]}" if len(machines) > 1 else "")
            # The peak of the device where any run has one, else the peak of the process.
            memory = "peak_allocated_mib" if on_machine["peak_allocated_mib"].notna().any() else "peak_rss_mib"
            wanted += [(on_machine, cost, end, here) for cost in ("train_step_ms", memory)]
        for shown, cost, end, here in wanted:
            score, about = f"fvd_{detector}", plots.COSTS[cost]
            known = shown.dropna(subset=[score, cost])
            if known.empty:
                continue
            points = [
                f"{label}: FVD {format_number(of[score].mean())} at {format_number(of[cost].median())} {about.unit}"
                for label, of in known.groupby("label", sort=False)
            ]
            alt = f"Scatter plot of FVD[{detector}] against {about.unit}. " + "; ".join(points)
            figure = plots.fvd_against(shown, detector, cost, colours, here)
            yield Plot(about.kind, f"{stem}-vs-{about.kind}{end}", alt, figure)


def _curve_plots(reported: ReportedRuns) -> Iterator[Plot]:
    """Yield FVD over training and the loss curves, each data set on its own."""
    datasets = reported.table["dataset"].fillna("unnamed").unique()
    for dataset in datasets:
        end = f"-{file_stem(dataset)}" if len(datasets) > 1 else ""
        where = f", {dataset}" if len(datasets) > 1 else ""
        runs = [(label, run) for label, run in reported.labelled() if _dataset(run) == dataset]
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
        losses = [curve for label, run in runs if (curve := _loss_curve(label, run))]
        if losses:
            figure = plots.loss_curves(losses, reported.colours, where)
            yield Plot("loss", f"loss{end}", _describe_curves("training loss", losses), figure)


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
    by_dataset: dict[str, list[tuple[str, StoredRecord, Clips]]] = {}
    for label, run in reported.labelled():
        if clips := _clips(run, "samples"):
            by_dataset.setdefault(_dataset(run), []).append((label, run, clips))
    grids = []
    for dataset, kept in by_dataset.items():
        stem, sets = file_stem(dataset), [clips for _, _, clips in kept]
        real = next((clips for _, run, _ in kept if (clips := _clips(run, "real"))), None)
        columns = media.choose_columns([real, *sets] if real else sets)
        rows = []
        if real:
            strip = media.make_strip(real, columns)
            rows.append(SampleRow(f"{stem}-00-real", "Real clips", "real clips", "the data set", strip))
        for index, (label, run, clips) in enumerate(kept, start=1):
            run_id, quality = run.record.run_id, run.record.quality
            fvd = "no FVD"
            if quality and quality.fvd is not None:
                fvd = f"FVD[{quality.detector}] {format_number(quality.fvd)}"
            score = f"seed {run.record.config.get('seed')} · {fvd}"
            name, strip = f"{stem}-{index:02d}-{file_stem(run_id)}", media.make_strip(clips, columns)
            rows.append(SampleRow(name, label, f"samples of {run_id}", score, strip))
        grids.append(SampleGrid(dataset, media.column_names(real or sets[0], columns), rows))
    return grids


def _clips(run: StoredRecord, name: str) -> Clips | None:
    path = run.file(run.record.files.get(name))
    return load_clips(path) if path else None

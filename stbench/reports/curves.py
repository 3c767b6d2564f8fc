"""Plots over training: validation loss, FVD and training loss of the configurations of a data set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from stbench.errors import StbenchError
from stbench.records.schema import Record
from stbench.records.store import StoredRecord
from stbench.reports.context import context_of
from stbench.reports.drawing import file_stem
from stbench.reports.groups import best_of
from stbench.reports.plots import Plot, training_curves
from stbench.reports.runs import ReportedRuns, dataset_of, read_file
from stbench.reports.seed_bands import BAND, Band, Curve, seed_bands
from stbench.reports.text import format_number

MOST_CURVES = 12  # configurations in a plot; more cannot be told apart

LabelledRuns = Sequence[tuple[str, StoredRecord]]


@dataclass(frozen=True)
class Axis:
    """What curves share that stand in one plot; `protocol` is None where they need none."""

    kind: str
    title: str
    values: str
    stem: str
    protocol: str | None


LOSS = Axis("loss", "Training loss, running median", "loss", "loss", None)


def curve_plots(reported: ReportedRuns, unread: list[str]) -> Iterator[Plot]:
    """Yield the curves of each data set.

    Args:
        reported: the runs.
        unread: gets a sentence for each file that cannot be read.
    """
    datasets = list(dict.fromkeys(dataset_of(run.record.config) for run in reported.stored))
    for dataset in datasets:
        groups = [group for group in reported.groups if dataset_of(group.config) == dataset]
        shown = {group.label for group in best_of(groups, MOST_CURVES)}
        runs = [(label, run) for label, run in reported.labelled() if label in shown]
        runs = [(label, run) for label, run in runs if dataset_of(run.record.config) == dataset]
        where = dataset if len(datasets) > 1 else ""
        capped = f" The {len(shown)} best of {len(groups)} configurations." if len(groups) > MOST_CURVES else ""
        caption = f"{BAND}{capped} {context_of([run.record for _, run in runs])}"
        yield from plots_over_training(runs, reported.colours, where, caption, unread)


def plots_over_training(
    runs: LabelledRuns, colours: Mapping[str, str], where: str, caption: str, unread: list[str]
) -> Iterator[Plot]:
    """Yield a plot of each figure that these runs have over training, a band for each label.

    Args:
        runs: each with its label.
        colours: of every label.
        where: what sets these plots apart from others on the page, for titles and the names of files.
        caption: of every plot.
        unread: gets a sentence for each file that cannot be read.
    """
    by_axis = _recorded_curves(runs)
    by_axis[LOSS] = _loss_curves(runs, unread)
    for axis, curves in by_axis.items():
        if curves:
            several = [(each.kind, each.stem) for each in by_axis].count((axis.kind, axis.stem)) > 1
            yield _plot(axis, seed_bands(curves), colours, where, several, caption)


def _recorded_curves(runs: LabelledRuns) -> dict[Axis, list[Curve]]:
    """The curves that stand in records; only equals share a plot."""
    found: dict[Axis, list[Curve]] = {}
    for label, run in runs:
        for axis, points in _curves_of(run.record).items():
            steps, values = zip(*points, strict=True)
            found.setdefault(axis, []).append(Curve(label, steps, values, run.record.status))
    return found


def _curves_of(record: Record) -> dict[Axis, list[tuple[int, float]]]:
    curves = {}
    if record.validation and (points := record.validation.curve):
        axis = Axis(
            "validation", "Validation loss", "validation loss", "validation-loss", record.validation.protocol_hash
        )
        curves[axis] = [(point.step, point.loss) for point in points]
    if (quality := record.quality) and quality.curve:
        first = quality.curve[0]
        values, stem = (
            f"FVD[{quality.detector}] of {first.n_fake} clips",
            f"fvd-{file_stem(quality.detector)}-{first.n_fake}",
        )
        axis = Axis("over-training", "FVD", values, stem, first.protocol_hash)
        curves[axis] = [(point.step, point.fvd) for point in quality.curve]
    return curves


def _loss_curves(runs: LabelledRuns, unread: list[str]) -> list[Curve]:
    curves = []
    for label, run in runs:
        file = run.record.training.loss_curve if run.record.training else None
        if points := read_file(run, file, _loss_points, unread):
            curves.append(Curve(label, *points, run.record.status).smoothed())
    return curves


def _loss_points(path: Path) -> tuple[list[float], list[float]] | None:
    """Steps and losses of a loss curve; None where no step has a loss that can be drawn."""
    try:
        rows = pd.read_csv(path)[["step", "loss"]].astype(float)
    except (OSError, ValueError, KeyError) as error:
        raise StbenchError(f"{path}: expected a CSV file with the columns step and loss: {error}") from error
    rows = rows.replace([np.inf, -np.inf], np.nan).dropna()  # a run that diverged ends in what cannot be drawn
    return None if rows.empty else (rows["step"].tolist(), rows["loss"].tolist())


def _plot(axis: Axis, bands: list[Band], colours: Mapping[str, str], where: str, several: bool, caption: str) -> Plot:
    """A plot of curves; where there are several of its kind, its title and its file's name tell the protocol."""
    apart = [where] * bool(where) + [f"protocol {str(axis.protocol)[:12]}"] * several
    title = ", ".join([axis.title + " over training" * (axis is not LOSS), *apart])
    # On a smoothed curve no value is a measurement.
    figure = training_curves(bands, title, axis.values, colours, points=axis is not LOSS)
    stem = axis.stem if axis is LOSS else f"{axis.stem}{f'-{file_stem(str(axis.protocol))}' * several}-over-training"
    spans = [f"{band.label}: from {format_number(band.mean[0])} to {format_number(band.mean[-1])}" for band in bands]
    name = f"{stem}-{file_stem(where)}" if where else stem
    return Plot(axis.kind, name, f"Curves of {axis.values} over training. " + "; ".join(spans), figure, caption)

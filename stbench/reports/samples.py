"""Which strips of samples a report gets: those of a data set under its real clips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stbench.records.schema import Record
from stbench.records.store import StoredRecord
from stbench.reports import media
from stbench.reports.drawing import file_stem
from stbench.reports.runs import ReportedRuns, dataset_of, read_file
from stbench.reports.text import format_number
from stbench.storage.clips import Clips, load_clips


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


def sample_grids(reported: ReportedRuns, unread: list[str]) -> list[SampleGrid]:
    """Return the strips of samples of every run that kept some, each data set on its own.

    Args:
        reported: the runs.
        unread: gets a sentence for each file that cannot be read.
    """
    by_dataset: dict[str, list[tuple[str, StoredRecord, Clips]]] = {}
    for label, run in reported.labelled():
        if clips := read_file(run, run.record.files.get("samples"), load_clips, unread):
            by_dataset.setdefault(dataset_of(run.record.config), []).append((label, run, clips))
    return [_grid(dataset, kept, unread) for dataset, kept in by_dataset.items()]


def _grid(dataset: str, kept: Sequence[tuple[str, StoredRecord, Clips]], unread: list[str]) -> SampleGrid:
    stem, sets = file_stem(dataset), [clips for _, _, clips in kept]
    reals = (read_file(run, run.record.files.get("real"), load_clips, unread) for _, run, _ in kept)
    real = next((clips for clips in reals if clips), None)
    columns = media.choose_columns([real, *sets] if real else sets)
    rows = []
    if real:
        strip = media.make_strip(real, columns)
        rows.append(SampleRow(f"{stem}-00-real", "Real clips", "real clips", "the data set", strip))
    for index, (label, run, clips) in enumerate(kept, start=1):
        name, strip = f"{stem}-{index:02d}-{file_stem(run.record.run_id)}", media.make_strip(clips, columns)
        rows.append(SampleRow(name, label, f"samples of {run.record.run_id}", _score(run.record), strip))
    return SampleGrid(dataset, media.column_names(real or sets[0], columns), rows)


def _score(record: Record) -> str:
    fvd = "no FVD"
    if record.quality and record.quality.fvd is not None:
        fvd = f"FVD[{record.quality.detector}] {format_number(record.quality.fvd)}"
    return f"seed {record.config.get('seed')} · {fvd}"

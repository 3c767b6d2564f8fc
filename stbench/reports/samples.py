"""Which strips of samples a report gets: those of a data set under its real clips, a seed of each configuration first.

What else there is lies folded under them: the same samples over training, and those of the other seeds.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

from stbench.records.schema import STEP_SAMPLES, Record
from stbench.records.store import StoredRecord
from stbench.reports import media
from stbench.reports.drawing import file_stem
from stbench.reports.groups import best_of
from stbench.reports.runs import ReportedRuns, dataset_of, read_file
from stbench.reports.text import format_number
from stbench.storage.clips import Clips, load_clips

MOST_STRIPS = 24  # in a grid; each is a film of some 50 kB
SAMPLES, REAL = "samples", "real"  # names of files in a record


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
    """The strips of one data set, real clips first, and the class of each column (none: not class-conditional).

    `folded` are further strips under the same columns, by what they are.
    """

    dataset: str
    columns: list[str]
    rows: list[SampleRow]
    folded: dict[str, SampleGrid] = field(default_factory=dict)

    @property
    def all_rows(self) -> list[SampleRow]:
        """Those that are shown, and those that are folded."""
        return [row for grid in (self, *self.folded.values()) for row in grid.rows]


@dataclass(frozen=True)
class Kept:
    """Samples that a run kept: a file of its record."""

    label: str
    run: StoredRecord
    file: str = SAMPLES

    @property
    def step(self) -> int | None:
        """The step of training after which they were drawn; None for the last."""
        return int(self.file.removeprefix(STEP_SAMPLES)) if self.file.startswith(STEP_SAMPLES) else None

    @property
    def score(self) -> str:
        """Seed and step, and of the final samples the FVD."""
        seed = f"seed {self.run.record.config.get('seed')}"
        return f"{seed} · {_fvd(self.run.record)}" if self.step is None else f"{seed} · step {self.step}"


def sample_grids(reported: ReportedRuns, unread: list[str]) -> list[SampleGrid]:
    """Return the strips of samples that runs kept, each data set on its own.

    Args:
        reported: the runs.
        unread: gets a sentence for each file that cannot be read.
    """
    by_dataset: dict[str, list[Kept]] = {}
    for label, run in reported.labelled():
        if SAMPLES in run.record.files:
            by_dataset.setdefault(dataset_of(run.record.config), []).append(Kept(label, run))
    grids = []
    for dataset, kept in by_dataset.items():
        groups = [group for group in reported.groups if dataset_of(group.config) == dataset]
        grids.append(sample_grid(dataset, kept, {group.label for group in best_of(groups, MOST_STRIPS)}, unread))
    return [grid for grid in grids if grid]


def sample_grid(dataset: str, kept: Sequence[Kept], best: set[str], unread: list[str]) -> SampleGrid | None:
    """Return the grid of a data set; None where no file of it can be read.

    Args:
        dataset: its name.
        kept: what its runs kept.
        best: the labels of which a run is shown; what else there is is folded under them.
        unread: gets a sentence for each file that cannot be read.
    """
    first: dict[str, Kept] = {}
    for each in kept:
        if each.label in best:
            first.setdefault(each.label, each)
    shown = _readable(list(first.values()), unread)
    reals = (read_file(each.run, each.run.record.files.get(REAL), load_clips, unread) for each in kept)
    real = next((clips for clips in reals if clips), None)
    if not shown:
        return None
    sets = [*([real] if real else []), *(clips for _, clips in shown)]
    columns, stem, number = media.choose_columns(sets), file_stem(dataset), itertools.count(1)
    names = media.column_names(sets[0], columns)

    def grid(of: Sequence[tuple[Kept, Clips]]) -> SampleGrid:
        rows = [_row(f"{stem}-{next(number):02d}", each, media.make_strip(clips, columns)) for each, clips in of]
        return SampleGrid(dataset, names, rows)

    more = {
        "Over training": [step for each in first.values() for step in _over_training(each)],
        "Other runs": [each for each in kept if each is not first.get(each.label)],
    }
    main = grid(shown)
    if real:
        strip = media.make_strip(real, columns)
        main.rows.insert(0, SampleRow(f"{stem}-00-real", "Real clips", "real clips", "the data set", strip))
    for title, some in more.items():
        if readable := _readable(some[:MOST_STRIPS], unread):
            of = f", {MOST_STRIPS} of {len(some)}" if len(some) > MOST_STRIPS else ""
            main.folded[title + of] = grid(readable)
    return main


def _readable(kept: Sequence[Kept], unread: list[str]) -> list[tuple[Kept, Clips]]:
    read = [(each, read_file(each.run, each.run.record.files[each.file], load_clips, unread)) for each in kept]
    return [(each, clips) for each, clips in read if clips]


def _over_training(final: Kept) -> list[Kept]:
    """The samples that the same run drew on the way, by step."""
    files = [name for name in final.run.record.files if name.startswith(STEP_SAMPLES)]
    return sorted((Kept(final.label, final.run, name) for name in files), key=lambda each: each.step or 0)


def _row(number: str, kept: Kept, strip: media.Strip) -> SampleRow:
    run_id = kept.run.record.run_id
    after = "" if kept.step is None else f"-step-{kept.step}"
    return SampleRow(f"{number}-{file_stem(run_id)}{after}", kept.label, f"samples of {run_id}", kept.score, strip)


def _fvd(record: Record) -> str:
    if record.quality and record.quality.fvd is not None:
        return f"FVD[{record.quality.detector}] {format_number(record.quality.fvd)}"
    return "no FVD"

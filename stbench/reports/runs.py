"""The runs of a report: their records in order, a label and a colour for each configuration, and what is missing."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from stbench.errors import StbenchError
from stbench.records.noise_card import NoiseCard, known_cards
from stbench.records.schema import Record, value_at
from stbench.records.store import OUTCOME_NAME, RECORD_NAME, FoundRecords, StoredRecord, find_records, records_frame
from stbench.reports.groups import Group, group_runs
from stbench.reports.labels import label_configurations
from stbench.reports.unfinished import unfinished_runs

# Okabe & Ito, "Color Universal Design" (2008), without yellow and black, which vanish on a light or a dark page.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")

T = TypeVar("T")


@dataclass(frozen=True)
class ReportedRuns:
    """Runs that are reported together."""

    stored: list[StoredRecord]
    found: FoundRecords  # the same as they were found, with what could not be read
    labels: dict[str, str]  # of each `group_hash`
    unfinished: list[str] = field(default_factory=list)  # runs without a record, and how far they came
    cards: list[NoiseCard] = field(default_factory=list)  # that lie beside the runs, or in this checkout
    outcomes: list[Path] = field(default_factory=list)  # of claims, files that lie beside the runs

    @functools.cached_property
    def groups(self) -> list[Group]:
        """The runs by configuration and protocol."""
        return group_runs((label, run.record) for label, run in self.labelled())

    @functools.cached_property
    def colours(self) -> dict[str, str]:
        """A colour for each label; with many labels colours come again."""
        labels = dict.fromkeys(label for label, _ in self.labelled())
        return {label: PALETTE[i % len(PALETTE)] for i, label in enumerate(labels)}

    def labelled(self) -> Iterator[tuple[str, StoredRecord]]:
        """Yield each run with its label."""
        return ((self.labels[run.record.group_hash], run) for run in self.stored)

    def frame(self) -> pd.DataFrame:
        """One row a run in the same order: the columns of `load_records`, and `label`."""
        table = records_frame(self.stored)
        table.insert(0, "label", [label for label, _ in self.labelled()])
        return table


def load_runs(paths: Iterable[Path | str]) -> ReportedRuns:
    """Read the records under `paths`; see `stbench.records.find_records` for what these may be.

    Raises:
        StbenchError: a path that is missing, or no record that can be read.
    """
    asked = [Path(path) for path in paths]
    unfinished = unfinished_runs(asked)
    begun = [path for path in asked if not _holds_only(unfinished, path)]
    if not begun:
        raise StbenchError("; ".join(["no finished run to report", *unfinished.values()]))
    found = find_records(begun)
    # The first run speaks for its group: the others differ in their seed, and in where they were computed.
    configs = {each.record.group_hash: each.record.config for each in reversed(found.stored)}
    labels = label_configurations(configs)
    stored = sorted(found.stored, key=lambda each: _order(each.record, labels))
    outcomes = sorted({file for path in asked for file in path.rglob(OUTCOME_NAME)})
    return ReportedRuns(stored, found, labels, list(unfinished.values()), known_cards(asked), outcomes)


def _holds_only(unfinished: Iterable[Path], path: Path) -> bool:
    """Whether there is no record in a folder, but a run that was begun."""
    inside = any(folder.is_relative_to(path) for folder in unfinished)
    return inside and next(path.rglob(RECORD_NAME), None) is None


def read_file(run: StoredRecord, name: str | None, reader: Callable[[Path], T], unread: list[str]) -> T | None:
    """Read a file that a run kept; None where it is not there, or where it is damaged, which is then said.

    Args:
        run: whose file it is.
        name: of the file, as the record gives it.
        reader: reads it, and raises `StbenchError` where it cannot.
        unread: gets the reason.
    """
    try:
        path = run.file(name)
        return reader(path) if path else None
    except StbenchError as error:
        unread.append(str(error))
        return None


def dataset_of(config: Mapping[str, Any]) -> str:
    """The name of the dataset of a configuration."""
    return str(value_at(config, "dataset.name") or "unnamed")


def _order(record: Record, labels: Mapping[str, str]) -> tuple[Any, ...]:
    """By dataset and variant, then by how long they were trained, then by label and seed."""
    config = record.config
    steps = value_at(config, "train.steps") or 0
    names = (dataset_of(config), str(value_at(config, "variant.name")))
    return (*names, steps, labels[record.group_hash], config.get("seed") or 0, record.run_id)

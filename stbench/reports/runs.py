"""The runs of a report: their records in order, one row each, a label and a colour for each configuration."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from stbench.errors import StbenchError
from stbench.records.schema import value_at
from stbench.records.store import FoundRecords, StoredRecord, find_records, records_frame
from stbench.reports.labels import label_configurations

# Okabe & Ito, "Color Universal Design" (2008), without yellow and black, which vanish on a light or a dark page.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")


@dataclass(frozen=True)
class ReportedRuns:
    """Runs that are reported together."""

    stored: list[StoredRecord]
    found: FoundRecords  # the same as they were found, with what could not be read
    table: pd.DataFrame  # one row a run in the same order, the columns of `load_records` and `label`
    colours: dict[str, str]  # of each label

    def labelled(self) -> Iterator[tuple[str, StoredRecord]]:
        """Yield each run with its label."""
        return zip(self.table["label"], self.stored, strict=True)


def load_runs(paths: Iterable[Path | str]) -> ReportedRuns:
    """Read the records under `paths`; see `stbench.records.find_records` for what these may be."""
    found = find_records(paths)
    stored = sorted(found.stored, key=_order)
    if not stored:
        raise StbenchError("no run to report; expected at least one run folder")
    table = records_frame(stored)
    # The first run speaks for its group: the others differ in their seed, and in where they were computed.
    configs = {each.record.group_hash: each.record.config for each in reversed(stored)}
    labels = label_configurations(configs)
    table.insert(0, "label", [labels[each.record.group_hash] for each in stored])
    colours = {label: PALETTE[i % len(PALETTE)] for i, label in enumerate(table["label"].unique())}
    return ReportedRuns(stored, found, table, colours)


def _order(stored: StoredRecord) -> tuple[str, str, int, str]:
    config = stored.record.config
    names = (value_at(config, "dataset.name") or "", value_at(config, "variant.name") or "")
    return (*names, config.get("seed") or 0, stored.record.run_id)

"""The runs of a report: their records in order, one row each, a label and a colour for each configuration."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from stbench.errors import StbenchError
from stbench.records.schema import Record, value_at
from stbench.records.store import StoredRecord, find_records, records_frame
from stbench.settings.schema import dotted_settings

# Okabe & Ito, "Color Universal Design" (2008), without yellow and black, which vanish on a light or a dark page.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
LABEL_KEYS = 3  # more differing keys than this are counted, not spelled out


@dataclass(frozen=True)
class ReportedRuns:
    """Runs that are reported together."""

    stored: list[StoredRecord]
    table: pd.DataFrame  # one row a run in the same order, the columns of `load_records` and `label`
    colours: dict[str, str]  # of each label

    def labelled(self) -> Iterator[tuple[str, StoredRecord]]:
        """Yield each run with its label."""
        return zip(self.table["label"], self.stored, strict=True)


def load_runs(paths: Iterable[Path | str]) -> ReportedRuns:
    """Read the records under `paths`; see `stbench.records.find_records` for what these may be."""
    stored = sorted(find_records(paths), key=_order)
    if not stored:
        raise StbenchError("no run to report; expected at least one run folder")
    table = records_frame(stored)
    table.insert(0, "label", label_runs([each.record for each in stored]))
    colours = {label: PALETTE[i % len(PALETTE)] for i, label in enumerate(table["label"].unique())}
    return ReportedRuns(stored, table, colours)


def _order(stored: StoredRecord) -> tuple[str, str, int, str]:
    config = stored.record.config
    names = (value_at(config, "dataset.name") or "", value_at(config, "variant.name") or "")
    return (*names, config.get("seed") or 0, stored.record.run_id)


def label_runs(records: list[Record]) -> list[str]:
    """Return a label a record: its variant's name, and what sets its configuration apart from others of that variant.

    Runs of one `group_hash` share a label, and no others do.
    """
    groups = {record.group_hash: record.config for record in reversed(records)}  # the first run speaks for its group
    names = {group: str(value_at(config, "variant.name") or "unnamed variant") for group, config in groups.items()}
    labels = {
        group: " ".join([name, *_distinctions(groups[group], [groups[each] for each in names if names[each] == name])])
        for group, name in names.items()
    }
    # Where one label stands for two groups, what sets them apart is not in their configurations.
    counts = Counter(labels.values())
    told_apart = {group: f"{label} #{group[:6]}" if counts[label] > 1 else label for group, label in labels.items()}
    return [told_apart[record.group_hash] for record in records]


def _distinctions(config: dict[str, Any], siblings: list[dict[str, Any]]) -> list[str]:
    """The settings in which a configuration differs from the others of its variant, as words of a label."""
    own, others = flatten(config), [flatten(sibling) for sibling in siblings]
    unlabelled = {"seed", "variant.name", "dataset.arguments.root"}
    unlabelled |= {key for key, declared in dotted_settings().items() if not declared.metadata["hashed"]}
    keys = sorted({key for other in others for key in other} - unlabelled)
    differing = [key for key in keys if any(other.get(key) != own.get(key) for other in others)]
    if "dataset.name" in differing:
        differing = [key for key in differing if key == "dataset.name" or not key.startswith("dataset.")]
    shown = {key: key.removeprefix("variant.arguments.").replace(".arguments.", ".") for key in differing[:LABEL_KEYS]}
    words = [f"{short.removesuffix('.name')}={own[key]}" for key, short in shown.items() if key in own]
    return [*words, f"+{len(differing) - LABEL_KEYS}"] if len(differing) > LABEL_KEYS else words


def flatten(nested: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a nested dict as one of dotted keys; lists are values."""
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat

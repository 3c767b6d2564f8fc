"""The runs of one report: their records, their table, and a label for each that tells it from the others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from stbench.errors import StbenchError
from stbench.records.schema import Record, value_at
from stbench.records.store import StoredRecord, find_records, records_frame

# Okabe & Ito, "Color Universal Design" (2008), without yellow and black, which vanish on a light or a dark page.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
# Keys that differ between runs without making them different things to compare.
UNLABELLED_KEYS = ("seed", "device", "dataset.arguments.root", "variant.name")
LABEL_KEYS = 3  # more differing keys than this are counted, not spelled out


@dataclass(frozen=True)
class Study:
    """Runs that are reported together.

    Args:
        runs: the stored records.
        table: one row a run in the same order, the columns of `load_records` and `label`.
        colours: a colour for each label.
    """

    runs: list[StoredRecord]
    table: pd.DataFrame
    colours: dict[str, str]

    def labelled(self) -> Iterator[tuple[str, StoredRecord]]:
        """Yield each run with its label."""
        return zip(self.table["label"], self.runs, strict=True)


def load_study(paths: Iterable[Path | str]) -> Study:
    """Read the records under `paths`; see `stbench.records.find_records` for what these may be."""
    runs = sorted(find_records(paths), key=_order)
    if not runs:
        raise StbenchError("no run to report; expected at least one run folder")
    labels = label_runs([stored.record for stored in runs])
    table = records_frame(runs)
    table.insert(0, "label", labels)
    colours = {label: PALETTE[i % len(PALETTE)] for i, label in enumerate(dict.fromkeys(labels))}
    return Study(runs, table, colours)


def _order(stored: StoredRecord) -> tuple[str, str, int, str]:
    config = stored.record.config
    names = (value_at(config, "dataset.name") or "", value_at(config, "variant.name") or "")
    return (*names, config.get("seed") or 0, stored.record.run_id)


def label_runs(records: list[Record]) -> list[str]:
    """Return a label a record: its variant's name, and what sets it apart from other runs of that variant.

    Runs that differ only in their seed share a label; `size=S` and `size=XL` of one variant do not.
    """
    names = [value_at(record.config, "variant.name") or "unnamed variant" for record in records]
    configs = [flatten(record.config) for record in records]
    labels = []
    for name, config in zip(names, configs, strict=True):
        siblings = [other for other_name, other in zip(names, configs, strict=True) if other_name == name]
        labels.append(" ".join([name, *_distinctions(config, siblings)]))
    return labels


def _distinctions(config: dict[str, Any], siblings: list[dict[str, Any]]) -> list[str]:
    keys = sorted({key for sibling in siblings for key in sibling} - set(UNLABELLED_KEYS))
    differing = [key for key in keys if any(sibling.get(key) != config.get(key) for sibling in siblings)]
    if "dataset.name" in differing:
        differing = [key for key in differing if key == "dataset.name" or not key.startswith("dataset.")]
    words = [f"{_short(key)}={config[key]}" for key in differing[:LABEL_KEYS] if key in config]
    return [*words, f"+{len(differing) - LABEL_KEYS}"] if len(differing) > LABEL_KEYS else words


def _short(key: str) -> str:
    return key.removeprefix("variant.arguments.").replace(".arguments.", ".").removesuffix(".name")


def flatten(nested: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a nested dict as one of dotted keys; lists are values."""
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat

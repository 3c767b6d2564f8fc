"""The comparison of a baseline with a candidate, for a person and for CI.

Two runs are compared directly. Of two folders, runs are paired by variant, data set, preset and seed, and seeds are
taken together; where each folder holds one variant and they are not the same, these are baseline and candidate. A
record that cannot be read is named, the others are compared, and the check is then finished in part.

Only a variant compared with itself can regress: another backbone may well cost more or be worse, and is reported so.
A run that does not finish where the baseline does is a failure either way.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from stbench.errors import NotComparable, StbenchError
from stbench.records.schema import Record, flatten, value_at
from stbench.records.store import RECORD_NAME, FoundRecords, StoredRecord, find_records
from stbench.reports.comparison.cells import Cell, Comparison
from stbench.reports.comparison.golden import judge_loss_curves
from stbench.reports.comparison.judging import judge, settle
from stbench.reports.comparison.page import comparison_markdown, comparison_page, comparison_table, ratio_plot
from stbench.reports.drawing import write_figure
from stbench.reports.formats import to_csv
from stbench.storage.folder import swapped_in

CONTENTS = ("compare.md", "compare.csv", "compare.json", "compare.html", "ratios.svg", "ratios.png")

Key = tuple[str, ...]


@dataclass(frozen=True)
class Sides:
    """Runs that are compared with each other: one a seed on each side, in the same order."""

    base: Sequence[StoredRecord]
    new: Sequence[StoredRecord]

    @property
    def records(self) -> tuple[list[Record], list[Record]]:
        """Those of base and of new."""
        return [run.record for run in self.base], [run.record for run in self.new]


@dataclass(frozen=True)
class Pairing:
    """What is compared with what, and the runs that have no counterpart."""

    cells: Sequence[Sides]
    missing: Sequence[str] = ()
    added: Sequence[str] = ()


def compare(base: Path | str, new: Path | str, out_dir: Path | str) -> Comparison:
    """Compare the runs under `new` with those under `base`, and write the result to the folder `out_dir`.

    Args:
        base: a run folder, a record file, or a folder of runs.
        new: likewise.
        out_dir: a new or empty folder, or an earlier comparison, which is replaced.

    Raises:
        StbenchError: no record of a side can be read, or two of its runs cannot be told apart.
        NotComparable: no run has a counterpart.
    """
    found = [find_records([path]) for path in (base, new)]
    alone = all(Path(path).is_file() or (Path(path) / RECORD_NAME).is_file() for path in (base, new))
    sides = Sides(found[0].stored, found[1].stored)
    comparison = judge_pairing(Pairing([sides]) if alone else _pair(sides), found)
    content = {"exit_status": comparison.exit_status, "headline": comparison.headline, **dataclasses.asdict(comparison)}
    for written, cell in zip(content["cells"], comparison.cells, strict=True):
        for row, verdict in zip(written["verdicts"], cell.verdicts, strict=True):
            row["ratio"] = verdict.ratio
    figure = ratio_plot(comparison)
    with swapped_in(Path(out_dir), CONTENTS) as folder:
        texts = {
            "compare.md": comparison_markdown(comparison),
            "compare.csv": to_csv(comparison_table(comparison)),
            "compare.json": json.dumps(content, indent=2) + "\n",
            "compare.html": comparison_page(comparison, figure),
        }
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
        if figure:
            write_figure(figure, folder, "ratios")
    return comparison


def judge_pairing(pairing: Pairing, found: Sequence[FoundRecords]) -> Comparison:
    """Judge every cell, and all of them together.

    Args:
        pairing: the cells.
        found: both sides as they lie on disk, for what of them cannot be read.
    """
    unread = [reason for side in found for reason in side.unreadable.values()]
    judged = [
        [*judge(*sides.records), *filter(None, [judge_loss_curves(sides.base, sides.new, unread)])]
        for sides in pairing.cells
    ]
    settled = iter(settle([each for cell in judged for each in cell]))
    cells = [
        dataclasses.replace(_cell(*sides.records), verdicts=list(islice(settled, len(cell))))
        for sides, cell in zip(pairing.cells, judged, strict=True)
    ]
    return Comparison(cells, list(pairing.missing), list(pairing.added), unread)


def _pair(sides: Sides) -> Pairing:
    """Pair the runs of two folders by their names, and take the seeds of a configuration together."""
    variants = [{_key(run.record)[0] for run in side} for side in (sides.base, sides.new)]
    candidate = all(len(names) == 1 for names in variants) and variants[0] != variants[1]
    first = 1 if candidate else 0  # a candidate's variant is not part of what must be equal
    base, new = _by_key(sides.base, first), _by_key(sides.new, first)
    shared = [key for key in base if key in new]
    if not shared:
        known, expected = (", ".join(map(_spell, side)) for side in (new, base))
        raise NotComparable(f"nothing to compare: NEW holds none of BASE's runs; expected {expected}; it has {known}")
    cells: dict[Key, list[Key]] = {}
    for key in shared:
        cells.setdefault(key[:-1], []).append(key)
    return Pairing(
        [Sides([base[key] for key in keys], [new[key] for key in keys]) for keys in cells.values()],
        [_spell(key) for key in base if key not in new],
        [_spell(key) for key in new if key not in base],
    )


def _by_key(runs: Sequence[StoredRecord], first: int) -> dict[Key, StoredRecord]:
    """The runs of one side by what they are paired by: their key from its part `first` on."""
    keyed: dict[Key, StoredRecord] = {}
    for run in sorted(runs, key=lambda run: _key(run.record)):
        key = _key(run.record)[first:]
        if key in keyed:
            raise StbenchError(
                f"two runs of {_spell(key)} on one side: {keyed[key].record.run_id!r} and {run.record.run_id!r}; "
                "expected one run a variant, dataset, preset and seed: give their run folders one by one"
            )
        keyed[key] = run
    return keyed


def _key(record: Record) -> Key:
    """What a run is compared by: variant, dataset, preset and seed. Its other settings may have changed."""
    config = record.config
    names = (value_at(config, "variant.name"), value_at(config, "dataset.name"))
    return tuple(str(value) for value in (*names, config.get("preset"), config.get("seed")))


def _spell(key: Key) -> str:
    return f"{' / '.join(key[:-1])} seed {key[-1]}"


def _cell(base: Sequence[Record], new: Sequence[Record]) -> Cell:
    """What is compared with what, before it is judged."""
    base_key, new_key = _key(base[0])[:-1], _key(new[0])[:-1]
    parts = [old if old == changed else f"{old} → {changed}" for old, changed in zip(base_key, new_key, strict=True)]
    before, after = flatten(base[0].config), flatten(new[0].config)
    changed_keys = [key for key in {**before, **after} if before.get(key) != after.get(key)]
    return Cell(
        name=" / ".join(parts),
        base=[record.run_id for record in base],
        new=[record.run_id for record in new],
        gated=base_key == new_key,
        differences=[f"{key}: {before.get(key, '(none)')} → {after.get(key, '(none)')}" for key in changed_keys],
        verdicts=[],
    )

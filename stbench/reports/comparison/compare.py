"""The comparison of a baseline with a candidate, for a person and for CI.

Two runs are compared directly. Of two folders, runs are paired by variant, data set, preset and seed, and seeds are
taken together; where each folder holds one variant and they are not the same, these are baseline and candidate. A
record that cannot be read is named, the others are compared, and the check is then finished in part.

Only a variant compared with itself can regress: another backbone may well cost more or be worse, and is reported so.
A run that does not finish where the baseline does fails the check either way.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from stbench.errors import StbenchError
from stbench.records.schema import Record, flatten, value_at
from stbench.records.store import RECORD_NAME, find_records
from stbench.reports.comparison.cells import Cell, Comparison
from stbench.reports.comparison.page import comparison_markdown, comparison_page, ratio_plot
from stbench.reports.comparison.verdicts import correct, judge
from stbench.reports.drawing import write_figure
from stbench.storage.folder import swapped_in

CONTENTS = ("compare.md", "compare.json", "compare.html", "ratios.svg", "ratios.png")

Key = tuple[str, ...]


def compare(base: Path | str, new: Path | str, out_dir: Path | str) -> Comparison:
    """Compare the runs under `new` with those under `base`, and write the result to the folder `out_dir`.

    Args:
        base: a run folder, a record file, or a folder of runs.
        new: likewise.
        out_dir: a new or empty folder, or an earlier comparison, which is replaced.

    Raises:
        StbenchError: no record of a side can be read, two of its runs cannot be told apart, or no run has a
            counterpart.
    """
    sides = [find_records([path]) for path in (base, new)]
    base_runs, new_runs = ([stored.record for stored in found.stored] for found in sides)
    if all(Path(path).is_file() or (Path(path) / RECORD_NAME).is_file() for path in (base, new)):
        comparison = Comparison([_cell(base_runs, new_runs)], [], [], [])
    else:
        comparison = _compare_folders(base_runs, new_runs)
    unreadable = [reason for found in sides for reason in found.unreadable.values()]
    comparison = dataclasses.replace(comparison, cells=_corrected(comparison.cells), unreadable=unreadable)
    content = {"exit_status": comparison.exit_status, "headline": comparison.headline, **dataclasses.asdict(comparison)}
    for written, cell in zip(content["cells"], comparison.cells, strict=True):
        for row, verdict in zip(written["verdicts"], cell.verdicts, strict=True):
            row["ratio"] = verdict.ratio
    figure = ratio_plot(comparison)
    with swapped_in(Path(out_dir), CONTENTS) as folder:
        (folder / "compare.md").write_text(comparison_markdown(comparison), encoding="utf-8")
        (folder / "compare.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        (folder / "compare.html").write_text(comparison_page(comparison, figure), encoding="utf-8")
        if figure:
            write_figure(figure, folder, "ratios")
    return comparison


def _compare_folders(base: Sequence[Record], new: Sequence[Record]) -> Comparison:
    """Pair the runs of two folders by their names, and take the seeds of a configuration together."""
    variants = [{_key(record)[0] for record in side} for side in (base, new)]
    candidate = all(len(names) == 1 for names in variants) and variants[0] != variants[1]
    first = 1 if candidate else 0  # a candidate's variant is not part of what must be equal
    base_by_key: dict[Key, Record] = {}
    new_by_key: dict[Key, Record] = {}
    for side, keyed in ((base, base_by_key), (new, new_by_key)):
        for record in sorted(side, key=_key):
            key = _key(record)[first:]
            if key in keyed:
                raise StbenchError(
                    f"two runs of {_spell(key)} on one side: {keyed[key].run_id!r} and {record.run_id!r}; "
                    "expected one run a variant, dataset, preset and seed: give their run folders one by one"
                )
            keyed[key] = record
    shared = [key for key in base_by_key if key in new_by_key]
    if not shared:
        known = ", ".join(_spell(key) for key in new_by_key)
        expected = ", ".join(_spell(key) for key in base_by_key)
        raise StbenchError(f"nothing to compare: NEW holds none of BASE's runs; expected {expected}; it has {known}")
    cells: dict[Key, list[Key]] = {}
    for key in shared:
        cells.setdefault(key[:-1], []).append(key)
    return Comparison(
        [_cell([base_by_key[key] for key in keys], [new_by_key[key] for key in keys]) for keys in cells.values()],
        [_spell(key) for key in base_by_key if key not in new_by_key],
        [_spell(key) for key in new_by_key if key not in base_by_key],
        [],
    )


def _corrected(cells: Sequence[Cell]) -> list[Cell]:
    """The cells with p values that are corrected for all figures of all of them."""
    verdicts = iter(correct([verdict for cell in cells for verdict in cell.verdicts]))
    return [dataclasses.replace(cell, verdicts=list(islice(verdicts, len(cell.verdicts)))) for cell in cells]


def _key(record: Record) -> Key:
    """What a run is compared by: variant, dataset, preset and seed. Its other settings may have changed."""
    config = record.config
    names = (value_at(config, "variant.name"), value_at(config, "dataset.name"))
    return tuple(str(value) for value in (*names, config.get("preset"), config.get("seed")))


def _spell(key: Key) -> str:
    return f"{' / '.join(key[:-1])} seed {key[-1]}"


def _cell(base: Sequence[Record], new: Sequence[Record]) -> Cell:
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
        verdicts=judge(base, new),
    )

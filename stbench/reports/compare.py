"""The comparison of a baseline with a candidate, for a person and for CI.

Two runs are compared directly. Of two folders, runs are paired by variant, data set, preset and seed, and seeds are
taken together; where each folder holds one variant and they are not the same, these are baseline and candidate.

Only a variant compared with itself can regress: another backbone may well cost more or be worse, and is reported so.
A run that does not finish where the baseline does fails the check either way.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stbench.errors import CheckFailed, NotComparable, StbenchError
from stbench.records.schema import Record, value_at
from stbench.records.store import RECORD_NAME, find_records
from stbench.reports import plots
from stbench.reports.comparison_page import comparison_markdown, comparison_page, ratio_plot
from stbench.reports.runs import flatten
from stbench.reports.verdicts import BETTER, FAILING, NOT_COMPARABLE, RUNS_FINISHED, WORSE, Verdict, judge
from stbench.storage.folder import swapped_in

CONTENTS = ("compare.md", "compare.json", "compare.html", "ratios.svg", "ratios.png")

Key = tuple[str, ...]


@dataclass(frozen=True)
class Cell:
    """Runs that were compared with each other, one a seed on each side, and the verdicts.

    Args:
        name: what was compared with what.
        base: names of the runs.
        new: names of the runs of the same seeds, in the same order.
        gated: whether a worse or changed metric is a regression.
        differences: fields of the configuration that differ, with their values.
        verdicts: one a metric.
    """

    name: str
    base: list[str]
    new: list[str]
    gated: bool
    differences: list[str]
    verdicts: list[Verdict]


@dataclass(frozen=True)
class Comparison:
    """Everything that was compared, what could not be paired, and what follows from it.

    Args:
        cells: what was compared.
        missing: runs of the baseline that the candidate lacks: a failed check.
        added: runs that only the candidate has.
    """

    cells: list[Cell]
    missing: list[str]
    added: list[str]

    @property
    def verdicts(self) -> list[Verdict]:
        """Every verdict, one configuration after another."""
        return [verdict for cell in self.cells for verdict in cell.verdicts]

    @property
    def regressions(self) -> list[str]:
        """Metrics of variants compared with themselves that became worse or changed, and runs that no longer finish."""
        return [
            f"{cell.name}: {verdict.metric} {verdict.verdict}"
            for cell in self.cells
            for verdict in cell.verdicts
            if verdict.verdict in FAILING and (cell.gated or verdict.metric == RUNS_FINISHED)
        ]

    @property
    def exit_status(self) -> int:
        """0 fine; 1 a regression or a missing run; 4 when not one metric could be compared."""
        if self.regressions or self.missing:
            return CheckFailed.exit_status
        compared = any(verdict.verdict != NOT_COMPARABLE for verdict in self.verdicts)
        return 0 if compared else NotComparable.exit_status

    @property
    def headline(self) -> str:
        """The outcome in one sentence."""
        if self.exit_status == NotComparable.exit_status:
            return f"Not comparable: {'; '.join(self.obstacles) or 'neither side recorded a result'}."
        if self.regressions:
            return f"{_counted(len(self.regressions), 'regression')}: {'; '.join(self.regressions)}."
        if self.missing:
            return f"{_counted(len(self.missing), 'run')} of the baseline missing: {', '.join(self.missing)}."
        if not any(cell.gated for cell in self.cells):
            return f"A candidate against a baseline: {self._tally()}."
        return "No regression" + (" in what could be compared." if self.obstacles else ".")

    def _tally(self) -> str:
        metrics = {kind: [v.metric for v in self.verdicts if v.verdict == kind] for kind in (BETTER, WORSE)}
        tallied = [f"{kind} in {', '.join(dict.fromkeys(names))}" for kind, names in metrics.items() if names]
        return "; ".join(tallied) or "no difference in what could be compared"

    @property
    def obstacles(self) -> list[str]:
        """Why metrics could not be compared, each reason once."""
        return list(dict.fromkeys(v.reason for v in self.verdicts if v.verdict == NOT_COMPARABLE))

    @property
    def markdown(self) -> str:
        """The comparison as Markdown, e.g. for a comment on a pull request."""
        return comparison_markdown(self)


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def compare(base: Path | str, new: Path | str, out_dir: Path | str) -> Comparison:
    """Compare the runs under `new` with those under `base`, and write the result to the folder `out_dir`.

    Args:
        base: a run folder, a record file, or a folder of runs.
        new: likewise.
        out_dir: a new or empty folder, or an earlier comparison, which is replaced.

    Raises:
        StbenchError: a record cannot be read, two runs of one side cannot be told apart, or no run has a counterpart.
    """
    base_runs, new_runs = ([stored.record for stored in find_records([path])] for path in (base, new))
    if _is_single(Path(base)) and _is_single(Path(new)):
        comparison = Comparison([_cell(base_runs, new_runs)], [], [])
    else:
        comparison = _compare_folders(base_runs, new_runs)
    _write(comparison, Path(out_dir))
    return comparison


def _is_single(path: Path) -> bool:
    return path.is_file() or (path / RECORD_NAME).is_file()


def _compare_folders(base: Sequence[Record], new: Sequence[Record]) -> Comparison:
    variants = [{_key(record)[0] for record in side} for side in (base, new)]
    candidate = all(len(names) == 1 for names in variants) and variants[0] != variants[1]
    first = 1 if candidate else 0  # a candidate's variant is not part of what must be equal
    base_by_key, new_by_key = (_by_key(side, first) for side in (base, new))
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
    )


def _key(record: Record) -> Key:
    config = record.config
    names = (value_at(config, "variant.name"), value_at(config, "dataset.name"))
    return tuple(str(value) for value in (*names, config.get("preset"), config.get("seed")))


def _spell(key: Key) -> str:
    return f"{' / '.join(key[:-1])} seed {key[-1]}"


def _by_key(records: Sequence[Record], first: int) -> dict[Key, Record]:
    keyed: dict[Key, Record] = {}
    for record in sorted(records, key=_key):
        key = _key(record)[first:]
        if key in keyed:
            raise StbenchError(
                f"two runs of {_spell(key)} on one side: {keyed[key].run_id!r} and {record.run_id!r}; "
                "expected one run a variant, dataset, preset and seed: give their run folders one by one"
            )
        keyed[key] = record
    return keyed


def _cell(base: Sequence[Record], new: Sequence[Record]) -> Cell:
    base_key, new_key = _key(base[0])[:-1], _key(new[0])[:-1]
    parts = [old if old == changed else f"{old} → {changed}" for old, changed in zip(base_key, new_key, strict=True)]
    return Cell(
        " / ".join(parts),
        [record.run_id for record in base],
        [record.run_id for record in new],
        base_key == new_key,
        _config_differences(base[0], new[0]),
        judge(base, new),
    )


def _config_differences(base: Record, new: Record) -> list[str]:
    old, changed = flatten(base.config), flatten(new.config)
    keys = [key for key in {**old, **changed} if old.get(key) != changed.get(key)]
    return [f"{key}: {old.get(key, '(none)')} → {changed.get(key, '(none)')}" for key in keys]


def _write(comparison: Comparison, out_dir: Path) -> None:
    figure = ratio_plot(comparison)
    with swapped_in(out_dir, CONTENTS) as folder:
        (folder / "compare.md").write_text(comparison.markdown, encoding="utf-8")
        (folder / "compare.json").write_text(json.dumps(_to_json(comparison), indent=2) + "\n", encoding="utf-8")
        (folder / "compare.html").write_text(comparison_page(comparison, figure), encoding="utf-8")
        if figure:
            (folder / "ratios.svg").write_text(plots.to_svg(figure), encoding="utf-8")
            (folder / "ratios.png").write_bytes(plots.to_png(figure))


def _to_json(comparison: Comparison) -> dict[str, Any]:
    content = {"exit_status": comparison.exit_status, "headline": comparison.headline, **dataclasses.asdict(comparison)}
    for written, cell in zip(content["cells"], comparison.cells, strict=True):
        for row, verdict in zip(written["verdicts"], cell.verdicts, strict=True):
            row["ratio"] = verdict.ratio
    return content

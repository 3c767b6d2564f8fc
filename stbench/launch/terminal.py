"""What `stbench sweep` prints: what is missing, and a line for each arm. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from stbench.launch.arms import Arm
from stbench.launch.cells import Cell, State
from stbench.records.measures import MEASURES, Measure
from stbench.records.schema import Record
from stbench.records.statistics import summarise_seeds
from stbench.records.store import read_record
from stbench.reports.terminal import print_rows

# The columns of the table, as far as any cell has such a figure.
MAIN_FIGURES = ("validation_loss", "fvd", "class_agreement", "motion_all", "params", "train_step_ms")


def print_sweep(states: Mapping[Cell, State], out: Path) -> None:
    """Print what is missing and why, the figures of each arm, and how to see more."""
    for cell, state in states.items():
        if state.name != "finished":
            print(f"missing: {cell.label}: {': '.join(filter(None, (state.name, state.reason)))}; log: {cell.log}")
    records = {cell: read_record(cell.folder) for cell, state in states.items() if state.name == "finished"}
    if records:
        print_rows(_table(states, records))
        print(f"whole report: stbench report {out} --out {out}-report")


def _table(states: Mapping[Cell, State], records: Mapping[Cell, Record]) -> Iterator[tuple[str, ...]]:
    """A row for each arm, below their headings."""
    by_arm: dict[Arm, list[Cell]] = {}
    for cell in states:
        by_arm.setdefault(cell.arm, []).append(cell)
    measures = [MEASURES[name] for name in MAIN_FIGURES]
    measures = [each for each in measures if any(each.of(record) is not None for record in records.values())]
    first = next(iter(records.values()))
    yield ("arm", "seeds finished", *(each.heading(first) for each in measures))
    for arm, cells in by_arm.items():
        own = [records[cell] for cell in cells if cell in records]
        yield (arm.label, f"{len(own)} of {len(cells)}", *(_figure(each, own) for each in measures))


def _figure(measure: Measure, records: list[Record]) -> str:
    """The mean over seeds, and where there are several their standard deviation."""
    values = [value for record in records if (value := measure.of(record)) is not None]
    if not values:
        return "-"
    summary = summarise_seeds(values)
    spread = f" ± {summary.sd:.2g}" if summary.sd else ""
    return f"{summary.mean:.4g}{spread}"

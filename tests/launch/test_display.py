"""Steps are counted over all cells, from where each began, and a line tells of each that has ended."""

from __future__ import annotations

import pytest

from stbench.launch.cells import Cell, State
from stbench.launch.display import steps_of, sweep_display

from .conftest import MakeCell


def take(cell: Cell, steps: int, then: str = "") -> None:
    cell.folder.mkdir(parents=True, exist_ok=True)
    lines = ["step,loss", *(f"{step},{step / 7}" for step in range(1, steps + 1))]
    (cell.folder / "loss.csv").write_text("".join(f"{line}\r\n" for line in lines) + then)


def test_steps_are_those_of_the_last_whole_line(make_cell: MakeCell) -> None:
    cell = make_cell()
    assert steps_of(cell) == 0
    for steps, then in ((0, ""), (3, ""), (3, "4,0.1"), (1000, "")):
        take(cell, steps, then)
        assert steps_of(cell) == steps


def test_one_bar_shows_all_cells(make_cell: MakeCell, capsys: pytest.CaptureFixture[str]) -> None:
    cells = [make_cell(seed=seed, steps=50) for seed in range(3)]
    take(cells[0], 10)
    with sweep_display(cells) as display:
        take(cells[0], 20)
        display.show(cells[:2])
        take(cells[0], 5)  # resumed from an earlier checkpoint
        take(cells[1], 5)
        display.show(cells[:2])
        display.tell(cells[0], State("finished"))
        display.tell(cells[1], State("failed", "nan: the loss is not finite"))
        display.show(cells[2:])
    told = [line.partition(", 0:")[0] for line in capsys.readouterr().err.splitlines()]
    assert told == [
        "sweep: 20/150, 0 of 3 cells ended, now latte1, seed 0; latte1, seed 1",
        "sweep: 25/150, 0 of 3 cells ended, now latte1, seed 0; latte1, seed 1",
        "sweep: 55/150, 0 of 3 cells ended, now latte1, seed 0; latte1, seed 1",
        "latte1, seed 0: finished",
        "sweep: 100/150, 0 of 3 cells ended, now latte1, seed 0; latte1, seed 1",
        "latte1, seed 1: failed: nan: the loss is not finite",
    ]

"""What is missing is named with its log, and each arm has a line with the mean and the spread of its seeds."""

from __future__ import annotations

from pathlib import Path

import pytest

from stbench.launch.cells import State, state_of
from stbench.launch.terminal import print_sweep

from .conftest import MakeCell, record_of, write_record


def test_arms_have_their_figures(make_cell: MakeCell, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cells = [make_cell(seed=seed) for seed in range(3)]
    cells = [type(each)(cells[0].arm, each.config, each.out) for each in cells]  # of one arm
    counts = {"params_total": 0, "params_trainable": 0, "gmacs": 1.5, "gflops": 3.0}
    for cell, params in zip(cells[:2], (1_000_000, 3_000_000), strict=True):
        write_record(cell, record_of(cell, counts=counts | {"params_total": params}))
    write_record(cells[2], record_of(cells[2], "oom"))
    print_sweep({cell: state_of(cell) for cell in cells}, tmp_path)
    assert capsys.readouterr().out.splitlines() == [
        f"missing: latte1, seed 2: failed: oom: the loss is not finite; log: {cells[2].log}",
        "arm     seeds finished  parameters (M)",
        "latte1  2 of 3          2 ± 1.4",
        f"whole report: stbench report {tmp_path} --out {tmp_path}-report",
    ]


def test_without_a_finished_cell_there_is_no_table(
    make_cell: MakeCell, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cell = make_cell()
    print_sweep({cell: State("new")}, tmp_path)
    assert capsys.readouterr().out == f"missing: latte1, seed 0: new; log: {cell.log}\n"

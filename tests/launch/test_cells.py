"""How far a cell has come, read from its folder and its log; and cells prepared as `stbench run` would name them."""

from __future__ import annotations

from pathlib import Path

import pytest

from stbench.errors import StbenchError
from stbench.launch.arms import read_arms
from stbench.launch.cells import State, prepare_cells, prepared_configs, state_of
from stbench.launch.logs import begin_log, end_log
from stbench.run.setup import prepare
from stbench.settings.resolve import resolve
from stbench.storage.lock import locked

from .conftest import MakeCell, record_of, write_record

SMOKE = ["dataset=shapes", "preset=smoke", "device=cpu"]


def test_a_cell_is_the_run_that_its_words_make(tmp_path: Path) -> None:
    """Prepared in a process of its own; equal ones are one cell."""
    cells = prepare_cells(read_arms([*SMOKE, "variant=latte1,dit", "train.lr=1e-3,0.001", "seed=1,2"]), tmp_path)
    assert [cell.config.run_id for cell in cells] == [
        prepare(resolve([*SMOKE, f"variant={variant}", "train.lr=1e-3", f"seed={seed}"])).config.run_id
        for seed in (1, 2)
        for variant in ("latte1", "dit")
    ]
    assert cells[0].folder == tmp_path / cells[0].config.run_id
    assert cells[0].label == "latte1 train.lr=1e-3, seed 1"
    assert cells[0].words[-1] == "seed=1"


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("train.lr=fast", "latte1: train.lr=fast: expected a number"),
        ("train.stepps=3", "latte1: unknown key 'train.stepps': did you mean 'train.steps'"),
        ("variant.patch_size=5", "latte1: "),
    ],
)
def test_what_a_run_refuses_is_refused_with_the_arm_s_name(word: str, told: str) -> None:
    with pytest.raises(StbenchError, match=told):
        prepared_configs(read_arms([*SMOKE, "variant=latte1", word]))


def test_an_error_comes_back_from_the_other_process(tmp_path: Path) -> None:
    with pytest.raises(StbenchError, match="latte9: unknown variant 'latte9'"):
        prepare_cells(read_arms([*SMOKE, "variant=latte1,latte9"]), tmp_path)


def test_the_record_alone_tells_that_a_cell_is_finished(make_cell: MakeCell) -> None:
    cell = make_cell()
    assert state_of(cell) == State("new")
    begin_log(cell.log, "stbench run").close()
    assert state_of(cell) == State("interrupted", "ended without a record")
    end_log(cell.log, 0, False)
    assert state_of(cell).name == "failed"
    write_record(cell, record_of(cell))
    assert state_of(cell) == State("finished")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"status": "nan", "reason": "the loss is not finite"}, "nan: the loss is not finite"),
        ({"config_hash": "another"}, "is of another run, configuration another"),
        ({"schema": 1}, "version 1"),
    ],
)
def test_a_record_that_says_otherwise_is_a_failure(
    content: dict[str, object], reason: str, make_cell: MakeCell
) -> None:
    cell = make_cell()
    write_record(cell, record_of(cell) | content)
    state = state_of(cell)
    assert state.name == "failed"
    assert reason in state.reason


def test_a_cell_of_another_process_is_running(make_cell: MakeCell) -> None:
    cell = make_cell()
    with locked(cell.folder):
        assert state_of(cell) == State("running", "in this process")
        write_record(cell, record_of(cell, "failed"))
        assert state_of(cell).name == "running", "it is run again"
        write_record(cell, record_of(cell))
        assert state_of(cell).name == "finished"

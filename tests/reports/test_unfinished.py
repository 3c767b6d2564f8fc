"""Runs that were begun and have no record are listed, and stop no report."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from stbench.errors import StbenchError
from stbench.reports.runs import load_runs
from stbench.reports.unfinished import unfinished_runs
from stbench.storage.lock import locked

MakeRun = Callable[..., Path]


def begun(folder: Path, *checkpoints: int) -> Path:
    """A run that was killed after its checkpoints."""
    (folder / "checkpoints").mkdir(parents=True)
    config = {"variant": {"name": "uvit"}, "train": {"steps": 400}, "seed": 1}
    (folder / "config.json").write_text(json.dumps(config))
    for step in checkpoints:
        (folder / "checkpoints" / f"step-{step:08d}.safetensors").touch()
    return folder


def test_a_killed_run_says_how_far_it_came(tmp_path: Path) -> None:
    folders = [begun(tmp_path / "a", 100, 200), begun(tmp_path / "b")]
    assert unfinished_runs([tmp_path]) == {
        folders[0]: "uvit, seed 1 (a): ended without a record, newest checkpoint at step 200 of 400; --resume goes on",
        folders[1]: "uvit, seed 1 (b): ended without a record, no checkpoint; --resume goes on",
    }


def test_a_run_at_work_says_so(tmp_path: Path) -> None:
    folder = begun(tmp_path / "a", 100)
    with locked(folder):
        assert unfinished_runs([tmp_path])[folder] == (
            "uvit, seed 1 (a): still running (this process), newest checkpoint at step 100 of 400"
        )


@pytest.mark.parametrize("text", ["{", "[]", '{"architectures": []}', "[" * 100_000])
def test_a_configuration_of_something_else_is_no_run(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    assert unfinished_runs([tmp_path]) == {}


def test_a_run_with_a_record_has_ended(make_run: MakeRun) -> None:
    run = make_run()
    begun(run)
    assert unfinished_runs([run.parent]) == {}


@pytest.mark.parametrize("named_one_by_one", [False, True])
def test_runs_beside_it_are_reported(make_run: MakeRun, named_one_by_one: bool) -> None:
    run = make_run()
    killed = begun(run.parent / "killed", 100)
    reported = load_runs([run, killed] if named_one_by_one else [run.parent])
    assert len(reported.stored) == 1
    assert [sentence.split(":")[0] for sentence in reported.unfinished] == ["uvit, seed 1 (killed)"]


def test_nothing_but_unfinished_runs_is_an_error_that_lists_them(tmp_path: Path) -> None:
    begun(tmp_path / "a", 100)
    with pytest.raises(StbenchError, match=r"no finished run to report; uvit, seed 1 \(a\): ended without a record"):
        load_runs([tmp_path])

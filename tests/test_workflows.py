"""What runs on pull requests: the workflows, and the script by which two checkouts are compared."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
STEPS = [
    (path.name, step)
    for path in WORKFLOWS
    for job in yaml.safe_load(path.read_text())["jobs"].values()
    for step in job["steps"]
]
# Stands for `stbench` in a checkout: notes who was called with what, and ends as it is told to.
STUB = """#!/usr/bin/env bash
echo "$(basename "$(dirname "$(dirname "$(dirname "$0")")")") $1 $(grep -o 'seed=[0-9]*' <<< "$*")" >> "$CALLS"
[ "$1" = sweep ] && exit "$SWEEP"
[ "$WRITES" = 0 ] || { mkdir -p "${@: -1}" && touch "${@: -1}/compare.json"; }
exit "$COMPARE"
"""


@pytest.mark.parametrize(("name", "step"), STEPS)
def test_steps_are_pinned_actions_or_bash_that_parses(name: str, step: dict[str, Any]) -> None:
    if "uses" in step:  # by a commit: a tag may be moved to other code
        assert re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", step["uses"])
    else:
        assert "${{" not in step["run"]  # what a title or a branch's name holds would be run
        subprocess.run(["bash", "-n"], input=step["run"], text=True, check=True)


@pytest.mark.skipif(not (linter := shutil.which("zizmor", path=str(Path(sys.executable).parent))), reason="no zizmor")
@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_pass_the_linter(path: Path) -> None:
    assert linter
    done = subprocess.run([linter, "--offline", "--pedantic", path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.fixture
def checkouts(tmp_path: Path) -> Path:
    for side in ("base", "new"):
        stub = tmp_path / side / ".venv" / "bin" / "stbench"
        stub.parent.mkdir(parents=True)
        stub.write_text(STUB)
        stub.chmod(0o755)
    return tmp_path


def compare(folder: Path, sweep: int = 0, compare: int = 0, writes: int = 1) -> tuple[int, list[str]]:
    """Run the script on two checkouts; its exit status, and the calls that it made."""
    calls = folder / "calls"
    told = {"CALLS": str(calls), "SWEEP": str(sweep), "COMPARE": str(compare), "WRITES": str(writes), "SEEDS": "0 1"}
    command = [str(ROOT / ".ci" / "compare"), "base", "new", "out"]
    done = subprocess.run(command, cwd=folder, env={**os.environ, **told}, check=False)
    return done.returncode, calls.read_text().splitlines()


def test_base_and_new_take_turns(checkouts: Path) -> None:
    status, calls = compare(checkouts)
    turns = [f"{side} sweep seed={seed}" for seed in (0, 1) for side in ("base", "new")]
    assert (status, calls) == (0, [*turns, "new compare "])


@pytest.mark.parametrize("status", [0, 1, 3, 4])
def test_the_status_is_that_of_the_comparison(checkouts: Path, status: int) -> None:
    assert compare(checkouts, compare=status)[0] == status


def test_a_sweep_that_finished_in_part_is_compared(checkouts: Path) -> None:
    status, calls = compare(checkouts, sweep=3, compare=3)
    assert (status, calls[-1]) == (3, "new compare ")


@pytest.mark.parametrize("status", [1, 2, 70, 127])
def test_a_sweep_that_could_not_run_is_no_regression_and_no_pass(checkouts: Path, status: int) -> None:
    assert compare(checkouts, sweep=status) == (2, ["base sweep seed=0"])


def test_a_comparison_that_could_not_run_is_no_regression(checkouts: Path) -> None:
    assert compare(checkouts, compare=1, writes=0)[0] == 2
    assert compare(checkouts, compare=4, writes=0)[0] == 4  # as where no run has a counterpart

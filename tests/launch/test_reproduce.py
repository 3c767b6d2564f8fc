"""A whole reproduction: registered, run, judged, written, and the exit status that follows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from stbench.cli import app
from stbench.errors import CheckFailed, FinishedInPart, StbenchError
from stbench.launch import trained_arms as module
from stbench.launch.cells import Cell, State, state_of
from stbench.launch.reproduce import reproduce
from stbench.records.claim_verdicts import Outcome, read_outcome
from stbench.settings.options import ReproduceOptions

from .conftest import record_of, write_record
from .test_trained_arms import prepared

TINY = ReproduceOptions(scale="tiny")
CLAIMS = """
title: Mine
arms:
  base: variant=latte1
  again: {words: variant=latte1, first_seed: 5}
  blind: variant=dit
  mine: variant=latte2
scales:
  tiny: {about: tiny networks, datasets: [shapes], words: preset=smoke train.lr_schedule=constant, seeds: 5}
claims:
  - {id: sees, statement: S., control: positive, arms: [blind, base], relation: worse}
  - {id: same, statement: N., control: negative, arms: [base, again], relation: equivalent}
  - {id: mine, statement: M., arms: [mine, base], relation: better}
  - {id: small, statement: C., arms: [blind, base], relation: better, measures: [params]}
"""
LOSSES = {"latte1": 0.2, "dit": 0.3, "latte2": 0.1}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "mine.yaml").write_text(CLAIMS)
    return tmp_path / "mine.yaml"


@pytest.fixture
def losses(monkeypatch: pytest.MonkeyPatch) -> dict[str, float | None]:
    """The loss that every variant comes to; None: its runs fail."""
    found: dict[str, float | None] = dict(LOSSES)

    def run(cells: Sequence[Cell], jobs: int, retry: bool) -> dict[Cell, State]:
        for cell in cells:
            loss, seed = found[cell.config.variant.name], cell.config.settings.seed
            write_record(
                cell, record_of(cell, "nan") if loss is None else _trained(cell, loss * (1 + 0.01 * (seed % 5)))
            )
        return {cell: state_of(cell) for cell in cells}

    monkeypatch.setattr(module, "call_aside", lambda function, arms: prepared(arms))
    monkeypatch.setattr(module, "run_missing", run)
    return found


def _trained(cell: Cell, loss: float) -> dict[str, Any]:
    steps = cell.steps
    training = {
        "steps": steps,
        "loss_curve": "loss.csv",
        "wall_s": 1.0,
        "precision": "float32",
        "attention": "math",
        "device": "cpu",
        "freed_memory": "kept",
    }
    point = {"loss": loss, "buckets": [loss]}
    held_out = {
        "protocol_hash": "v",
        "n_clips": 2,
        "draws": 1,
        "edges": [0.0, 1.0],
        "curve": [{"step": steps, **point}],
    }
    return record_of(cell, training=training, validation={**held_out, **point})


def outcome_of(path: Path, out: Path) -> Outcome:
    reproduce(str(path), [], TINY, out)
    return read_outcome(out / "claims" / "claims.json")


def test_a_reproduction_is_written_whole(path: Path, losses: dict[str, Any], tmp_path: Path) -> None:
    outcome = outcome_of(path, tmp_path / "out")
    answers = {verdict.claim.id: verdict.answer for verdict in outcome.verdicts}
    assert answers == {"sees": "supported", "same": "supported", "mine": "supported", "small": "supported"}
    [registered] = json.loads((tmp_path / "out" / "claims" / "registered.json").read_text())
    assert (outcome.sha256, outcome.registered) == (registered["sha256"], registered["time"])
    assert outcome.older_runs == 20  # the stand-ins' records are of January
    written = {file.name for file in (tmp_path / "out" / "claims").iterdir()}
    assert written >= {"index.html", "claims.md", "claims.csv", "comparisons.csv", "claims.json"}


def test_a_control_that_fails_ends_with_status_1(path: Path, losses: dict[str, Any], tmp_path: Path) -> None:
    losses["dit"] = 0.2
    with pytest.raises(CheckFailed, match="this scale cannot tell: sees is contradicted"):
        reproduce(str(path), [], TINY, tmp_path / "out")
    outcome = read_outcome(tmp_path / "out" / "claims" / "claims.json")
    assert {v.claim.id: v.answer for v in outcome.verdicts}["mine"] == "the scale cannot tell"


def test_runs_that_fail_end_with_status_3(path: Path, losses: dict[str, Any], tmp_path: Path) -> None:
    losses["latte2"] = None
    with pytest.raises(FinishedInPart, match="5 of 20 cells are not finished"):
        reproduce(str(path), [], TINY, tmp_path / "out")
    outcome = read_outcome(tmp_path / "out" / "claims" / "claims.json")
    assert {v.claim.id: v.answer for v in outcome.verdicts}["mine"] == "failed"


def test_an_unknown_scale_names_the_nearest(path: Path, tmp_path: Path) -> None:
    with pytest.raises(StbenchError, match="unknown scale of mine 'tinny': did you mean 'tiny'"):
        reproduce(str(path), [], ReproduceOptions(scale="tinny"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_smoke_scale_of_the_latte_findings(tmp_path: Path) -> None:
    """Counts and identities, as CI asks for them: decided here and now, whatever the machine."""
    done = CliRunner().invoke(app, ["reproduce", "latte", "--scale", "smoke", "--out", str(tmp_path)])
    assert done.exit_code == 0, done.output
    outcome = read_outcome(tmp_path / "claims" / "claims.json")
    answers = {verdict.claim.id: verdict.answer for verdict in outcome.verdicts}
    assert {name: answer for name, answer in answers.items() if name.startswith(("L15", "L16", "M", "U"))} == {
        "L15-sizes": "supported",
        "L15-variants": "supported",
        "L15-flops": "contradicted",
        "L15-flops-patch4": "supported",
        "L16": "contradicted",
        "L16-patch4": "supported",
        "M1": "supported",
        "U1": "contradicted",
    }
    assert {answer for name, answer in answers.items() if name in ("L1", "L7", "control-time")} == {"not asked"}

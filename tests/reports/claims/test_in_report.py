"""Claims that were judged stand in the report of their runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from stbench.records.claim_verdicts import Outcome
from stbench.reports.report import write_report

MakeRun = Callable[..., Path]


def test_an_outcome_beside_the_runs_is_a_section(make_run: MakeRun, outcome: Outcome, tmp_path: Path) -> None:
    runs = make_run().parent
    (runs / "claims.json").write_text(json.dumps(outcome.to_json()))
    made = write_report([runs], tmp_path / "report")
    page = made.index.read_text()
    assert f"<h2>Claims: {outcome.title}</h2>" in page
    assert all(verdict.claim.statement in page for verdict in outcome.verdicts)
    assert outcome.sha256 in page
    assert f"## Claims: {outcome.title}" in (made.index.parent / "runs.md").read_text()


def test_a_damaged_outcome_is_named_and_stops_nothing(make_run: MakeRun, tmp_path: Path) -> None:
    runs = make_run().parent
    (runs / "claims.json").write_text("{")
    made = write_report([runs], tmp_path / "report")
    assert [reason.split(": ")[0] for reason in made.content.unread] == [f"{runs}/claims.json"]

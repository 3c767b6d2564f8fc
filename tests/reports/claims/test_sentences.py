"""Verdicts on claims in words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stbench.records.claim_verdicts import Outcome
from stbench.reports.claims.sentences import controls, facts, judged_by, lead, others, point, registration, seen


def test_what_was_seen(outcome: Outcome) -> None:
    _, better, equal, counted = outcome.verdicts
    assert seen(better) == "mine against base: better, -50.0 % [-51.1, -48.9]"
    assert seen(equal) == "base against twin: equivalent, +0.0 % [-2.2, +2.3]"
    assert seen(counted) == "mine 2"
    many = replace(better, findings=better.findings * 5, reason="a reason")
    assert seen(many).endswith("; and 2 more; a reason")
    undecided = replace(better, seeds_needed=12)
    assert seen(undecided).endswith("; about 12 seeds an arm would decide")


def test_what_decides(outcome: Outcome) -> None:
    _, better, _, counted = outcome.verdicts
    assert judged_by(better) == "validation loss at equal steps"
    assert judged_by(counted) == "parameters (M)"
    budgets = replace(better.claim, budgets=("steps", "gflops", "seconds", "params"))
    equal = "validation loss at equal steps, operations, time, parameters"
    assert judged_by(replace(better, claim=budgets)) == equal
    fvd = replace(better.parts[0], measure="fvd", answer="undecided")
    assert others(replace(better, parts=(*better.parts, fvd, fvd))) == "FVD: undecided"


def test_where_a_comparison_stands(outcome: Outcome) -> None:
    [finding] = outcome.verdicts[1].findings
    assert point(finding) == "equal training steps"
    on_the_way = replace(finding, at=0.25, budget="gflops", rate=0.5)
    assert point(on_the_way) == "25 % of equal training operations, 0.5 times the learning rate"


def test_what_the_controls_say(outcome: Outcome) -> None:
    control, *rest = outcome.verdicts
    assert controls(outcome) == "The controls came out as they must."
    failed = replace(outcome, verdicts=(replace(control, answer="undecided"), *rest))
    assert controls(failed) == "This scale cannot tell: sees is undecided."
    negative = replace(control, claim=replace(control.claim, control="negative"), answer="undecided")
    assert controls(replace(outcome, verdicts=(control, negative))) == "Both controls came out as they must."
    assert controls(replace(outcome, verdicts=tuple(rest))) == "No control was run."
    assert lead(outcome).startswith("At tiny scale, on shapes: tiny networks. The controls")


@pytest.mark.parametrize(("older", "told"), [(0, "; no run is older."), (3, "; 3 of 15 runs are older.")])
def test_when_the_claims_were_registered(outcome: Outcome, older: int, told: str) -> None:
    text = registration(replace(outcome, older_runs=older))
    assert text == f"Claims mine, SHA-256 {'ab' * 32}, registered 2026-01-02T03:04:05+00:00{told}"


def test_facts_count_the_answers_without_the_controls(outcome: Outcome) -> None:
    expected = {"Scale": "tiny", "Supported": "2", "Contradicted": "1", "Seeds an arm": "5", "Claims": "ab" * 6}
    assert facts(outcome) == expected

"""An outcome of claims as tables."""

from __future__ import annotations

from dataclasses import replace

from stbench.records.claim_verdicts import Outcome
from stbench.records.claims import Scale
from stbench.reports.claims.tables import arms_table, claims_table, comparisons_table, outcome_markdown, shared_words


def test_a_row_for_each_claim(outcome: Outcome) -> None:
    rows = claims_table(outcome).to_dict("records")
    assert [(row["claim"], row["source"], row["verdict"]) for row in rows] == [
        ("sees", "positive control", "supported"),
        ("A", "paper", "supported"),
        ("B", "paper", "contradicted"),
        ("C", "paper", "supported"),
    ]
    both = replace(outcome, about=Scale(about="x", datasets=("shapes", "clouds"), seeds=5))
    assert list(claims_table(both)["on"]) == ["shapes", "shapes", "shapes", ""]


def test_a_row_for_each_comparison(outcome: Outcome) -> None:
    _, row, _ = comparisons_table(outcome).to_dict("records")
    assert row == {
        "claim": "A",
        "on": "shapes",
        "first": "mine",
        "second": "base",
        "measure": "validation loss",
        "at": "equal training steps",
        "first mean": "0.1020",
        "second mean": "0.2040",
        "difference": "-50.0 % [-51.1, -48.9]",
        "p": row["p"],
        "seeds": "5",
        "found": "better",
        "expected": "better",
        "says": "supported",
    }
    assert 0 < float(row["p"]) < 1e-9


def test_a_row_for_each_arm(outcome: Outcome) -> None:
    started = replace(outcome.arms[1], starts_from="mine", runs={}, figures={"validation_loss": {}})
    rows = arms_table(replace(outcome, arms=(outcome.arms[0], started))).to_dict("records")
    assert rows[0]["validation loss"] == "0.1020 (sd 0.0016)"
    assert (rows[0]["words"], rows[0]["seeds"]) == ("variant=mine", "5 of 5")
    assert rows[1]["words"] == "variant=base train.init=the run of mine of the same seed"
    assert (rows[1]["validation loss"], rows[1]["seeds"]) == ("", "0 of 5")
    assert shared_words(outcome) == "dataset=shapes"


def test_markdown_names_what_was_registered(outcome: Outcome) -> None:
    text = outcome_markdown(outcome)
    assert text.startswith("# Mine\n\nAt tiny scale, on shapes: tiny networks.")
    assert "ab" * 32 in text
    assert "Machines: Test CPU." in text
    assert max(len(line) for line in text.splitlines() if not line.startswith("|")) <= 120


def test_an_outcome_without_training_has_no_arms(outcome: Outcome) -> None:
    counted = replace(outcome, arms=(), verdicts=outcome.verdicts[-1:], about=Scale(about="counts"))
    assert comparisons_table(counted).empty
    assert "## Arms" not in outcome_markdown(counted)

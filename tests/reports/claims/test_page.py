"""The page of an outcome of claims."""

from __future__ import annotations

from dataclasses import replace

from stbench.records.claim_verdicts import Outcome
from stbench.reports.claims.page import claims_page
from stbench.reports.claims.plots import draw_plots


def test_the_page_holds_the_tables_and_what_the_answers_mean(outcome: Outcome) -> None:
    page = claims_page(outcome, draw_plots(outcome))
    for text in ("Mine is better.", "with as much evidence as would have supported it", "ab" * 32, "<svg", "Test CPU"):
        assert text in page
    assert "the scale trains none" not in page  # what no verdict is, need not be explained


def test_hostile_names_are_escaped(outcome: Outcome) -> None:
    control, verdict, *_ = outcome.verdicts
    hostile = "<script>alert(1)</script>"
    claim = replace(verdict.claim, statement=hostile)
    page = claims_page(replace(outcome, title=hostile, verdicts=(control, replace(verdict, claim=claim))), {})
    assert hostile not in page

"""An outcome of claims as one HTML page that carries everything with it."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.figure import Figure

from stbench.records.claim_verdicts import ANSWERS, Outcome
from stbench.reports import html
from stbench.reports.claims.sentences import facts, lead, registration
from stbench.reports.claims.tables import RULES, arms_table, claims_table, comparisons_table, shared_words


def claims_page(outcome: Outcome, figures: Mapping[str, Figure]) -> str:
    """Return the whole page.

    Args:
        outcome: what became of the claims.
        figures: its plots.
    """
    there = {verdict.answer for verdict in outcome.verdicts}
    return html.render(
        "claims.html",
        title=outcome.title,
        lead=lead(outcome),
        facts=facts(outcome),
        claims=claims_table(outcome),
        comparisons=comparisons_table(outcome),
        arms=arms_table(outcome),
        shared=shared_words(outcome),
        figures=figures,
        answers=[f"{answer}: {meaning}" for answer, meaning in ANSWERS.items() if answer in there],
        sources=outcome.sources,
        registration=registration(outcome),
        machines=", ".join(outcome.machines),
        rules=RULES,
    )

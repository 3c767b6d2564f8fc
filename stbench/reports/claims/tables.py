"""An outcome of claims as tables: a row for each claim, each comparison and each arm; and as Markdown."""

from __future__ import annotations

import textwrap

import pandas as pd

from stbench.records.claim_verdicts import ArmSummary, Finding, Outcome
from stbench.records.measures import get_measure
from stbench.records.statistics import summarise_seeds
from stbench.reports.claims.sentences import difference, judged_by, lead, mean_of, others, point, registration, seen
from stbench.reports.formats import to_markdown
from stbench.reports.text import format_number, markdown_text

RULES = (
    "A claim is supported when every one of its comparisons came out as it says, contradicted when one came out "
    "otherwise, which includes that two arms are equivalent, and undecided when the seeds leave it open. Only the "
    "spread between training seeds decides; all comparisons of a file in one measure are one family (5 %, Holm), and "
    "intervals are at the level of that. Differences are of the first arm against the second. A positive control has "
    "to come out as it says and a negative one must not come out different, or the scale cannot tell."
)


def claims_table(outcome: Outcome) -> pd.DataFrame:
    """A row for each claim and dataset."""
    several = len(outcome.about.datasets) > 1
    rows = [
        {
            "claim": verdict.claim.id,
            **({"on": verdict.dataset or ""} if several else {}),
            "statement": verdict.claim.statement,
            "source": f"{verdict.claim.control} control" if verdict.claim.control else ", ".join(verdict.claim.source),
            "verdict": verdict.answer,
            "judged by": judged_by(verdict),
            "what was seen": seen(verdict),
            "other figures": others(verdict),
        }
        for verdict in outcome.verdicts
    ]
    return pd.DataFrame(rows, dtype=str)


def comparisons_table(outcome: Outcome) -> pd.DataFrame:
    """A row for each comparison that was asked for; one that several claims ask for stands in each."""
    rows = [
        {"claim": verdict.claim.id, "on": verdict.dataset or "", **_comparison(finding)}
        for verdict in outcome.verdicts
        for finding in verdict.findings
    ]
    return pd.DataFrame(rows, dtype=str)


def _comparison(finding: Finding) -> dict[str, str]:
    decision = finding.decision
    return {
        "first": finding.first,
        "second": finding.second,
        "measure": get_measure(finding.measure).title,
        "at": point(finding),
        "first mean": mean_of(finding.first_figures),
        "second mean": mean_of(finding.second_figures),
        "difference": difference(finding),
        "p": "" if decision is None or decision.p is None else f"{decision.p:.2g}",
        "seeds": "" if decision is None else str(decision.n),
        "found": "" if decision is None else decision.verdict,
        "expected": finding.expected,
        "says": finding.answer or "",
    }


def arms_table(outcome: Outcome) -> pd.DataFrame:
    """A row for each arm as it was trained: its words, and the mean and standard deviation of each figure."""
    several = len(outcome.about.datasets) > 1
    rows = [
        {
            "arm": arm.arm,
            **({"on": arm.dataset} if several else {}),
            "learning rate": f"{arm.learning_rate:g}",
            "steps": "" if arm.steps is None else str(arm.steps),
            "seeds": f"{len(arm.runs)} of {len(arm.seeds)}",
            **{get_measure(name).title: _with_sd(list(figures.values())) for name, figures in arm.figures.items()},
            "words": _own_words(arm, outcome),
        }
        for arm in outcome.arms
    ]
    return pd.DataFrame(rows, dtype=str)


def _with_sd(values: list[float]) -> str:
    if not values:
        return ""
    summary = summarise_seeds(values)
    return format_number(summary.mean) + (f" (sd {summary.sd:.2g})" if summary.sd else "")


def _own_words(arm: ArmSummary, outcome: Outcome) -> str:
    """The words that not every arm has."""
    others = [set(each.words) for each in outcome.arms]
    own = [word for word in arm.words if not all(word in words for words in others)]
    start = [f"train.init=the run of {arm.starts_from} of the same seed"] if arm.starts_from else []
    return " ".join([*own, *start])


def shared_words(outcome: Outcome) -> str:
    """The words that every arm has."""
    words = [arm.words for arm in outcome.arms]
    return " ".join(word for word in words[0] if all(word in each for each in words)) if words else ""


def outcome_markdown(outcome: Outcome) -> str:
    """The verdicts for a terminal, a pull request or a document."""
    parts = [f"# {markdown_text(outcome.title)}", _wrapped(lead(outcome)), to_markdown(claims_table(outcome))]
    if outcome.arms:
        parts += ["## Arms", _wrapped(f"All of them: {shared_words(outcome)}"), to_markdown(arms_table(outcome))]
    sources = [_wrapped(f"- {name}: {about}", "  ") for name, about in outcome.sources.items()]
    machines = f"Machines: {', '.join(outcome.machines)}." if outcome.machines else ""
    parts += ["\n".join(sources), _wrapped(registration(outcome)), _wrapped(machines), _wrapped(RULES)]
    return "\n\n".join(filter(None, parts)) + "\n"


def _wrapped(text: str, indent: str = "") -> str:
    return textwrap.fill(
        markdown_text(text), 120, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )

"""Verdicts on claims in words: what was seen, at which budget, and what it was judged by."""

from __future__ import annotations

from stbench.records.budgets import TITLES
from stbench.records.claim_verdicts import ClaimVerdict, Finding, Outcome
from stbench.records.measures import get_measure
from stbench.reports.text import effect_in_words, format_number

MOST_SEEN = 3  # comparisons that a cell names


def seen(verdict: ClaimVerdict) -> str:
    """What the answer rests on: counts, or the comparisons that decided it."""
    if verdict.counted and not verdict.reason:
        return ", ".join(f"{arm} {figure:,.6g}" for arm, figure in verdict.counted.items())
    deciding = _deciding(verdict)
    told = [f"{_named(each)}: {_found(each)}{difference(each)}" for each in deciding[:MOST_SEEN]]
    if len(deciding) > MOST_SEEN:
        told.append(f"and {len(deciding) - MOST_SEEN} more")
    needed = f"about {verdict.seeds_needed} seeds an arm would decide" if verdict.seeds_needed else ""
    return "; ".join(filter(None, [*told, verdict.reason, needed]))


def judged_by(verdict: ClaimVerdict) -> str:
    """The measure that decides, and what is equal in the arms that are compared."""
    if verdict.counted and verdict.claim.counted:
        return get_measure(verdict.claim.measures[0]).title
    if not verdict.claim.needs_training:
        return ""
    equal = [TITLES[budget].split()[-1] for budget in verdict.claim.budgets]
    return f"{get_measure(verdict.claim.measures[0]).title} at equal {', '.join(equal)}"


def others(verdict: ClaimVerdict) -> str:
    """What the other measures say."""
    told: dict[str, list[str]] = {}
    for part in verdict.parts:
        if part.measure != verdict.claim.measures[0]:
            told.setdefault(get_measure(part.measure).title, []).append(part.answer)
    return "; ".join(f"{title}: {', '.join(dict.fromkeys(answers))}" for title, answers in told.items())


def difference(finding: Finding) -> str:
    """By how much the first arm's figure differs from the second's, with its interval."""
    decision = finding.decision
    if decision is None or decision.effect is None:
        return finding.reason
    return effect_in_words(get_measure(finding.measure), decision)


def point(finding: Finding) -> str:
    """At which equal budget, and where on the way, a comparison stands."""
    on_the_way = "" if finding.at == 1 else f"{100 * finding.at:g} % of "
    at_rate = "" if finding.rate == 1 else f", {finding.rate:g} times the learning rate"
    return f"{on_the_way}{TITLES[finding.budget]}{at_rate}"


def facts(outcome: Outcome) -> dict[str, str]:
    """What all verdicts of an outcome have in common."""
    answers = [verdict.answer for verdict in outcome.verdicts if not verdict.claim.control]
    told = {answer: answers.count(answer) for answer in dict.fromkeys(answers)}
    seeds = sorted({len(arm.runs) for arm in outcome.arms if arm.rate == 1})
    return {
        "Scale": outcome.scale,
        **{answer.capitalize(): str(number) for answer, number in told.items()},
        "Seeds an arm": " to ".join(dict.fromkeys(map(str, (seeds[0], seeds[-1])))) if seeds else "none",
        "Claims": outcome.sha256[:12],
    }


def lead(outcome: Outcome) -> str:
    """What these are verdicts of, and on whose word."""
    datasets = f", on {' and '.join(outcome.about.datasets)}" if outcome.about.datasets else ""
    return f"At {outcome.scale} scale{datasets}: {outcome.about.about}. {controls(outcome)}"


def controls(outcome: Outcome) -> str:
    """What the controls say of the scale."""
    judged = [verdict for verdict in outcome.verdicts if verdict.claim.control and verdict.parts]
    if not judged:
        return "No control was run." if outcome.about.seeds else ""
    if failed := [verdict for verdict in judged if verdict.control_failed]:
        named = ", ".join(f"{verdict.claim.id} is {verdict.answer}" for verdict in failed)
        return f"This scale cannot tell: {named}."
    return "Both controls came out as they must." if len(judged) == 2 else "The controls came out as they must."


def registration(outcome: Outcome) -> str:
    """When the claims were registered, and under which hash."""
    runs = sum(len(arm.runs) for arm in outcome.arms)
    older = f"; {outcome.older_runs} of {runs} runs are older" if outcome.older_runs else ""
    if runs and not older:
        older = "; no run is older"
    return f"Claims {outcome.name}, SHA-256 {outcome.sha256}, registered {outcome.registered}{older}."


def _deciding(verdict: ClaimVerdict) -> list[Finding]:
    """The comparisons in the first measure that made the answer what it is."""
    before = verdict.before_controls
    main = [each for each in verdict.findings if each.measure == verdict.claim.measures[0] and each.rate == 1]
    same = [each for each in main if each.answer == before]
    return same or [each for each in main if each.answer]


def _named(finding: Finding) -> str:
    at = "" if finding.at == 1 and finding.budget == "steps" else f" ({point(finding)})"
    return f"{finding.first} against {finding.second}{at}"


def _found(finding: Finding) -> str:
    return f"{finding.decision.verdict}, " if finding.decision else ""


def mean_of(figures: dict[int, float]) -> str:
    """The mean over seeds."""
    return format_number(sum(figures.values()) / len(figures)) if figures else ""

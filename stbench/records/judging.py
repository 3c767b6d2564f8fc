"""From records to answers: what the comparisons that a claim asks for come to, and what the controls say of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from stbench.records.budgets import TITLES, Budget
from stbench.records.claim_questions import Answers, Expected, Question, Runs, Sigma, questions_of
from stbench.records.claim_verdicts import Answer, ClaimVerdict, Finding, Part, Plain
from stbench.records.claims import Claim, Claims
from stbench.records.decisions import VerdictName
from stbench.records.measures import get_measure
from stbench.records.sections import Cost

INFLATED = 1e-5  # largest difference, as a share of the largest value, that is rounding


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What there is to judge by.

    Attributes:
        runs: by what the learning rate is times the scale's, and by arm.
        sigma: how far training seeds spread, where a noise card tells.
        counts: of the arms of claims on counts, or why there are none.
        inflations: by claim, the largest difference as a share of the largest value, or why there is none.
        shapes: by claim, the shapes of the arm's blocks by their names, or why there are none.
    """

    runs: Mapping[float, Mapping[str, Runs]] = field(default_factory=dict)
    sigma: Sigma = lambda measure, records: None
    counts: Mapping[str, Cost | str] = field(default_factory=dict)
    inflations: Mapping[str, float | str] = field(default_factory=dict)
    shapes: Mapping[str, Mapping[str, str] | str] = field(default_factory=dict)


def judge_untrained(claims: Claims, evidence: Evidence) -> list[ClaimVerdict]:
    """Judge what no training has a say in."""
    judged = []
    for claim in claims.claims:
        if claim.not_yet:
            judged.append(_verdict(claim, None, "not possible yet", f"needs {claim.not_yet}"))
        elif claim.relation == "inflates":
            judged.append(_inflation(claim, evidence.inflations[claim.id]))
        elif claim.relation == "shapes":
            judged.append(_shapes(claim, evidence.shapes[claim.id]))
        elif claim.counted:
            judged.append(_count(claim, evidence.counts))
    return judged


def judge_trained(claims: Claims, scale: str, dataset: str | None, evidence: Evidence) -> list[ClaimVerdict]:
    """Judge what arms were trained for on one dataset; the controls have the last word."""
    trained = [claim for claim in claims.claims if claim.needs_training]
    obstacles = {claim.id: _obstacle(claims, claim, scale, evidence.runs.get(1.0, {})) for claim in trained}
    asked = [claim for claim in trained if obstacles[claim.id] is None]
    answers = _answers(asked, evidence, 1.0)
    judged = [
        _verdict(claim, dataset, *obstacle)
        if (obstacle := obstacles[claim.id])
        else _weigh(claim, dataset, _findings(claim, answers, 1.0))
        for claim in trained
    ]
    rates = claims.scales[scale].other_rates
    for factor in rates.factors if rates else ():
        also = [claim for claim in asked if rates and set(claim.arms) <= set(rates.arms)]
        answers = _answers(also, evidence, factor)
        judged = [_at_rate(each, answers, factor) if each.claim in also else each for each in judged]
    silenced = _silenced(judged)
    return [_controlled(each, silenced) for each in judged]


def _verdict(
    claim: Claim, dataset: str | None, answer: Answer, reason: str = "", counted: Mapping[str, float] | None = None
) -> ClaimVerdict:
    found = dict(counted or {})
    return ClaimVerdict(
        claim=claim, dataset=dataset, answer=answer, before_controls=answer, reason=reason, counted=found
    )


# Without training


def _inflation(claim: Claim, error: float | str) -> ClaimVerdict:
    if isinstance(error, str):
        return _verdict(claim, None, "failed", error)
    answer: Answer = "supported" if error <= INFLATED else "contradicted"
    reason = f"the two differ by {error:.1e} of the largest value, rounding makes up to {INFLATED:.0e}"
    return _verdict(claim, None, answer, reason, {claim.arms[0]: error})


def _shapes(claim: Claim, found: Mapping[str, str] | str) -> ClaimVerdict:
    if isinstance(found, str):
        return _verdict(claim, None, "failed", found)
    wrong = [
        f"{block}: {found.get(block, 'no such block')} instead of {stated}"
        for block, stated in claim.shapes.items()
        if found.get(block) != stated
    ]
    return _verdict(claim, None, "contradicted" if wrong else "supported", "; ".join(wrong))


def _count(claim: Claim, counts: Mapping[str, Cost | str]) -> ClaimVerdict:
    """Judge counts, of which one is enough."""
    measure = get_measure(claim.measures[0])
    figures: dict[str, float] = {}
    for arm in claim.named_arms:
        counted = counts[arm]
        figure = None if isinstance(counted, str) else measure.of(counted)
        if figure is None:
            return _verdict(claim, None, "failed", f"{arm}: {counted if isinstance(counted, str) else 'has no count'}")
        figures[arm] = figure
    if claim.relation == "equals":
        wrong = _unequal(claim, figures)
    else:
        asked = [(question, expected) for question, expected in questions_of(claim)]
        wrong = [
            f"{question.first} against {question.second}: {verdict} ({figures[question.first]:.6g} and "
            f"{figures[question.second]:.6g})"
            for question, expected in asked
            if _said(verdict := _of_counts(question, figures, claim.margin), expected) != "supported"
        ]
    return _verdict(claim, None, "contradicted" if wrong else "supported", "; ".join(wrong), figures)


def _unequal(claim: Claim, figures: Mapping[str, float]) -> list[str]:
    """The arms whose counts are not what the claim says."""
    one = figures[claim.relative_to] if claim.relative_to else 1.0
    found = {arm: figures[arm] / one for arm in claim.arms}
    return [
        f"{arm}: {found[arm]:.6g} instead of {value:g}"
        for arm, value in claim.values.items()
        if abs(found[arm] - value) > claim.margin * abs(value)
    ]


def _of_counts(question: Question, figures: Mapping[str, float], margin: float) -> VerdictName:
    first, second = figures[question.first], figures[question.second]
    if abs(first - second) <= margin * abs(second):
        return "equivalent"
    return "better" if (first < second) == get_measure(question.measure).less_is_better else "worse"


# With training


def _obstacle(claims: Claims, claim: Claim, scale: str, runs: Mapping[str, Runs]) -> tuple[Answer, str] | None:
    """Why a claim cannot be judged as registered: no arm here, a run that failed, a seed that is missing."""
    if not claims.scales[scale].seeds:
        return "not asked", "this scale trains nothing"
    if left_out := [arm for arm in claim.arms if arm not in claims.trained_arms(scale)]:
        return "not asked", f"this scale does not train {', '.join(left_out)}"
    for arm in claim.arms:
        for seed, record in runs.get(arm, {}).items():
            if not record.finished:
                return "failed", f"{arm}, seed {seed}: {record.status}, {record.reason}"
    for arm in claim.arms:
        seeds = claims.seeds_of(arm, scale)
        there = sum(seed in runs.get(arm, {}) for seed in seeds)
        if there < len(seeds):
            return "missing", f"{arm}: {there} of {len(seeds)} seeds"
    return None


def _answers(claims: Sequence[Claim], evidence: Evidence, rate: float) -> Answers:
    questions = [question for claim in claims for question, _ in questions_of(claim)]
    runs = {
        arm: {seed: record for seed, record in of_arm.items() if record.finished}
        for arm, of_arm in evidence.runs.get(rate, {}).items()
    }
    return Answers(questions, runs, evidence.sigma)


def _findings(claim: Claim, answers: Answers, rate: float) -> list[Finding]:
    return [_finding(question, expected, answers, claim.margin, rate) for question, expected in questions_of(claim)]


def _finding(question: Question, expected: Expected, answers: Answers, margin: float, rate: float) -> Finding:
    """What one comparison came to."""
    finding = Finding(
        first=question.first,
        second=question.second,
        measure=question.measure,
        budget=question.budget,
        at=question.at,
        rate=rate,
        expected=expected,
    )
    sides = answers.sides(question)
    if isinstance(sides, str):
        return replace(finding, reason=sides)
    decision = answers.decision(question, margin)
    return replace(
        finding,
        answer=_said(decision.verdict, expected),
        first_figures=sides.first,
        second_figures=sides.second,
        first_steps=sides.first_steps,
        second_steps=sides.second_steps,
        decision=decision,
    )


def _said(verdict: VerdictName, expected: Expected) -> Plain:
    """What a verdict says of what was expected."""
    if verdict == "undecided":
        return "undecided"
    differs = expected == "different" and verdict != "equivalent"
    return "supported" if differs or verdict == expected else "contradicted"


def _weigh(claim: Claim, dataset: str | None, findings: Sequence[Finding]) -> ClaimVerdict:
    """The answer that the findings come to: under each measure and budget, and by the first measure under all."""
    parts = tuple(
        _part(measure, budget, [each for each in findings if (each.measure, each.budget) == (measure, budget)])
        for measure in claim.measures
        for budget in claim.budgets
    )
    answer, reason = _over_budgets([part for part in parts if part.measure == claim.measures[0]])
    needed = [
        finding.decision.seeds_needed
        for finding in findings
        if finding.decision and finding.answer == "undecided" and finding.measure == claim.measures[0]
    ]
    known = [seeds for seeds in needed if seeds]
    return replace(
        _verdict(claim, dataset, answer, reason),
        parts=parts,
        findings=tuple(findings),
        seeds_needed=max(known) if known and len(known) == len(needed) and answer == "undecided" else None,
    )


def _part(measure: str, budget: Budget, findings: Sequence[Finding]) -> Part:
    """One comparison that contradicts is enough; to support, all of them have to."""
    answers = {finding.answer for finding in findings}
    reason = next((finding.reason for finding in findings if finding.reason), "")
    answer: Answer = "supported"
    if "contradicted" in answers:
        answer = "contradicted"
    elif answers == {None}:
        answer = "not possible yet"
    elif answers != {"supported"}:
        answer = "undecided"
    return Part(measure=measure, budget=budget, answer=answer, reason=reason)


def _over_budgets(parts: Sequence[Part]) -> tuple[Answer, str]:
    """The answer over several equal budgets; one at which nothing could be compared has no say."""
    compared = [part for part in parts if part.answer != "not possible yet"]
    if not compared:
        return "not possible yet", parts[0].reason
    answers = {part.answer for part in compared}
    by_budget = ", ".join(f"{part.answer} at {TITLES[part.budget]}" for part in parts) if len(parts) > 1 else ""
    reason = by_budget if len({part.answer for part in parts}) > 1 else ""
    if {"supported", "contradicted"} <= answers:
        return "depends on the budget", reason
    for answer in ("contradicted", "undecided", "supported"):
        if answer in answers:
            return answer, reason
    raise AssertionError(answers)


def _at_rate(verdict: ClaimVerdict, answers: Answers, factor: float) -> ClaimVerdict:
    """Ask a claim at another learning rate as well: only what is decided there can turn an answer over."""
    findings = _findings(verdict.claim, answers, factor)
    there = _weigh(verdict.claim, verdict.dataset, findings).answer
    answer, decided = verdict.answer, ("supported", "contradicted")
    if answer in decided and there in decided and there != answer:
        answer = "depends on the learning rate"
    reason = f"{there} at {factor:g} times the learning rate"
    return replace(
        verdict,
        answer=answer,
        before_controls=answer,
        reason="; ".join(filter(None, [verdict.reason, reason])),
        findings=(*verdict.findings, *findings),
    )


# Controls


def _silenced(judged: Sequence[ClaimVerdict]) -> dict[str, str]:
    """The measures under which a control did not come out as it must, and how it did."""
    found = {}
    for verdict in judged:
        control = verdict.claim.control
        for measure in verdict.claim.measures if control else ():
            answers = {part.answer for part in verdict.parts if part.measure == measure} or {verdict.answer}
            fine = answers == {"supported"} if control == "positive" else answers <= {"supported", "undecided"}
            if not fine:
                found[measure] = f"{verdict.claim.id} is {' and '.join(sorted(answers))}"
    return found


def _controlled(verdict: ClaimVerdict, silenced: Mapping[str, str]) -> ClaimVerdict:
    """The same, but for what a scale whose controls failed cannot tell."""
    if verdict.claim.control or not verdict.parts:
        return verdict
    parts = tuple(
        replace(part, answer="the scale cannot tell", reason=silenced[part.measure])
        if part.measure in silenced and part.answer != "not possible yet"
        else part
        for part in verdict.parts
    )
    main = silenced.get(verdict.claim.measures[0])
    if main is None or verdict.answer == "not possible yet":
        return replace(verdict, parts=parts)
    reason = "; ".join(filter(None, [f"without the controls: {verdict.answer}", main, verdict.reason]))
    return replace(verdict, parts=parts, answer="the scale cannot tell", reason=reason)

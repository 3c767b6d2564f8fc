"""The comparisons that claims ask for, and the figures that answer them.

Every comparison stands at an equal budget: where one arm spends more, its curve is read where it had spent as much.
All comparisons of a file in one measure are one family, whose false verdicts are held together (Holm).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from stbench.records.budgets import TITLES, WITHIN, Budget, at_budget, per_step, shared_budgets
from stbench.records.claims import Claim
from stbench.records.decisions import Decision, decide_all
from stbench.records.estimates import Comparison, PooledSigma
from stbench.records.measures import Measure, get_measure
from stbench.records.schema import Record
from stbench.records.statistics import median, under_load

Expected = Literal["better", "worse", "equivalent", "different"]
Runs = Mapping[int, Record]  # of one arm at one learning rate, by seed
Sigma = Callable[[Measure, Sequence[Record]], PooledSigma | None]  # how far the training seeds of such runs spread


@dataclass(frozen=True)
class Question:
    """Whether the first arm differs from the second, in one measure, at one point of one equal budget."""

    first: str
    second: str
    measure: str
    budget: Budget
    at: float  # share of the budget
    across_protocols: bool

    @property
    def reversed(self) -> Question:
        """The same asked of the second."""
        return replace(self, first=self.second, second=self.first)


@dataclass(frozen=True)
class Sides:
    """The figures of both arms by seed, and after how many steps of their training they were read."""

    first: dict[int, float]
    second: dict[int, float]
    first_steps: float
    second_steps: float


def questions_of(claim: Claim) -> list[tuple[Question, Expected]]:
    """The comparisons that a claim asks for, and what it expects of the first arm of each."""
    pairs = [(claim.arms[0], other) for other in claim.arms[1:]]
    expected: Expected = "better"
    if claim.relation == "order":
        pairs = list(itertools.pairwise(claim.arms))
    elif claim.relation == "equivalent":
        pairs, expected = list(itertools.combinations(claim.arms, 2)), "equivalent"
    elif claim.relation in ("worse", "different"):
        expected = "worse" if claim.relation == "worse" else "different"
    points: dict[float, Expected] = dict.fromkeys(claim.at, expected)
    if claim.relation == "overtaken":
        points = {claim.at[0]: "better", claim.at[-1]: "worse"}
    return [
        (Question(*pair, measure, budget, at, claim.across_protocols), points[at])
        for measure, budget, at, pair in itertools.product(claim.measures, claim.budgets, points, pairs)
    ]


class Answers:
    """What the runs at one learning rate say to all questions of some claims.

    Args:
        questions: of all those claims; a question and its reverse are one.
        runs: by arm.
        sigma: from noise cards.
    """

    def __init__(self, questions: Sequence[Question], runs: Mapping[str, Runs], sigma: Sigma) -> None:
        self.runs, self.sigma = runs, sigma
        self.asked: dict[str, list[Question]] = {}
        for question in questions:
            family = self.asked.setdefault(question.measure, [])
            if not {question, question.reversed} & set(family):
                family.append(question)
        self._decided: dict[tuple[str, float, bool], dict[Question, Decision]] = {}

    def decision(self, question: Question, margin: float) -> Decision:
        """The verdict of the first arm against the second."""
        forward = question in self.asked[question.measure]
        key = (question.measure, margin, forward)
        if key not in self._decided:
            family = [each if forward else each.reversed for each in self.asked[question.measure]]
            comparisons = [self._comparison(each) for each in family]
            decisions = decide_all(comparisons, margin=margin)
            self._decided[key] = dict(zip(family, decisions, strict=True))
        return self._decided[key][question]

    def sides(self, question: Question) -> Sides | str:
        """The figures that a question compares, or why there are none."""
        first, second = (list(self.runs.get(arm, {}).values()) for arm in (question.first, question.second))
        if not first or not second:
            return f"there are no runs of {question.second if first else question.first}"
        obstacle = _obstacle(question, [*first, *second])
        if obstacle:
            return obstacle
        steps = _equal_steps(first, second, question.budget, question.at)
        if isinstance(steps, str):
            return steps
        measure = get_measure(question.measure)
        figures = [_figures(records, measure, at) for records, at in zip((first, second), steps, strict=True)]
        missing = [each for each in figures if isinstance(each, str)]
        known = [each for each in figures if not isinstance(each, str)]
        return missing[0] if missing else Sides(known[0], known[1], *steps)

    def _comparison(self, question: Question) -> Comparison:
        """As the test takes it: the second arm is judged against the first, so ours change places."""
        measure, sides = get_measure(question.measure), self.sides(question)
        if isinstance(sides, str):
            return Comparison({}, {}, measure)  # what cannot be tested yet belongs to the family as well
        records = [record for arm in (question.first, question.second) for record in self.runs[arm].values()]
        sigma = self.sigma(measure, records) if question.at == 1 else None  # a card is of finished trainings
        return Comparison(sides.second, sides.first, measure, sigma, (question.second, question.first))


def _obstacle(question: Question, records: Sequence[Record]) -> str:
    """Why these runs cannot be held against each other; nothing where they can."""
    measure = get_measure(question.measure)
    for record in records:
        if measure.of(record) is None:
            refused = record.quality.refused if record.quality and measure.kind == "quality" else None
            return f"{record.run_id} has no {measure.title}: {refused or 'it was not measured'}"
    if len({measure.condition(record) for record in records}) > 1 and not question.across_protocols:
        return f"{measure.title} was measured under different conditions"
    return ""


def _equal_steps(
    first: Sequence[Record], second: Sequence[Record], budget: Budget, share: float
) -> tuple[float, float] | str:
    """After how many steps both arms had spent the same share of what the cheaper one spent in all, or why not."""
    steps = [max(record.training.steps for record in arm if record.training) for arm in (first, second)]
    if budget == "params":
        equal = "params" in shared_budgets([*first, *second])
        return (share * steps[0], share * steps[1]) if equal else "the arms have different numbers of parameters"
    if (
        budget == "seconds"
        and len({record.conditions and record.conditions.but_load for record in (*first, *second)}) > 1
    ):
        return "the times were not taken under equal conditions"
    if budget == "seconds":
        first, second = ([record for record in arm if not _busy(record)] for arm in (first, second))
    each = [[per_step(record, budget) for record in arm] for arm in (first, second)]
    known = [[one for one in arm if one] for arm in each]
    if not all(known):
        return f"what a step spends is not known, or was timed beside other work ({TITLES[budget]})"
    one = [median(arm) for arm in known]
    amount = share * min(one[0] * steps[0], one[1] * steps[1])
    return amount / one[0], amount / one[1]


def _busy(record: Record) -> bool:
    """Whether the training step was timed beside other work."""
    step = record.timing.get("train_step")
    return step is not None and under_load(step.waited_share)


def _figures(records: Sequence[Record], measure: Measure, steps: float) -> dict[int, float] | str:
    """The figure of every seed after so many steps, or why one is not known."""
    found = {}
    for record in records:
        asked = record.training.steps if record.training else 0
        at_end = steps >= asked * (1 - WITHIN)
        figure = measure.of(record) if at_end else at_budget(record, measure, "steps", steps)
        if figure is None:
            return (
                f"{record.run_id} has no {measure.title} after {steps:.0f} of {asked} steps: its curve begins later or "
                "was judged otherwise (eval.curve_clips), or train.lr_schedule is not constant"
            )
        found[int(record.config["seed"])] = figure
    return found

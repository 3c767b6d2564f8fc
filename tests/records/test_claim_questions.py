"""Which comparisons a claim asks for, and the figures that answer them at equal budgets."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from stbench.records.budgets import Budget
from stbench.records.claim_questions import Answers, Question, Runs, Sides, questions_of
from stbench.records.claims import Claim
from stbench.records.decisions import decide_all
from stbench.records.estimates import Comparison
from stbench.records.measures import MEASURES
from stbench.records.schema import Record

LOSS = MEASURES["validation_loss"]
Make = Callable[..., Record]
ASKED = Question("a", "b", "validation_loss", "steps", 1.0, False)


def claim(relation: Any, **changes: Any) -> Claim:
    return Claim(id="x", statement="X.", arms=("a", "b", "c"), relation=relation, **changes)


@pytest.mark.parametrize(
    ("relation", "expected"),
    [
        ("better", [("a", "b", "better"), ("a", "c", "better")]),
        ("worse", [("a", "b", "worse"), ("a", "c", "worse")]),
        ("order", [("a", "b", "better"), ("b", "c", "better")]),
        ("different", [("a", "b", "different"), ("a", "c", "different")]),
        ("equivalent", [("a", "b", "equivalent"), ("a", "c", "equivalent"), ("b", "c", "equivalent")]),
    ],
)
def test_the_pairs_of_a_relation(relation: str, expected: list[tuple[str, str, str]]) -> None:
    assert [(asked.first, asked.second, what) for asked, what in questions_of(claim(relation))] == expected


def test_every_measure_budget_and_point_is_asked() -> None:
    asked = questions_of(
        claim("better", measures=("validation_loss", "fvd"), budgets=("steps", "gflops"), at=(0.5, 1.0))
    )
    assert len(asked) == 2 * 2 * 2 * 2
    assert len({question for question, _ in asked}) == len(asked)


def test_overtaken_is_asked_early_and_late() -> None:
    asked = questions_of(claim("overtaken", at=(0.25, 0.5, 1.0)))
    assert [(question.second, question.at, what) for question, what in asked] == [
        ("b", 0.25, "better"),
        ("c", 0.25, "better"),
        ("b", 1.0, "worse"),
        ("c", 1.0, "worse"),
    ]


def arms(make: Make, first: dict[str, Any], second: dict[str, Any]) -> dict[str, Runs]:
    return {name: {seed: make(seed, **each) for seed in range(2)} for name, each in (("a", first), ("b", second))}


def sides(question: Question, runs: dict[str, Runs]) -> Sides | str:
    return Answers([question], runs, lambda measure, records: None).sides(question)


@pytest.mark.parametrize(
    ("budget", "at", "first", "second"),
    [
        ("steps", 1.0, (0.2, 40), (0.2, 40)),
        ("steps", 0.5, (0.4, 20), (0.4, 20)),
        ("gflops", 1.0, (0.2, 40), (0.4, 20)),  # the second takes twice the operations a step
        ("gflops", 0.5, (0.4, 20), (0.7, 10)),
        ("seconds", 1.0, (0.3, 30), (0.2, 40)),  # and three quarters of the time
        ("params", 1.0, (0.2, 40), (0.2, 40)),
    ],
)
def test_figures_at_an_equal_budget(
    trained: Make, budget: Budget, at: float, first: tuple[float, float], second: tuple[float, float]
) -> None:
    runs = arms(trained, {"seconds": 0.4}, {"seconds": 0.3, "gmacs": 9.0})
    found = sides(replace(ASKED, budget=budget, at=at), runs)
    assert isinstance(found, Sides)
    assert (found.first[1], found.first_steps) == pytest.approx(first)
    assert (found.second[0], found.second_steps) == pytest.approx(second)


@pytest.mark.parametrize(
    ("question", "second", "message"),
    [
        (ASKED, {"protocol_hash": "v2"}, "measured under different conditions"),
        (replace(ASKED, budget="params"), {"params": 2000}, "different numbers of parameters"),
        (replace(ASKED, budget="gflops"), {"gmacs": 9.0, "schedule": "cosine"}, "is not constant"),
        (replace(ASKED, budget="seconds"), {"waited_share": 0.5}, "timed beside other work"),
        (replace(ASKED, measure="kvd"), {}, "has no KVD"),
        (replace(ASKED, second="c"), {}, "there are no runs of c"),
    ],
)
def test_what_cannot_be_compared_says_why(
    trained: Make, question: Question, second: dict[str, Any], message: str
) -> None:
    found = sides(question, arms(trained, {}, second))
    assert isinstance(found, str)
    assert re.search(message, found)


def test_across_protocols_everything_may_be_held_together(trained: Make) -> None:
    runs = arms(trained, {}, {"protocol_hash": "v2"})
    assert isinstance(sides(replace(ASKED, across_protocols=True), runs), Sides)


def test_a_family_has_each_pair_once_and_both_directions_of_it(trained: Make) -> None:
    """The decision is that of Holm over three pairs, whichever way one is asked."""
    losses = {"a": 0.20, "b": 0.26, "c": 0.21}
    runs = {
        name: {seed: trained(seed, {0: 1.0, 40: loss * (1 + 0.01 * seed)}) for seed in range(5)}
        for name, loss in losses.items()
    }
    pairs = [replace(ASKED, first=first, second=second) for first, second in ("ab", "ac", "bc")]
    answers = Answers([*pairs, *(each.reversed for each in pairs)], runs, lambda measure, records: None)
    figures = {name: {seed: losses[name] * (1 + 0.01 * seed) for seed in range(5)} for name in losses}
    family = [Comparison(figures[each.second], figures[each.first], LOSS) for each in pairs]
    for question, expected in zip(pairs, decide_all(family, margin=0.05), strict=True):
        decision = answers.decision(question, 0.05)
        assert (decision.verdict, decision.p) == (expected.verdict, pytest.approx(expected.p))
        back = answers.decision(question.reversed, 0.05)
        assert back.p == pytest.approx(expected.p)
        assert {decision.verdict, back.verdict} in ({"better", "worse"}, {"equivalent"}, {"undecided"})
    assert answers.decision(pairs[0], 0.05).verdict == "better"

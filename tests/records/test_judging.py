"""Answers to claims from records whose truth is known, and what the controls say of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from stbench.records.claim_verdicts import ClaimVerdict
from stbench.records.claims import Claims, parse_claims
from stbench.records.estimates import PooledSigma
from stbench.records.judging import Evidence, judge_trained, judge_untrained
from stbench.records.schema import Record
from stbench.records.sections import Cost, Counts

Make = Callable[..., Record]
CONTROLS = [
    {"id": "sees", "statement": "S.", "control": "positive", "arms": ["blind", "base"], "relation": "worse"},
    {"id": "same", "statement": "S.", "control": "negative", "arms": ["base", "again"], "relation": "equivalent"},
]
LOSSES = {"base": 0.20, "again": 0.201, "blind": 0.30, "good": 0.15, "twin": 0.2}


def claims_of(*claims: dict[str, Any], **scale: Any) -> Claims:
    arms = {name: f"variant={name}" for name in LOSSES}
    return parse_claims(
        {
            "title": "Mine",
            "arms": {**arms, "again": {"words": "variant=base", "first_seed": 5}},
            "scales": {"s": {"about": "tiny", "datasets": ["shapes"], "seeds": 5, **scale}},
            "claims": [*CONTROLS, *({"statement": "X.", "relation": "better", **claim} for claim in claims)],
        }
    )


@pytest.fixture
def runs(trained: Make) -> Callable[..., dict[str, dict[int, Record]]]:
    """Every arm at its loss, its five seeds 1 % apart; half of the steps cost as much as a loss of twice that."""

    def build(**losses: float) -> dict[str, dict[int, Record]]:
        found = {}
        for name, loss in {**LOSSES, **losses}.items():
            first = 5 if name == "again" else 0
            found[name] = {
                seed: trained(
                    seed,
                    {0: 1.0, 20: 2 * loss * (1 + 0.01 * (seed % 5)), 40: loss * (1 + 0.01 * (seed % 5))},
                    gmacs=9.0 if name == "good" else 4.5,
                    run_id=name,
                )
                for seed in range(first, first + 5)
            }
        return found

    return build


def judged(claims: Claims, runs: Any, rates: Any = None) -> dict[str, ClaimVerdict]:
    evidence = Evidence(runs={1.0: runs, **(rates or {})})
    return {each.claim.id: each for each in judge_trained(claims, "s", "shapes", evidence)}


@pytest.mark.parametrize(
    ("claim", "answer"),
    [
        ({"arms": ["good", "base"]}, "supported"),
        ({"arms": ["good", "base", "blind"]}, "supported"),
        ({"arms": ["base", "good"]}, "contradicted"),
        ({"arms": ["base", "good"], "relation": "worse"}, "supported"),
        ({"arms": ["good", "base", "blind"], "relation": "order"}, "supported"),
        ({"arms": ["good", "blind", "base"], "relation": "order"}, "contradicted"),
        ({"arms": ["base", "twin"], "relation": "equivalent"}, "supported"),
        ({"arms": ["base", "good"], "relation": "equivalent"}, "contradicted"),
        ({"arms": ["base", "twin"]}, "contradicted"),  # equivalent is not better, with as much evidence
        ({"arms": ["base", "good"], "relation": "different"}, "supported"),
        ({"arms": ["base", "twin"], "relation": "different"}, "contradicted"),
        ({"arms": ["base", "twin"], "margin": 0.001}, "undecided"),
        ({"arms": ["good", "base"], "at": [0.5, 1]}, "supported"),
        ({"arms": ["good", "base"], "relation": "overtaken", "at": [0.5, 1]}, "contradicted"),
        ({"arms": ["good", "base"], "budgets": ["steps", "gflops"]}, "depends on the budget"),
        ({"arms": ["good", "base"], "budgets": ["gflops"]}, "contradicted"),
        ({"arms": ["good", "base"], "measures": ["kvd"]}, "not possible yet"),
    ],
)
def test_answers(runs: Any, claim: dict[str, Any], answer: str) -> None:
    assert judged(claims_of({"id": "x", **claim}), runs())["x"].answer == answer


def test_the_controls_are_as_they_must_be(runs: Any) -> None:
    found = judged(claims_of({"id": "x", "arms": ["good", "base"]}), runs())
    assert found["sees"].answer == "supported"
    assert found["same"].answer in ("supported", "undecided")


@pytest.mark.parametrize("losses", [{"blind": 0.2}, {"blind": 0.15}, {"again": 0.3}])
def test_a_scale_whose_control_fails_cannot_tell(runs: Any, losses: dict[str, float]) -> None:
    found = judged(claims_of({"id": "x", "arms": ["good", "base"]}), runs(**losses))
    assert (found["x"].answer, found["x"].before_controls) == ("the scale cannot tell", "supported")
    assert ("same" if "again" in losses else "sees") in found["x"].reason


def test_a_control_that_was_not_run_silences_as_well(runs: Any) -> None:
    there = runs()
    del there["blind"]
    found = judged(claims_of({"id": "x", "arms": ["good", "base"]}), there)
    assert (found["sees"].answer, found["sees"].reason) == ("missing", "blind: 0 of 5 seeds")
    assert found["x"].answer == "the scale cannot tell"


def test_a_control_in_one_measure_says_nothing_of_another(runs: Any) -> None:
    claim = {"id": "x", "arms": ["good", "base"], "measures": ["fvd", "validation_loss"], "relation": "equivalent"}
    found = judged(claims_of(claim), runs(blind=0.2))["x"]
    assert found.answer == "supported"  # by the FVD, which is 100 everywhere
    assert [(part.measure, part.answer) for part in found.parts] == [
        ("fvd", "supported"),
        ("validation_loss", "the scale cannot tell"),
    ]


def test_undecided_says_how_many_seeds_would_decide(runs: Any) -> None:
    found = judged(claims_of({"id": "x", "arms": ["twin", "base"], "margin": 0.005}), runs(twin=0.198))["x"]
    assert found.answer == "undecided"
    assert found.seeds_needed
    assert found.seeds_needed > 5


def test_a_missing_seed_and_a_failed_run_are_no_verdict(runs: Any, trained: Make) -> None:
    claims = claims_of({"id": "x", "arms": ["good", "base"]})
    there = runs()
    del there["good"][3]
    assert judged(claims, there)["x"].reason == "good: 4 of 5 seeds"
    there["good"][3] = trained(3, status="nan")
    found = judged(claims, there)["x"]
    assert (found.answer, found.reason) == ("failed", "good, seed 3: nan, diverged")


def test_an_arm_that_a_scale_leaves_out_is_not_asked_for(runs: Any) -> None:
    found = judged(claims_of({"id": "x", "arms": ["good", "base"]}, leave_out=["good"]), runs())["x"]
    assert (found.answer, found.reason) == ("not asked", "this scale does not train good")


@pytest.mark.parametrize(("card", "answer"), [(PooledSigma(0.01, 9), "supported"), (None, "undecided")])
def test_a_noise_card_makes_two_seeds_enough(runs: Any, card: PooledSigma | None, answer: str) -> None:
    claims = claims_of({"id": "x", "arms": ["good", "base"]}, seeds=2)
    there = {arm: {seed: of_arm[seed] for seed in list(of_arm)[:2]} for arm, of_arm in runs().items()}
    evidence = Evidence(runs={1.0: there}, sigma=lambda measure, records: card)
    found = {each.claim.id: each for each in judge_trained(claims, "s", "shapes", evidence)}
    assert found["x"].before_controls == answer


RATES = {"other_rates": {"factors": [2], "seeds": 5, "arms": ["good", "base"]}}


@pytest.mark.parametrize(
    ("good", "answer", "reason"),
    [
        (0.15, "supported", "supported at 2 times the learning rate"),
        (0.3, "depends on the learning rate", "contradicted at 2 times the learning rate"),
        (0.197, "supported", "undecided at 2 times the learning rate"),
    ],
)
def test_does_it_hold_at_another_learning_rate(runs: Any, good: float, answer: str, reason: str) -> None:
    claims = claims_of(
        {"id": "x", "arms": ["good", "base"], "margin": 0.02}, {"id": "y", "arms": ["good", "twin"]}, **RATES
    )
    found = judged(claims, runs(), {2.0: runs(good=good)})
    assert (found["x"].answer, found["x"].reason) == (answer, reason)
    assert {finding.rate for finding in found["x"].findings} == {1.0, 2.0}
    assert {finding.rate for finding in found["y"].findings} == {1.0}


def cost(params: int, gmacs: float) -> Cost:
    return Cost(counts=Counts(params_total=params, params_trainable=params, gmacs=gmacs, gflops=2 * gmacs))


@pytest.mark.parametrize(
    ("claim", "answer", "reason"),
    [
        ({"relation": "equals", "arms": ["base"], "values": {"base": 2.0}}, "supported", ""),
        ({"relation": "equals", "arms": ["base"], "values": {"base": 2.09}}, "supported", ""),
        ({"relation": "equals", "arms": ["base"], "values": {"base": 3}}, "contradicted", "base: 2 instead of 3"),
        ({"relation": "equals", "arms": ["good"], "values": {"good": 0.5}, "relative_to": "base"}, "supported", ""),
        ({"arms": ["good", "base"]}, "supported", ""),
        ({"arms": ["base", "good"]}, "contradicted", "base against good: worse (2 and 1)"),
        ({"arms": ["base", "twin"], "relation": "equivalent"}, "supported", ""),
        ({"arms": ["base", "blind"]}, "failed", "blind: cannot be built"),
    ],
)
def test_counts_need_no_seeds(claim: dict[str, Any], answer: str, reason: str) -> None:
    counts = {"base": cost(2_000_000, 1.0), "twin": cost(2_000_000, 1.0), "good": cost(1_000_000, 1.0)}
    claims = claims_of({"id": "x", "measures": ["params"], **claim})
    [found] = judge_untrained(claims, Evidence(counts={**counts, "blind": "cannot be built"}))
    assert (found.answer, found.reason) == (answer, reason)


@pytest.mark.parametrize(
    ("error", "answer"), [(1e-7, "supported"), (0.1, "contradicted"), ("weights do not fit", "failed")]
)
def test_inflation(error: float | str, answer: str) -> None:
    claims = claims_of({"id": "x", "arms": ["good", "base"], "relation": "inflates"})
    [found] = judge_untrained(claims, Evidence(inflations={"x": error}))
    assert found.answer == answer


@pytest.mark.parametrize(
    ("shapes", "answer", "reason"),
    [
        ({"a": "4->8 2x3", "b": "8->8 2x3", "more": "1->1 1x1"}, "supported", ""),
        ({"a": "4->8 2x3", "b": "8->9 2x3"}, "contradicted", "b: 8->9 2x3 instead of 8->8 2x3"),
        ({"a": "4->8 2x3"}, "contradicted", "b: no such block instead of 8->8 2x3"),
        ("cannot be built", "failed", "cannot be built"),
    ],
)
def test_shapes(shapes: dict[str, str] | str, answer: str, reason: str) -> None:
    stated = {"a": "4->8 2x3", "b": "8->8 2x3"}
    claims = claims_of({"id": "x", "arms": ["good"], "relation": "shapes", "shapes": stated})
    [found] = judge_untrained(claims, Evidence(shapes={"x": shapes}))
    assert (found.answer, found.reason) == (answer, reason)


def test_what_waits_for_something_says_for_what() -> None:
    claims = claims_of({"id": "x", "arms": ["good", "base"], "not_yet": "a new backbone"})
    [found] = judge_untrained(claims, Evidence())
    assert (found.answer, found.reason) == ("not possible yet", "needs a new backbone")

"""Looks in rounds: levels against the multivariate normal distribution, and verdicts that stand once given."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from stbench.records.decisions import decide
from stbench.records.estimates import Comparison, PooledSigma
from stbench.records.measures import MEASURES
from stbench.records.sequential import KEPT_BACK, SequentialRule, decide_in_rounds, next_round

LOSS = MEASURES["validation_loss"]
CARD = PooledSigma(sd=0.05, freedom=9)
RULE = SequentialRule(max_seeds=6)


def arm(centre: float, n: int) -> dict[int, float]:
    return {seed: centre * math.exp(0.04 * math.sin(5 * seed)) for seed in range(n)}


def test_looks() -> None:
    assert SequentialRule().looks == (3, 4, 5, 6, 7, 8, 9, 10, 11, 12)
    assert SequentialRule(12, 5, 4).looks == (5, 9, 12)
    assert SequentialRule(5, 5).looks == (5,)


def test_one_look_spends_all() -> None:
    assert SequentialRule(5, 5).level(0, 0.05) == pytest.approx(0.05 * (1 - KEPT_BACK), rel=1e-4)


def test_levels_are_those_that_are_published_for_five_looks() -> None:
    rule = SequentialRule(max_seeds=10, first_look=2, round_size=2)
    bounds = [stats.norm.isf(rule.level(look, 0.05 / (1 - KEPT_BACK)) / 2) for look in range(5)]
    # Lan and DeMets' boundary of Pocock's kind, alpha 0.05, equally spaced, as R's ldbounds has it.
    assert bounds == pytest.approx([2.438, 2.427, 2.410, 2.397, 2.386], abs=0.002)


@pytest.mark.parametrize("alpha", [0.05, 0.005])
def test_all_looks_together_spend_alpha(alpha: float) -> None:
    rule = SequentialRule(max_seeds=8, first_look=3, round_size=2)
    times = np.array(rule.looks) / 8
    bounds = stats.norm.isf(np.array([rule.level(look, alpha) for look in range(len(times))]) / 2)
    correlation = np.sqrt(np.minimum.outer(times, times) / np.maximum.outer(times, times))
    inside = stats.multivariate_normal.cdf(bounds, cov=correlation, lower_limit=-bounds, rng=np.random.default_rng(0))
    assert 1 - inside == pytest.approx((1 - KEPT_BACK) * alpha, rel=0.02)


def test_before_the_first_look_nothing_is_said() -> None:
    comparison = Comparison(arm(1, 2), arm(2, 2), LOSS, CARD)
    (decision,) = decide_in_rounds([comparison], RULE)
    assert (decision.verdict, decision.seeds_needed) == ("undecided", 3)
    assert decision.reason == "the first look is at 3 seeds an arm"


def test_a_verdict_stands_whatever_later_seeds_say() -> None:
    later = {**arm(2, 3), 3: 0.1, 4: 0.1, 5: 0.1}
    (decision,) = decide_in_rounds([Comparison(arm(1, 6), later, LOSS, CARD)], RULE)
    assert (decision.verdict, decision.n) == ("worse", 3)
    assert decide(arm(1, 6), later, measure=LOSS, sigma=CARD).verdict != "worse"


def test_each_look_has_the_seeds_in_their_order_and_its_own_level() -> None:
    comparison = Comparison(arm(1, 5), dict(reversed(arm(1.06, 6).items())), LOSS, CARD)
    (decision,) = decide_in_rounds([comparison], RULE, margin=0.001)
    assert (decision.verdict, decision.n, decision.alpha) == ("undecided", 5, RULE.level(2, 0.05))


def test_a_decided_comparison_leaves_its_share_of_alpha_to_the_others() -> None:
    clear, open_ = Comparison(arm(1, 4), arm(2, 4), LOSS, CARD), Comparison(arm(1, 4), arm(1.06, 4), LOSS, CARD)
    decided, undecided = decide_in_rounds([clear, open_], RULE, margin=0.001)
    assert (decided.n, decided.alpha) == (3, RULE.level(0, 0.025))
    assert (undecided.n, undecided.alpha) == (4, RULE.level(1, 0.05))


def test_the_next_round_is_for_arms_of_undecided_comparisons() -> None:
    arms = {"a": arm(1, 4), "b": arm(1.06, 3), "c": arm(3, 3)}
    pairs = [("a", "b"), ("a", "c"), ("b", "c")]
    family = [Comparison(arms[one], arms[other], LOSS, CARD, (one, other)) for one, other in pairs]
    decisions = decide_in_rounds(family, RULE, margin=0.001)
    assert [each.verdict for each in decisions] == ["undecided", "worse", "worse"]
    assert next_round(family, decisions, RULE) == {"a": 4, "b": 4}


def test_there_is_no_round_after_the_last() -> None:
    family = [Comparison(arm(1, 6), arm(1.06, 6), LOSS, CARD)]
    decisions = decide_in_rounds(family, RULE, margin=0.001)
    assert decisions[0].verdict == "undecided"
    assert next_round(family, decisions, RULE) == {}


def test_equivalence_ends_a_comparison_too() -> None:
    (decision,) = decide_in_rounds([Comparison(arm(1, 6), arm(1, 6), LOSS, CARD)], RULE, margin=0.2)
    assert (decision.verdict, decision.n) == ("equivalent", 3)

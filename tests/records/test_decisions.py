"""Verdicts of known figures: what the interval says, in the measure's own terms, alone and as one of several."""

from __future__ import annotations

import math

import pytest
from scipy import stats

from stbench.records.decisions import decide, decide_all
from stbench.records.estimates import Comparison, PooledSigma
from stbench.records.measures import MEASURES
from stbench.records.power import Design
from stbench.records.statistics import holm

LOSS, KVD, SHARE = MEASURES["validation_loss"], MEASURES["kvd"], MEASURES["class_agreement"]
CARD = PooledSigma(sd=0.02, freedom=9)


def arm(centre: float, spread: float = 0.02, n: int = 3) -> dict[int, float]:
    """Seeds about a centre, evenly spread on the scale of ratios."""
    return {seed: centre * math.exp(spread * (seed - (n - 1) / 2)) for seed in range(n)}


@pytest.mark.parametrize(
    ("first", "second", "verdict"),
    [(1.0, 1.3, "worse"), (1.3, 1.0, "better"), (1.0, 1.001, "equivalent"), (1.0, 1.03, "undecided")],
)
def test_three_seeds_and_a_card_decide(first: float, second: float, verdict: str) -> None:
    decision = decide(arm(first), arm(second), measure=LOSS, sigma=CARD, margin=0.05)
    assert decision.verdict == verdict
    assert decision.effect == pytest.approx(second / first - 1)
    assert (decision.n, decision.paired, decision.alpha) == (3, False, 0.05)


def test_more_is_better_of_a_share_whose_effect_is_in_points() -> None:
    first, second = {0: 0.30, 1: 0.31, 2: 0.29}, {0: 0.80, 1: 0.81, 2: 0.79}
    decision = decide(first, second, measure=SHARE, sigma=CARD)
    assert (decision.verdict, decision.effect) == ("better", pytest.approx(0.5))
    assert decide(second, first, measure=SHARE, sigma=CARD).verdict == "worse"


def test_what_may_be_negative_is_a_share_of_the_first_s_size() -> None:
    first, second = {0: -2.0, 1: -2.1, 2: -1.9}, {0: -1.0, 1: -1.1, 2: -0.9}
    decision = decide(first, second, measure=KVD, sigma=PooledSigma(0.1, 9))
    assert (decision.verdict, decision.effect) == ("worse", pytest.approx(0.5))


def test_the_interval_is_that_of_the_test_as_a_ratio() -> None:
    first, second = arm(1.0, n=5), arm(1.2, n=5)
    decision = decide(first, second, measure=LOSS)
    logs = [[math.log(value) for value in each.values()] for each in (second, first)]
    low, high = stats.ttest_ind(*logs).confidence_interval(0.95)  # Welch's, of equal variances
    assert decision.interval == pytest.approx((math.expm1(low), math.expm1(high)))


def test_a_difference_within_the_margin_is_equivalent_though_it_leaves_out_zero() -> None:
    decision = decide(arm(1.0, 0.001), arm(1.01, 0.001), measure=LOSS, sigma=PooledSigma(0.001, 9), margin=0.05)
    assert decision.interval is not None
    assert decision.interval[0] > 0
    assert decision.verdict == "equivalent"


def test_equal_figures_are_equivalent() -> None:
    same = dict.fromkeys(range(5), 2.0)
    assert decide(same, same, measure=LOSS).verdict == "equivalent"
    assert decide(same, same, measure=LOSS, margin=0).verdict == "undecided"


def test_few_seeds_without_a_card_say_how_many_are_missing() -> None:
    decision = decide(arm(1.0), arm(3.0), measure=LOSS)
    assert (decision.verdict, decision.seeds_needed, decision.interval, decision.p) == ("undecided", 5, None, None)
    assert decision.effect == pytest.approx(2)
    assert decision.reason == "5 seeds an arm are needed without a noise card, 2 more than there are"


def test_an_arm_without_figures_has_no_effect() -> None:
    decision = decide({}, arm(1.0), measure=LOSS, sigma=CARD)
    assert (decision.verdict, decision.effect, decision.n) == ("undecided", None, 0)
    assert decide({0: 0.0, 1: 1.0}, arm(1.0), measure=LOSS, sigma=CARD).effect is None


def test_an_undecided_comparison_says_what_it_could_find_and_what_it_needs() -> None:
    decision = decide(arm(1.0), arm(1.08, 0.03), measure=LOSS, sigma=PooledSigma(0.05, 9), margin=0.02)
    assert (decision.verdict, decision.seeds_needed) == ("undecided", 7)
    sd = math.sqrt((2 * 0.02**2 + 2 * 0.03**2 + 9 * 0.05**2) / 13)
    assert decision.detectable == pytest.approx(math.expm1(Design(sd, freedom_of_card=9).detectable(3, 0.05)))
    assert "leaves open" in decision.reason
    more = decide(arm(1.0, 0.01, 6), arm(1.08, 0.01, 6), measure=LOSS, sigma=PooledSigma(0.05, 9), margin=0.02)
    assert (more.verdict, more.seeds_needed) == ("worse", None)


def test_equivalence_may_need_fewer_seeds_than_a_difference() -> None:
    decision = decide(arm(1.0, 0.05), arm(1.005, 0.05), measure=LOSS, sigma=PooledSigma(0.05, 9), margin=0.05)
    assert Design(0.05, freedom_of_card=9).seeds_for(0.005, 0.05) is None
    assert (decision.verdict, decision.seeds_needed) == ("undecided", 25)


def test_a_family_is_corrected_by_holm_and_each_interval_is_at_its_own_level() -> None:
    centres = (1.3, 1.04, 1.02, 1.0)
    family = [Comparison(arm(1.0), arm(centre), LOSS, CARD) for centre in centres]
    decisions = decide_all(family, margin=0.001)
    alone = [decide(each.first, each.second, measure=LOSS, sigma=CARD, margin=0.001) for each in family]
    assert [each.p_alone for each in decisions] == [each.p for each in alone]
    assert [each.p for each in decisions] == holm([each.p or 0 for each in alone])
    assert [each.alpha for each in decisions] == pytest.approx([0.05 / 4, 0.05 / 3, 0.05 / 3, 0.05 / 3])
    assert [each.verdict for each in alone][:2] == ["worse", "worse"]
    assert [each.verdict for each in decisions] == ["worse", "undecided", "undecided", "undecided"]
    for decision in decisions:
        low, high = decision.interval or (0, 0)
        assert (low > 0 or high < 0) is (decision.p is not None and decision.p < 0.05)


def test_what_cannot_be_tested_yet_counts_in_the_family() -> None:
    family = [Comparison(arm(1.0), arm(1.3), LOSS, CARD), Comparison(arm(1.0), arm(1.3), LOSS)]
    tested, untested = decide_all(family)
    assert (tested.alpha, untested.verdict) == (0.025, "undecided")
    assert tested.p == 2 * (tested.p_alone or 0)

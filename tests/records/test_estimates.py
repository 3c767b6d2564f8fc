"""The t tests against scipy's own, and the rule that says which of them it is."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from stbench.records.estimates import Comparison, Estimate, PooledSigma, Untested, estimate, pairing_pays
from stbench.records.measures import MEASURES

FVD, KVD, SHARE = MEASURES["fvd"], MEASURES["kvd"], MEASURES["class_agreement"]
FIRST = {0: 10.0, 1: 11.0, 2: 10.4, 3: 9.8, 4: 10.9}
SECOND = {0: 12.1, 1: 13.0, 2: 12.2, 3: 11.9, 4: 13.6}
CARD = PooledSigma(sd=0.06, freedom=9)


def logs(arm: dict[int, float]) -> list[float]:
    return [math.log(arm[seed]) for seed in sorted(arm)]


def estimated(comparison: Comparison) -> Estimate:
    found = estimate(comparison, 0.05)
    assert isinstance(found, Estimate), found
    return found


def test_without_a_card_it_is_welchs_test_of_the_logarithms() -> None:
    found = estimated(Comparison(FIRST, SECOND, FVD))
    expected = stats.ttest_ind(logs(SECOND), logs(FIRST), equal_var=False)
    assert found.p == pytest.approx(expected.pvalue)
    assert found.interval(0.05) == pytest.approx(tuple(expected.confidence_interval(0.95)))


@pytest.mark.parametrize("measure", [KVD, SHARE])
def test_what_may_be_zero_is_compared_as_it_is(measure: object) -> None:
    found = estimated(Comparison(FIRST, SECOND, measure))  # type: ignore[arg-type]
    assert found.p == pytest.approx(stats.ttest_ind([*SECOND.values()], [*FIRST.values()], equal_var=False).pvalue)


def test_a_card_s_variance_is_pooled_with_the_arms_own() -> None:
    few = Comparison({0: 10.0, 1: 11.0}, {0: 12.1, 7: 13.0}, FVD, CARD)
    found, (first, second) = estimated(few), few.arms
    variance = (first.var(ddof=1) + second.var(ddof=1) + 9 * 0.06**2) / 11
    t = (second.mean() - first.mean()) / math.sqrt(variance)
    assert (found.freedom, found.error) == (9, pytest.approx(math.sqrt(variance)))
    assert found.p == pytest.approx(2 * stats.t.sf(abs(t), 9))


def test_a_card_never_makes_the_arms_look_surer_than_their_own_seeds() -> None:
    comparison = Comparison({0: 10.0, 1: 11.0}, {0: 12.1, 7: 13.0}, FVD, PooledSigma(0.03, 9))
    own = math.sqrt(sum(arm.var(ddof=1) for arm in comparison.arms) / 2)
    assert own > 0.03
    found = estimated(comparison)
    assert (found.error, found.freedom) == (pytest.approx(own), 9)


def test_a_card_of_no_noise_leaves_students_test_of_many_seeds() -> None:
    first, second = ({seed: 2.0 + seed % 3 + shift for seed in range(12)} for shift in (0, 1))
    found = estimated(Comparison(first, second, KVD, PooledSigma(0.8, 9)))
    assert found.p == pytest.approx(stats.ttest_ind([*second.values()], [*first.values()]).pvalue)


def test_pairs_are_tested_by_their_differences_where_the_card_shows_that_it_pays() -> None:
    card = replace(CARD, correlation=0.8)
    found = estimated(Comparison({**FIRST, 9: 30.0}, SECOND, FVD, card))
    assert found.design.paired
    assert found.p == pytest.approx(stats.ttest_rel(logs(SECOND), logs(FIRST)).pvalue)
    assert found.n == 5
    assert found.correlation == pytest.approx(np.corrcoef(logs(FIRST), logs(SECOND))[0, 1])


@pytest.mark.parametrize(
    ("correlation", "pairs", "pays"),
    [(0.0, 12, False), (0.05, 12, False), (0.3, 12, True), (0.2, 5, False), (0.6, 5, True), (0.9, 4, False)],
)
def test_pairing_pays_by_card_and_number_alone(correlation: float, pairs: int, pays: bool) -> None:
    assert pairing_pays(PooledSigma(0.05, 9, correlation), pairs, 0.05) is pays


def test_a_card_is_left_aside_where_the_seeds_spread_more_widely() -> None:
    narrow = PooledSigma(sd=0.005, freedom=9)
    found = estimated(Comparison(FIRST, SECOND, FVD, narrow))
    assert found.p == estimated(Comparison(FIRST, SECOND, FVD)).p
    assert "left aside" in found.remark
    few = estimate(Comparison({0: 10.0, 1: 11.0}, {0: 12.1, 1: 13.0}, FVD, narrow), 0.05)
    assert isinstance(few, Untested)
    assert few.seeds_needed == 5
    assert "left aside, 3 more than there are" in few.reason


@pytest.mark.parametrize(
    ("seeds", "card", "reason"),
    [
        (4, None, "5 seeds an arm are needed without a noise card, 1 more than there are"),
        (1, CARD, "2 seeds an arm are needed with a noise card, 1 more than there are"),
        (0, None, "5 seeds an arm are needed without a noise card, 5 more than there are"),
    ],
)
def test_too_few_seeds(seeds: int, card: PooledSigma | None, reason: str) -> None:
    few = {seed: FIRST[seed] for seed in range(seeds)}
    assert estimate(Comparison(few, SECOND, FVD, card), 0.05) == Untested(reason, 2 if card else 5)


def test_what_is_no_positive_figure_has_no_ratio() -> None:
    found = estimate(Comparison(FIRST, {**SECOND, 0: 0.0}, FVD), 0.05)
    assert found == Untested("a figure is zero or less, which has no ratio")


def test_nothing_is_a_share_of_zero() -> None:
    found = estimate(Comparison({0: -1.0, 1: 1.0}, {0: 1.0, 1: 2.0}, KVD, CARD), 0.05)
    assert found == Untested("the first mean is zero, of which no difference is a share")


@pytest.mark.parametrize(("second", "p"), [(10.0, 1.0), (12.0, 0.0)])
def test_figures_without_noise(second: float, p: float) -> None:
    found = estimated(Comparison(dict.fromkeys(range(5), 10.0), dict.fromkeys(range(5), second), FVD))
    assert (found.p, found.correlation) == (p, None)
    assert found.interval(0.05) == pytest.approx((math.log(second / 10),) * 2)


def test_the_unit_of_a_difference() -> None:
    assert Comparison({0: -4.0, 1: -2.0}, SECOND, KVD).unit == 3
    assert Comparison({0: 0.4, 1: 0.2}, SECOND, SHARE).unit == 1
    assert Comparison(FIRST, SECOND, FVD).unit == 1

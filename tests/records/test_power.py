"""Power against scipy's noncentral t, and against the table of seeds that any planning of a t test gives."""

from __future__ import annotations

import math

import pytest
from scipy import stats

from stbench.records.power import MOST_SEEDS, Design, two_sided


def test_two_sided_is_the_quantile_of_students_t() -> None:
    assert two_sided(0.05, 4) == pytest.approx(stats.t.isf(0.025, 4))


@pytest.mark.parametrize(
    ("sd", "seeds"), [(0.02, [9, 4, 3, 2]), (0.03, [17, 7, 3, 2]), (0.05, [45, 17, 6, 3]), (0.08, [113, 42, 12, 4])]
)
def test_seeds_an_arm_for_effects_of_3_5_10_and_20_per_cent(sd: float, seeds: list[int]) -> None:
    assert [Design(sd).seeds_for(effect, 0.05) for effect in (0.03, 0.05, 0.10, 0.20)] == seeds


@pytest.mark.parametrize(("correlation", "pairs"), [(0.0, 7), (0.3, 5), (0.5, 5), (0.8, 4)])
def test_pairs_for_10_per_cent(correlation: float, pairs: int) -> None:
    design = Design(0.05 * math.sqrt(2 * (1 - correlation)), paired=True)
    assert design.seeds_for(0.10, 0.05) == pairs


def test_a_noise_card_saves_seeds() -> None:
    assert Design(0.05, freedom_of_card=9).seeds_for(0.20, 0.05) == 2
    assert Design(0.05).seeds_for(0.20, 0.05) == 3


@pytest.mark.parametrize("design", [Design(0.05), Design(0.05, freedom_of_card=9), Design(0.07, paired=True)])
def test_the_detectable_effect_is_found_in_four_of_five_cases(design: Design) -> None:
    effect = design.detectable(5, 0.05)
    freedom = design.freedom(5)
    found = stats.nct.sf(stats.t.isf(0.025, freedom), freedom, effect / design.error(5))
    assert found == pytest.approx(0.8)
    assert design.power(-effect, 5, 0.05) == pytest.approx(0.8)


def test_power_of_equivalence_of_many_seeds_is_that_of_a_normal_figure() -> None:
    design, error = Design(0.05, freedom_of_card=1e6), 0.05 * math.sqrt(2 / 20)
    beyond = stats.norm.cdf((0.04 - 0.01) / error - 1.96) + stats.norm.cdf((0.04 + 0.01) / error - 1.96) - 1
    assert design.power_of_equivalence(0.01, 0.04, 20, 0.05) == pytest.approx(beyond, abs=1e-4)


def test_what_is_out_of_reach_has_no_number_of_seeds() -> None:
    assert Design(0.1).seeds_for(0.001, 0.05) is None
    assert Design(0.1).seeds_for_equivalence(0.2, 0.1, 0.05) is None
    assert MOST_SEEDS == 1000


def test_seeds_for_equivalence_are_the_fewest() -> None:
    design = Design(0.05)
    n = design.seeds_for_equivalence(0.0, 0.05, 0.05)
    assert n is not None
    assert design.power_of_equivalence(0, 0.05, n, 0.05) >= 0.8 > design.power_of_equivalence(0, 0.05, n - 1, 0.05)


def test_without_noise_two_seeds_tell_all() -> None:
    exact = Design(0.0)
    assert (exact.power(0.01, 2, 0.05), exact.power(0, 2, 0.05), exact.seeds_for(0.01, 0.05)) == (1, 0, 2)
    assert (exact.seeds_for_equivalence(0.0, 0.1, 0.05), exact.seeds_for_equivalence(0.2, 0.1, 0.05)) == (2, None)

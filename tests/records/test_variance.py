"""Components of variance against scipy's analysis of variance, and against components that are known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from stbench.records.variance import correlation_of_seeds, pooled_within, sampled_again

FIGURES = np.random.default_rng(0).normal(size=(5, 4)) + np.arange(5)[:, None]


def test_pooled_within_is_the_mean_square_of_scipy_s_one_way_analysis() -> None:
    variance, freedom = pooled_within(FIGURES.tolist())
    between = 4 * FIGURES.mean(axis=1).var(ddof=1)
    assert freedom == 15
    assert between / variance == pytest.approx(stats.f_oneway(*FIGURES).statistic)
    assert pooled_within([[1.0], [2.0]]) == (0.0, 0)


def test_sampling_is_the_mean_square_within_networks() -> None:
    sampling, apart = sampled_again(FIGURES)
    assert sampling == pytest.approx(pooled_within(FIGURES.tolist())[0])
    squares = np.square(FIGURES - FIGURES.mean(0) - FIGURES.mean(1, keepdims=True) + FIGURES.mean()).sum()
    assert apart == pytest.approx(squares / (4 * 3))


def test_known_components_are_found() -> None:
    rng = np.random.default_rng(1)
    networks, seeds = rng.normal(scale=3, size=(4000, 1)), rng.normal(scale=2, size=(1, 50))
    sampling, apart = sampled_again(networks + seeds + rng.normal(scale=0.5, size=(4000, 50)))
    assert apart == pytest.approx(0.25, rel=0.02)
    assert sampling == pytest.approx(seeds.var(ddof=1) + 0.25, rel=0.02)


def test_what_moves_all_networks_alike_is_nothing_between_them() -> None:
    sampling, apart = sampled_again([[1.0, 2.0, 4.0], [11.0, 12.0, 14.0]])
    assert (sampling, apart) == (pytest.approx(7 / 3), pytest.approx(0))


def test_correlation_of_equal_seeds_is_scipy_s_with_fisher_s_interval() -> None:
    one, other = FIGURES.T[:2]
    arms = [dict(enumerate(one)), {**dict(enumerate(other)), 99: 5.0}]
    found = correlation_of_seeds(arms)
    assert found is not None
    expected = stats.pearsonr(one, other, alternative="greater")
    assert found[0] == pytest.approx(expected.statistic)
    assert found[1] == pytest.approx(expected.confidence_interval(0.95).low)


def test_several_pairs_of_arms_make_the_correlation_no_surer() -> None:
    arm = dict(enumerate(FIGURES[:, 0]))
    noise = np.random.default_rng(2).normal(size=(3, 5))
    arms = [arm, *({seed: arm[seed] + row[seed] for seed in arm} for row in noise)]
    found = correlation_of_seeds(arms)
    assert found is not None
    width = math.atanh(found[0]) - math.atanh(found[1])
    assert width == pytest.approx(1.6449 / math.sqrt(5 - 3), rel=1e-3)


@pytest.mark.parametrize("other", [{}, {0: 1.0, 1: 2.0, 2: 3.0}, dict.fromkeys(range(5), 1.0)])
def test_too_little_for_a_correlation(other: dict[int, float]) -> None:
    assert correlation_of_seeds([dict(enumerate(FIGURES[:, 0])), other]) is None


def test_equal_arms_have_an_interval_too() -> None:
    arm = dict(enumerate(FIGURES[:, 0]))
    found = correlation_of_seeds([arm, arm])
    assert found is not None
    assert 0.99 < found[1] < found[0] < 1

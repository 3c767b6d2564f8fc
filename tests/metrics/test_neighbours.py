from __future__ import annotations

from dataclasses import astuple

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from stbench.errors import StbenchError
from stbench.metrics.frechet import FloatArray
from stbench.metrics.neighbours import NeighbourResult, neighbour_scores


def _normal(seed: int, n: int, d: int = 6) -> FloatArray:
    return np.random.default_rng(seed).standard_normal((n, d))


def _by_definition(real: FloatArray, fake: FloatArray) -> NeighbourResult:
    """Sample by sample, from exact distances."""

    def radius(samples: FloatArray, index: int, k: int) -> float:
        return float(np.sort(np.delete(cdist(samples[[index]], samples)[0], index))[k - 1])

    def balls(centres: FloatArray, points: FloatArray, k: int, edge: bool) -> list[list[bool]]:
        radii = [radius(centres, index, k) for index in range(len(centres))]
        reach = [np.nextafter(r, np.inf) if edge else r for r in radii]
        return [[bool(cdist([c], [p])[0, 0] < r) for p in points] for c, r in zip(centres, reach, strict=True)]

    def held(inside: list[list[bool]]) -> float:
        return sum(map(any, zip(*inside, strict=True))) / len(inside[0])

    dense = balls(real, fake, 5, edge=False)
    return NeighbourResult(
        precision=held(balls(real, fake, 3, edge=True)),
        recall=held(balls(fake, real, 3, edge=True)),
        density=sum(map(sum, dense)) / (5 * len(fake)),
        coverage=sum(map(any, dense)) / len(real),
    )


@pytest.mark.parametrize(("n_real", "n_fake", "scale"), [(40, 40, 1.0), (30, 55, 0.5), (6, 7, 2.0)])
@pytest.mark.parametrize("mean", [0.0, 1e6])
def test_equals_the_definition(n_real: int, n_fake: int, scale: float, mean: float) -> None:
    real, fake = mean + _normal(0, n_real), mean + scale * _normal(1, n_fake)
    assert astuple(neighbour_scores(real, fake)) == pytest.approx(astuple(_by_definition(real, fake)), rel=1e-12)


def test_blocks_of_rows_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    real, fake = _normal(0, 50), _normal(1, 40)
    whole = neighbour_scores(real, fake)
    monkeypatch.setattr("stbench.metrics.neighbours._PAIRS_AT_ONCE", 7 * 50)
    assert neighbour_scores(real, fake) == whole


def test_points_on_a_line_by_hand() -> None:
    real = np.arange(10.0)[:, None]
    fake = np.array([2.1, 2.2, 2.3, 2.4, 2.5, 50.0])[:, None]
    scores = neighbour_scores(real, fake)
    assert scores.precision == 5 / 6  # 50 is in no ball
    assert scores.recall == 8 / 10  # the ball of k = 3 around 50 reaches down to 2.3, that around 2.1 down to 1.8
    # Balls of k = 5 reach 5 around 0, 4 around 1, and 3 around 2 to 7: those around 0 to 5 hold the five near samples.
    assert scores.density == 6 * 5 / (5 * 6)
    assert scores.coverage == 6 / 10


@pytest.mark.parametrize("seed", range(5))
def test_a_copy_on_the_edge_counts_for_precision_and_recall_alone(seed: int) -> None:
    """Half of the generated samples are copies of real ones, and lie on the edge of each other's balls."""
    real = _normal(seed, 60, 40)
    fake = np.concatenate([real[np.random.default_rng(seed).permutation(60)[:30]], _normal(seed + 100, 20, 40)])
    assert astuple(neighbour_scores(real, fake)) == pytest.approx(astuple(_by_definition(real, fake)), rel=1e-12)


def test_a_set_against_itself() -> None:
    """As the released code of each: with k = 5 a ball without its edge holds its centre and four neighbours."""
    distinct = _normal(0, 60)
    assert astuple(neighbour_scores(distinct, distinct)) == (1, 1, 1, 1)
    for repeated in (np.repeat(_normal(0, 10, 400) + 3, 8, axis=0), np.ones((20, 4))):  # balls of radius 0
        assert astuple(neighbour_scores(repeated, repeated)) == (1, 1, 0, 0)


def test_sets_far_apart_score_zero() -> None:
    assert astuple(neighbour_scores(_normal(0, 60), _normal(1, 60) + 100)) == (0, 0, 0, 0)


def test_density_of_equal_distributions_is_about_one() -> None:
    scores = [neighbour_scores(_normal(seed, 200), _normal(seed + 100, 200)) for seed in range(20)]
    assert np.mean([each.density for each in scores]) == pytest.approx(1, abs=0.1)


def test_dropping_a_mode_lowers_recall_and_coverage_only() -> None:
    modes = np.repeat([[0.0], [20.0]], 100, axis=0)
    real, fake = _normal(0, 200) + modes, _normal(1, 200) + modes
    whole, dropped = neighbour_scores(real, fake), neighbour_scores(real, np.concatenate([fake[:100], _normal(2, 100)]))
    assert dropped.precision == pytest.approx(whole.precision, abs=0.06)
    assert dropped.density == pytest.approx(whole.density, abs=0.2)
    assert dropped.recall < 0.6 * whole.recall
    assert dropped.coverage < 0.6 * whole.coverage


def test_noise_lowers_precision_and_density() -> None:
    real, fake = _normal(0, 200), _normal(1, 200)
    clean, noisy = neighbour_scores(real, fake), neighbour_scores(real, fake + 3 * _normal(2, 200))
    assert noisy.precision < 0.5 * clean.precision
    assert noisy.density < 0.5 * clean.density
    assert noisy.recall > 0.8 * clean.recall


def test_one_outlier_moves_density_and_coverage_little() -> None:
    """The example of Naeem et al., section 2: one outlier's ball takes in samples far from all others."""
    real, fake = _normal(0, 100), _normal(1, 100) + np.array([12.0, 0, 0, 0, 0, 0])
    real[0, 0] = 24
    scores = neighbour_scores(real, fake)
    assert scores.precision > 0.9
    assert scores.density < 0.3
    assert scores.coverage < 0.1


def test_inputs_are_left_alone_and_too_few_samples_refused() -> None:
    real = _normal(0, 6)
    before = real.copy()
    neighbour_scores(real, real + 1)
    assert np.array_equal(real, before)
    with pytest.raises(StbenchError, match="more than 5 clips on each side, got 6 real and 5 generated"):
        neighbour_scores(real, real[:5])

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from stbench.errors import StbenchError
from stbench.metrics.frechet import FloatArray, frechet_distance
from stbench.metrics.intervals import deal, frechet_jackknife, jackknife, min_samples_at_infinity

D = 8


def _pair(
    rng: np.random.Generator, n: int, shift: float, scale: float = 1.0, d: int = D
) -> tuple[FloatArray, FloatArray]:
    """Samples of N(0, I) and N(shift, scale² I), whose distance is d shift² + d (1 - scale)²."""
    return rng.standard_normal((n, d)), scale * rng.standard_normal((n, d)) + shift


@pytest.mark.parametrize(("shift", "scale"), [(0.3, 1.0), (0.2, 1.3), (0.0, 1.0)])
def test_the_intervals_hold_what_they_say(shift: float, scale: float) -> None:
    """Over sets drawn again: the true distance, and the mean distance of as many samples; and they are not too wide."""
    rng = np.random.default_rng(0)
    truth = D * (shift**2 + (1 - scale) ** 2)
    found = [frechet_jackknife(*_pair(rng, 128, shift, scale)) for _ in range(150)]
    distances, estimates = ([getattr(each, name) for each in found] for name in ("distance", "at_infinity"))
    for bounds, inside in (
        ([each.interval_at_infinity for each in found], truth),
        ([each.interval for each in found], np.mean(distances)),
    ):
        covered = np.mean([low <= inside <= high for low, high in bounds])
        # At distance 0 the first derivative of the distance is 0 as well, and the intervals are too wide.
        assert 0.9 <= covered <= 1
    assert np.mean(estimates) == pytest.approx(truth, abs=4 * np.std(estimates) / len(found) ** 0.5)
    for spread in (np.std(distances), np.std(estimates)):
        assert 0.85 < np.mean([each.standard_error for each in found]) / spread < 1.6


@pytest.mark.parametrize("d", [8, 32])
def test_the_estimate_at_infinity_is_in_the_middle_of_its_interval(d: int) -> None:
    found = frechet_jackknife(*_pair(np.random.default_rng(1), 4 * d, 0.0, d=d))
    assert np.mean(found.interval_at_infinity) == pytest.approx(found.at_infinity)
    assert np.mean(found.interval) == pytest.approx(found.distance)
    assert found.interval_at_infinity[0] < 0 < found.interval_at_infinity[1] < found.distance


def test_the_bias_is_gone_with_few_samples_too() -> None:
    """With the fewest that are asked for, where the distance itself is all bias."""
    rng = np.random.default_rng(2)
    found = [frechet_jackknife(*_pair(rng, min_samples_at_infinity(16), 0.0, d=16)) for _ in range(60)]
    estimates = [each.at_infinity for each in found]
    assert abs(np.mean(estimates)) < 0.1 * np.mean([each.distance for each in found])
    assert abs(np.mean(estimates)) < 0.5 * np.std(estimates)


def test_a_law_of_1_over_n_is_taken_off_whole() -> None:
    n, c, truth = 200, 30.0, 7.0
    found = jackknife(truth + c / n, [truth + c / (n - n / 10)] * 10)
    assert found.at_infinity == pytest.approx(truth)
    assert found.standard_error == pytest.approx(0)


def test_the_jackknife_is_the_textbooks() -> None:
    """Of 20 samples in 10 groups, by the formula of pseudo-values."""
    a, b = _pair(np.random.default_rng(2), 20, 0.5, d=2)
    rng = np.random.default_rng(7)
    groups = zip(deal(20, 10, rng), deal(20, 10, rng), strict=True)
    left = [frechet_distance(np.delete(a, i, axis=0), np.delete(b, j, axis=0)) for i, j in groups]
    found = frechet_jackknife(a, b, seed=7)
    assert found.distance == frechet_distance(a, b)
    assert found.at_infinity == pytest.approx(10 * found.distance - 9 * np.mean(left))
    assert found.standard_error == pytest.approx(np.sqrt(9 / 10 * np.square(left - np.mean(left)).sum()))
    margin = stats.t.ppf(0.975, 9) * found.standard_error
    assert found.interval == pytest.approx((found.distance - margin, found.distance + margin))
    assert found.interval_at_infinity == pytest.approx((found.at_infinity - margin, found.at_infinity + margin))


def test_repeats_by_seed_and_leaves_its_inputs_alone() -> None:
    a, b = _pair(np.random.default_rng(3), 40, 0.3)
    before = a.copy()
    assert frechet_jackknife(a, b, seed=1) == frechet_jackknife(a, b, seed=1) != frechet_jackknife(a, b, seed=2)
    assert np.array_equal(a, before)


def test_too_few_samples_are_refused() -> None:
    a, b = _pair(np.random.default_rng(6), 16, 0.0, d=2)
    assert frechet_jackknife(a, b).standard_error > 0
    with pytest.raises(StbenchError, match="at least 16 clips on each side, got 15"):
        frechet_jackknife(a, b[:-1])

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from stbench.errors import StbenchError
from stbench.metrics.frechet import FloatArray, frechet_distance
from stbench.metrics.intervals import deal, interval, interval_over_samplings

D = 8


def _pair(
    rng: np.random.Generator, n: int, shift: float, scale: float = 1.0, d: int = D
) -> tuple[FloatArray, FloatArray]:
    """Samples of N(0, I) and N(shift, scale² I), whose distance is d shift² + d (1 - scale)²."""
    return rng.standard_normal((n, d)), scale * rng.standard_normal((n, d)) + shift


@pytest.mark.parametrize(("method", "replicates"), [("jackknife", 150), ("subsampling", 60)])
@pytest.mark.parametrize(("shift", "scale"), [(0.3, 1.0), (0.2, 1.3), (0.0, 1.0)])
def test_covers_the_true_distance_about_as_often_as_it_says(
    method: str, replicates: int, shift: float, scale: float
) -> None:
    rng = np.random.default_rng(0)
    truth = D * (shift**2 + (1 - scale) ** 2)
    found = [interval(*_pair(rng, 128, shift, scale), method=method) for _ in range(replicates)]
    covered = np.mean([each.low <= truth <= each.high for each in found])
    # At distance 0 the first derivative of the distance is 0 as well, and the intervals are too wide.
    assert 0.88 <= covered <= 1
    estimates = [each.estimate for each in found]
    assert np.mean(estimates) == pytest.approx(truth, abs=4 * np.std(estimates) / replicates**0.5)
    assert 0.8 < np.mean([each.standard_error for each in found]) / np.std(estimates) < 2


def test_a_plain_distance_lies_above_its_interval_where_clips_are_few() -> None:
    a, b = _pair(np.random.default_rng(1), 128, 0.0, d=32)
    assert interval(a, b).low < 0 < interval(a, b).high < frechet_distance(a, b)


def test_the_jackknife_is_the_textbooks() -> None:
    """Of 20 samples in 10 groups, by the formula of pseudo-values."""
    a, b = _pair(np.random.default_rng(2), 20, 0.5, d=2)
    rng = np.random.default_rng(7)
    groups = zip(deal(20, 10, rng), deal(20, 10, rng), strict=True)
    left = [frechet_distance(np.delete(a, i, axis=0), np.delete(b, j, axis=0)) for i, j in groups]
    result = interval(a, b, seed=7)
    assert result.estimate == pytest.approx(10 * frechet_distance(a, b) - 9 * np.mean(left))
    assert result.standard_error == pytest.approx(np.sqrt(9 / 10 * np.square(left - np.mean(left)).sum()))
    margin = stats.t.ppf(0.975, 9) * result.standard_error
    assert (result.low, result.high) == pytest.approx((result.estimate - margin, result.estimate + margin))


@pytest.mark.parametrize("method", ["jackknife", "subsampling"])
def test_repeats_by_seed_and_leaves_its_inputs_alone(method: str) -> None:
    a, b = _pair(np.random.default_rng(3), 40, 0.3)
    before = a.copy()
    assert interval(a, b, method, seed=1) == interval(a, b, method, seed=1) != interval(a, b, method, seed=2)
    assert np.array_equal(a, before)


def test_the_bootstrap_is_refused_with_its_reason() -> None:
    a, b = _pair(np.random.default_rng(4), 256, 0.0, d=32)
    with pytest.raises(StbenchError, match=r"'bootstrap': refused, since repeated clips bias .* take 'jackknife'"):
        interval(a, b, method="bootstrap")


def test_the_bootstrap_has_the_fault_that_it_is_refused_for() -> None:
    rng = np.random.default_rng(5)
    a, b = _pair(rng, 256, 0.0, d=32)
    repeated = [frechet_distance(*(side[rng.integers(256, size=256)] for side in (a, b))) for _ in range(30)]
    assert min(repeated) > 1.5 * frechet_distance(a, b)


@pytest.mark.parametrize(
    ("n", "method", "message"),
    [
        (40, "jacknife", "unknown interval method 'jacknife'.*jackknife"),
        (31, "jackknife", "8-dimensional features needs at least 32 clips on each side, got 31"),
    ],
)
def test_other_methods_and_too_few_clips_are_refused(n: int, method: str, message: str) -> None:
    with pytest.raises(StbenchError, match=message):
        interval(*_pair(np.random.default_rng(6), n, 0.0), method=method)


def test_over_samplings_it_is_the_t_interval_of_their_distances() -> None:
    rng = np.random.default_rng(7)
    real, *fakes = rng.standard_normal((5, 60, D))
    distances = [frechet_distance(real, fake) for fake in fakes]
    summary = interval_over_samplings(real, fakes)
    expected = stats.t.interval(0.95, 3, np.mean(distances), stats.sem(distances))
    assert (summary.mean, summary.sd, summary.n) == pytest.approx((np.mean(distances), np.std(distances, ddof=1), 4))
    assert (summary.low, summary.high) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("sizes", "shared", "message"),
    [
        ((40, 40), False, "at least 3 sets of clips, got 2"),
        ((40, 40, 39), False, "sets of one size, got 40, 40, 39 clips"),
        ((40, 40, 40), True, "generated sets 0 and 2 share a clip"),
    ],
)
def test_over_samplings_the_sets_must_be_alike_and_disjoint(sizes: tuple[int, ...], shared: bool, message: str) -> None:
    rng = np.random.default_rng(8)
    fakes = [rng.standard_normal((size, D)) for size in sizes]
    if shared:
        fakes[2][5] = fakes[0][9]
    with pytest.raises(StbenchError, match=message):
        interval_over_samplings(rng.standard_normal((40, D)), fakes)

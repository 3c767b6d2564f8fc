from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import torch

from stbench.errors import StbenchError
from stbench.metrics.frechet import (
    FloatArray,
    GaussianStatistics,
    frechet_between,
    frechet_distance,
    gaussian_statistics,
)


def _features(seed: int, n: int = 300, d: int = 12, shift: float = 0.0) -> FloatArray:
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(seed + 1000).standard_normal((d, d))
    return rng.standard_normal((n, d)) @ mixing + shift


def _gaussian(mean: FloatArray, covariance: FloatArray) -> GaussianStatistics:
    return GaussianStatistics(mean, covariance, 1000)


@pytest.mark.parametrize(("shift", "scale"), [(0.0, 1.0), (0.5, 1.0), (0.0, 3.0), (2.0, 0.25)])
def test_isotropic_gaussians_have_their_closed_form(shift: float, scale: float) -> None:
    d = 20
    standard = _gaussian(np.zeros(d), np.eye(d))
    other = _gaussian(np.full(d, shift), scale**2 * np.eye(d))
    expected = d * shift**2 + d * (1 - scale) ** 2
    assert frechet_between(standard, other).distance == pytest.approx(expected, abs=1e-10)


def test_commuting_covariances_have_their_closed_form() -> None:
    a, b = np.array([1.0, 4.0, 9.0]), np.array([4.0, 1.0, 0.25])
    rotation = np.linalg.qr(np.random.default_rng(0).standard_normal((3, 3)))[0]
    result = frechet_between(*(_gaussian(np.zeros(3), rotation @ np.diag(v) @ rotation.T) for v in (a, b)))
    assert result.covariance_term == pytest.approx(np.square(np.sqrt(a) - np.sqrt(b)).sum())
    assert result.mean_term == 0


def test_agrees_with_the_matrix_square_root_of_the_product() -> None:
    a, b = _features(0), _features(1, shift=0.3)
    cov_a, cov_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    overlap = np.trace(scipy.linalg.sqrtm(cov_a @ cov_b)).real
    expected = np.square(a.mean(0) - b.mean(0)).sum() + np.trace(cov_a) + np.trace(cov_b) - 2 * overlap
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("decades", [0, 4, 8, 11])  # by how much the variances of the directions differ
def test_agrees_with_50_digits(decades: int) -> None:
    mpmath = pytest.importorskip("mpmath")  # torch depends on it
    spread = 10 ** (-decades / 2 * np.linspace(0, 1, 12))
    rotation = np.linalg.qr(np.random.default_rng(5).standard_normal((12, 12)))[0]
    rng = np.random.default_rng(6)
    a, b = (gaussian_statistics(rng.standard_normal((200, 12)) * spread @ rotation + shift) for shift in (0, 0.1))

    with mpmath.workdps(50):
        cov_a, cov_b = (mpmath.matrix(each.covariance.tolist()) for each in (a, b))
        values, vectors = mpmath.eigsy(cov_a)
        root = vectors * mpmath.diag([mpmath.sqrt(value) for value in values]) * vectors.T
        overlap = sum(mpmath.sqrt(value) for value in mpmath.eigsy(root * cov_b * root, eigvals_only=True))
        step = [mpmath.mpf(float(x)) - mpmath.mpf(float(y)) for x, y in zip(a.mean, b.mean, strict=True)]
        traces = sum(cov_a[i, i] + cov_b[i, i] for i in range(12))
        expected = float(sum(x * x for x in step) + traces - 2 * overlap)
    assert frechet_between(a, b).distance == pytest.approx(expected, rel=1e-8)
    assert frechet_between(a, b).clipped_mass == 0


def test_a_side_without_variance_leaves_the_other_sides_trace() -> None:
    still, moving = _gaussian(np.ones(3), np.zeros((3, 3))), _gaussian(np.zeros(3), np.diag([1.0, 2.0, 3.0]))
    assert frechet_between(still, moving).distance == pytest.approx(3 + 6)
    assert frechet_between(moving, still).distance == pytest.approx(3 + 6)


@pytest.mark.parametrize(("n", "d"), [(300, 12), (64, 400)])  # the second one has singular covariances
def test_distance_to_itself_is_zero(n: int, d: int) -> None:
    x = _features(3, n, d)
    assert 0 <= frechet_distance(x, x) < 1e-12 * np.trace(np.cov(x, rowvar=False))


def test_is_symmetric_and_ignores_the_order_of_samples() -> None:
    a, b = _features(0), _features(1, n=200)
    forward = frechet_distance(a, b)
    assert frechet_distance(b, a) == pytest.approx(forward, rel=1e-10)
    assert frechet_distance(a[::-1], np.random.default_rng(0).permutation(b)) == pytest.approx(forward, rel=1e-10)


def test_inputs_are_not_changed_and_a_second_call_gives_the_same() -> None:
    a, b = _features(0), _features(1, shift=5)
    before = a.copy(), b.copy()
    assert frechet_distance(a, b) == frechet_distance(a, b)
    assert np.array_equal(a, before[0])
    assert np.array_equal(b, before[1])


def test_tensors_and_arrays_give_the_same() -> None:
    a, b = _features(0).astype(np.float32), _features(1).astype(np.float32)
    assert frechet_distance(torch.from_numpy(a), torch.from_numpy(b)) == frechet_distance(a, b)


def test_covariance_divides_by_n_minus_one() -> None:
    statistics = gaussian_statistics(np.array([[0.0], [2.0]]))
    assert statistics.covariance.tolist() == [[2.0]]


def test_clipped_mass_tells_of_a_matrix_that_is_no_covariance() -> None:
    good = _gaussian(np.zeros(2), np.eye(2))
    bad = _gaussian(np.zeros(2), np.diag([1.0, -0.5]))
    assert frechet_between(good, good).clipped_mass == 0
    assert frechet_between(good, bad).clipped_mass == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (np.zeros((5, 3)), np.zeros((5, 4)), "3 and 4 dimensions"),
        (np.zeros(5), np.zeros((5, 4)), r"features_a: expected \(samples, dimensions\), got shape \(5,\)"),
        (np.zeros((5, 3)), np.full((5, 3), np.nan), "features_b: 5 of 5 rows are not finite"),
        (np.zeros((1, 3)), np.zeros((5, 3)), "at least 2 samples, got 1"),
    ],
)
def test_bad_features_are_refused(a: FloatArray, b: FloatArray, message: str) -> None:
    with pytest.raises(StbenchError, match=message):
        frechet_distance(a, b)

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import torch

from stbench.errors import StbenchError
from stbench.metrics.frechet import (
    FeatureStatistics,
    FloatArray,
    GaussianStatistics,
    frechet_between,
    frechet_distance,
    frechet_distance_infinity,
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


@pytest.mark.parametrize(("n", "d"), [(300, 12), (64, 400)])  # the second one has singular covariances
def test_distance_to_itself_is_zero(n: int, d: int) -> None:
    x = _features(3, n, d)
    assert 0 <= frechet_distance(x, x) < 1e-6 * np.trace(np.cov(x, rowvar=False))


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


@pytest.mark.parametrize("batch_sizes", [[300], [1, 299], [0, 150, 150], [100] * 3])
def test_streamed_statistics_do_not_depend_on_the_batches(batch_sizes: list[int]) -> None:
    features = torch.from_numpy(_features(2, shift=10.0))
    metric = FeatureStatistics(feature_dim=12)
    for batch in features.split(batch_sizes):
        metric.update(batch)
    streamed, whole = metric.compute(), gaussian_statistics(features)
    assert streamed.num_samples == 300
    np.testing.assert_allclose(streamed.mean, whole.mean, rtol=1e-12)
    np.testing.assert_allclose(streamed.covariance, whole.covariance, rtol=1e-10, atol=1e-10)


def test_streamed_statistics_add_up_over_processes() -> None:
    features = torch.from_numpy(_features(2))
    parts = [FeatureStatistics(feature_dim=12) for _ in range(3)]
    for rank, part in enumerate(parts):
        part.update(features[rank::3])
    # What torchmetrics does with a state whose reduction is "sum", without the processes.
    merged = FeatureStatistics(feature_dim=12)
    for state, reduction in merged._reductions.items():
        assert callable(reduction)
        setattr(merged, state, reduction(torch.stack([getattr(part, state) for part in parts])))
    merged._update_count = 1
    np.testing.assert_allclose(
        merged.compute().covariance, gaussian_statistics(features).covariance, rtol=1e-10, atol=1e-12
    )


def test_streamed_statistics_keep_float64_and_refuse_bad_batches() -> None:
    metric = FeatureStatistics(feature_dim=2)
    metric.update(torch.tensor([[1e5, 0.0], [1e5 + 1, 0.0]]))
    assert metric.compute().covariance[0, 0] == pytest.approx(0.5, rel=1e-4)  # float32 sums would lose it entirely
    with pytest.raises(StbenchError, match=r"expected \(samples, 2\), got shape \(4, 3\)"):
        metric.update(torch.zeros(4, 3))
    with pytest.raises(StbenchError, match="not finite"):
        metric.update(torch.tensor([[float("inf"), 0.0]]))


def test_extrapolation_removes_the_bias_of_the_sample_size() -> None:
    rng = np.random.default_rng(0)
    d = 16
    a, b = rng.standard_normal((40 * d, d)), rng.standard_normal((40 * d, d))
    biased = frechet_distance(a, b)  # the true distance is 0
    result = frechet_distance_infinity(a, b)
    assert result.sample_sizes[0] == 2 * d
    assert result.sample_sizes[-1] == 40 * d
    assert result.slope > 0
    assert abs(result.distance) < biased / 3


def test_extrapolation_keeps_a_true_distance() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.standard_normal((600, 8)), rng.standard_normal((600, 8)) + 1.0
    assert frechet_distance_infinity(a, b).distance == pytest.approx(8.0, rel=0.15)


def test_extrapolation_is_repeatable_and_refuses_too_few_clips() -> None:
    a, b = _features(0, n=48), _features(1, n=60)
    assert frechet_distance_infinity(a, b) == frechet_distance_infinity(a, b)
    with pytest.raises(StbenchError, match="needs at least 48 clips on each side, got 47"):
        frechet_distance_infinity(a[:47], b)

"""Fréchet distance between two sets of features, the "FVD" of a video detector.

Unterthiner et al. 2018 (arXiv 1812.01717), equation 1, with Gaussians fitted to the features:
    d² = |μ_a - μ_b|² + tr(A + B - 2 (A B)^½)
The last trace is the sum of the square roots of the eigenvalues of A^½ B A^½. With A = F Fᵀ and B = G Gᵀ these are the
singular values of Fᵀ G, and are taken from there: squared first, directions of small variance drown in rounding (8 of
16 digits are lost where variances span a factor of 10^8). A general matrix square root of A B is not used: SciPy's
changed its results between versions (scipy issues 19415, 23278). Everything is float64 on the CPU, and covariances
divide by N - 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from stbench.errors import StbenchError

FloatArray = NDArray[np.float64]


class GaussianStatistics(NamedTuple):
    """Mean (D,) and covariance (D, D) of `num_samples` feature vectors, float64, ddof 1."""

    mean: FloatArray
    covariance: FloatArray
    num_samples: int


@dataclass(frozen=True)
class FrechetResult:
    """A squared Fréchet distance and what it is made of.

    Attributes:
        distance: `mean_term + covariance_term`, never below 0.
        mean_term: squared distance of the means.
        covariance_term: tr(A + B - 2 (A B)^½).
        clipped_mass: sum of the covariances' negative eigenvalues, set to 0; above rounding, one was no covariance.
    """

    distance: float
    mean_term: float
    covariance_term: float
    clipped_mass: float


def check_features(features: ArrayLike | Tensor, side: str = "features") -> FloatArray:
    """Return `features` (N, D) as a new float64 array.

    Args:
        features: numpy array, tensor or nested list.
        side: what to call them in an error.

    Raises:
        StbenchError: not 2-D, or not finite.
    """
    values = features.detach().cpu().numpy() if isinstance(features, Tensor) else features
    array = np.array(values, dtype=np.float64)  # a copy: the caller's features are never written to
    if array.ndim != 2:
        raise StbenchError(f"{side}: expected (samples, dimensions), got shape {array.shape}")
    bad_rows = np.flatnonzero(~np.isfinite(array).all(axis=1))
    if bad_rows.size:
        raise StbenchError(f"{side}: {bad_rows.size} of {len(array)} rows are not finite, first row {bad_rows[0]}")
    return array


def check_pair(features_a: ArrayLike | Tensor, features_b: ArrayLike | Tensor) -> tuple[FloatArray, FloatArray]:
    """Return both sets as float64 arrays of one width (N, D), or raise `StbenchError`."""
    a, b = check_features(features_a, "features_a"), check_features(features_b, "features_b")
    _require_same_width(a.shape[1], b.shape[1])
    return a, b


def gaussian_statistics(features: ArrayLike | Tensor) -> GaussianStatistics:
    """Fit a Gaussian to features (N, D), N at least 2."""
    array = check_features(features)
    require_samples(len(array))
    return GaussianStatistics(array.mean(axis=0), np.atleast_2d(np.cov(array, rowvar=False)), len(array))


def frechet_between(a: GaussianStatistics, b: GaussianStatistics) -> FrechetResult:
    """Squared Fréchet distance between two Gaussians, with its terms.

    Raises:
        StbenchError: the two have different numbers of dimensions.
    """
    _require_same_width(len(a.mean), len(b.mean))
    factor_a, clipped_a = _factor(a.covariance)
    factor_b, clipped_b = _factor(b.covariance)
    overlap = 2 * np.linalg.svd(factor_a.T @ factor_b, compute_uv=False).sum()

    mean_term = float(np.square(a.mean - b.mean).sum())
    # Rounding alone can push the difference of two equal traces below zero.
    covariance_term = max(float(np.trace(a.covariance) + np.trace(b.covariance) - overlap), 0.0)
    return FrechetResult(mean_term + covariance_term, mean_term, covariance_term, clipped_a + clipped_b)


def frechet_distance(features_a: ArrayLike | Tensor, features_b: ArrayLike | Tensor) -> float:
    """Squared Fréchet distance between two sets of features, as FVD and FID report it.

    Defined from 2 samples on, and refused at no number: with no more samples than dimensions it says little but how few
    they are, and `assess`, which runs and `stbench fvd` go by, calls it no FVD.

    Args:
        features_a: (N, D), array or tensor; not changed.
        features_b: (M, D); M may differ from N.

    Raises:
        StbenchError: features that are not 2-D, not finite, or of different widths.
    """
    a, b = check_pair(features_a, features_b)
    return frechet_between(gaussian_statistics(a), gaussian_statistics(b)).distance


def require_samples(count: int) -> None:
    """Raise `StbenchError` where there are too few samples for a covariance."""
    if count < 2:
        raise StbenchError(f"features: a covariance needs at least 2 samples, got {count}")


def _require_same_width(width_a: int, width_b: int) -> None:
    if width_a != width_b:
        raise StbenchError(f"features of different detectors cannot be compared: {width_a} and {width_b} dimensions")


def _factor(covariance: FloatArray) -> tuple[FloatArray, float]:
    """A matrix F with F Fᵀ = covariance, and the sum of the negative eigenvalues that were set to 0 for it."""
    try:
        return np.asarray(np.linalg.cholesky(covariance), np.float64), 0.0
    except np.linalg.LinAlgError:  # singular, or no covariance: eigenvalues take longer, and tell which
        eigenvalues, vectors = np.linalg.eigh(covariance)
        return vectors * np.sqrt(np.maximum(eigenvalues, 0)), float(-np.minimum(eigenvalues, 0).sum())

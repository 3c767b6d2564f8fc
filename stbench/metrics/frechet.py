"""Fréchet distance between two sets of features, the "FVD" of a video detector.

Unterthiner et al. 2018 (arXiv 1812.01717), equation 1, with Gaussians fitted to the features:
    d² = |μ_a - μ_b|² + tr(A + B - 2 (A B)^½)
The last trace is computed as the sum of the square roots of the eigenvalues of A^½ B A^½, which is symmetric. A general
matrix square root of A B is not used: SciPy's changed its results between versions (scipy issues 19415, 23278).
Everything is float64 on the CPU, and covariances divide by N - 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torchmetrics import Metric

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
        clipped_mass: sum of the negative eigenvalues set to 0; above rounding it says that an input was no covariance.
    """

    distance: float
    mean_term: float
    covariance_term: float
    clipped_mass: float


@dataclass(frozen=True)
class ExtrapolatedDistance:
    """Fréchet distance extrapolated to infinitely many samples, with the points that the line was fitted to.

    Nearly all of the bias is gone, and with it the bound: near 0 it scatters to both sides of 0.
    """

    distance: float
    slope: float
    sample_sizes: tuple[int, ...]
    distances: tuple[float, ...]


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
    _require_samples(len(array))
    return GaussianStatistics(array.mean(axis=0), np.atleast_2d(np.cov(array, rowvar=False)), len(array))


def frechet_between(a: GaussianStatistics, b: GaussianStatistics) -> FrechetResult:
    """Squared Fréchet distance between two Gaussians, with its terms.

    Raises:
        StbenchError: the two have different numbers of dimensions.
    """
    _require_same_width(len(a.mean), len(b.mean))
    root_a, clipped_a = _symmetric_root(a.covariance)
    product = root_a @ b.covariance @ root_a
    eigenvalues = np.linalg.eigvalsh((product + product.T) / 2)
    clipped_product = -np.minimum(eigenvalues, 0).sum()
    overlap = 2 * np.sqrt(np.maximum(eigenvalues, 0)).sum()

    mean_term = float(np.square(a.mean - b.mean).sum())
    # Rounding alone can push the difference of two equal traces below zero.
    covariance_term = max(float(np.trace(a.covariance) + np.trace(b.covariance) - overlap), 0.0)
    return FrechetResult(mean_term + covariance_term, mean_term, covariance_term, float(clipped_a + clipped_product))


def frechet_distance(features_a: ArrayLike | Tensor, features_b: ArrayLike | Tensor) -> float:
    """Squared Fréchet distance between two sets of features, as FVD and FID report it.

    Args:
        features_a: (N, D), array or tensor; not changed.
        features_b: (M, D); M may differ from N.

    Raises:
        StbenchError: features that are not 2-D, not finite, or of different widths.
    """
    a, b = check_pair(features_a, features_b)
    return frechet_between(gaussian_statistics(a), gaussian_statistics(b)).distance


def min_samples_for_extrapolation(feature_dim: int) -> int:
    """How many samples `frechet_distance_infinity` needs: a grid from 2 D up to at least twice that."""
    return 4 * feature_dim


def frechet_distance_infinity(
    features_a: ArrayLike | Tensor, features_b: ArrayLike | Tensor, num_points: int = 15, seed: int = 0
) -> ExtrapolatedDistance:
    """Fréchet distance at infinite sample size: the intercept of a straight line in 1/N (arXiv 1911.07023, section 4).

    Both sides are subsampled to the same N, without replacement: with one side fixed, half of the bias stays. The grid
    of N starts at 2 D because the bias is proportional to 1/N only from there on.

    Args:
        features_a: (N, D).
        features_b: (M, D).
        num_points: sizes on the grid; the paper takes 15.
        seed: of the subsampling.

    Raises:
        StbenchError: fewer than 4 D samples on a side, which leaves no grid to fit a line on.
    """
    a, b = check_pair(features_a, features_b)
    smallest, largest = 2 * a.shape[1], min(len(a), len(b))
    needed = min_samples_for_extrapolation(a.shape[1])
    if largest < needed:
        raise StbenchError(
            f"FVD_inf of {a.shape[1]}-dimensional features needs at least {needed} clips on each side, got {largest}"
        )
    rng = np.random.default_rng(seed)
    sizes = [int(size) for size in np.linspace(smallest, largest, num_points)]
    distances = [frechet_distance(_subsample(a, size, rng), _subsample(b, size, rng)) for size in sizes]
    slope, intercept = np.polyfit(1 / np.array(sizes), distances, deg=1)
    return ExtrapolatedDistance(float(intercept), float(slope), tuple(sizes), tuple(distances))


class FeatureStatistics(Metric):
    """Mean and covariance of features that arrive in batches: constant memory, float64 sums, summed over processes.

    `update(features (N, D))` adds a batch; `compute()` returns `GaussianStatistics`. The result does not depend on how
    the samples were split into batches or processes, but for rounding.
    """

    full_state_update = False
    num_samples: Tensor
    feature_sum: Tensor
    outer_sum: Tensor

    def __init__(self, feature_dim: int) -> None:
        super().__init__()
        self.feature_dim = feature_dim
        self.add_state("num_samples", torch.tensor(0, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("feature_sum", torch.zeros(feature_dim, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("outer_sum", torch.zeros(feature_dim, feature_dim, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, features: Tensor) -> None:
        """Add a batch of features (N, D); an empty batch adds nothing."""
        if features.ndim != 2 or features.shape[1] != self.feature_dim:
            raise StbenchError(f"features: expected (samples, {self.feature_dim}), got shape {tuple(features.shape)}")
        if not torch.isfinite(features).all():
            raise StbenchError("features: a batch holds values that are not finite")
        wide = features.detach().to(self.feature_sum)
        self.num_samples += len(wide)
        self.feature_sum += wide.sum(dim=0)
        self.outer_sum += wide.T @ wide

    def compute(self) -> GaussianStatistics:
        """Return the statistics of all samples so far; at least 2 are needed."""
        count = int(self.num_samples)
        _require_samples(count)
        mean = (self.feature_sum / count).cpu().numpy()
        outer = self.outer_sum.cpu().numpy()
        return GaussianStatistics(mean, (outer - count * np.outer(mean, mean)) / (count - 1), count)


def _require_samples(count: int) -> None:
    if count < 2:
        raise StbenchError(f"features: a covariance needs at least 2 samples, got {count}")


def _require_same_width(width_a: int, width_b: int) -> None:
    if width_a != width_b:
        raise StbenchError(f"features of different detectors cannot be compared: {width_a} and {width_b} dimensions")


def _symmetric_root(covariance: FloatArray) -> tuple[FloatArray, float]:
    """Square root of a symmetric matrix, and the sum of the negative eigenvalues that were set to 0."""
    eigenvalues, vectors = np.linalg.eigh(covariance)
    root = (vectors * np.sqrt(np.maximum(eigenvalues, 0))) @ vectors.T
    return root, float(-np.minimum(eigenvalues, 0).sum())


def _subsample(features: FloatArray, size: int, rng: np.random.Generator) -> FloatArray:
    return features[rng.choice(len(features), size, replace=False)]

"""Kernel distances between two sets of features: squared maximum mean discrepancies (MMD) with polynomial kernels.

KVD (Unterthiner et al. 2018, arXiv 1812.01717) has the kernel k(x, y) = (x·y / D + 1)³ and the unbiased estimator of
Bińkowski et al. 2018 (arXiv 1801.01401), section 4.1. JEDi (Luo et al. 2024, arXiv 2410.05203) has (x·y / D)² and a
factor of 100, on features of V-JEPA; its released code takes the biased estimator. The unbiased one leaves out the
diagonals, so that its mean is right at any number of samples; the biased one and the Fréchet distance lie too high.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from stbench.errors import StbenchError
from stbench.metrics.frechet import FloatArray, check_pair
from stbench.metrics.intervals import MIN_SAMPLES, Jackknife, deal, jackknife
from stbench.records.statistics import NUM_GROUPS

MIN_CLIPS_FOR_KERNEL = MIN_SAMPLES
_ROWS_AT_ONCE = 1024
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class PolynomialKernel:
    """k(x, y) = (x·y / D + coef0)^degree for features of width D; squared MMDs by it are multiplied by `scale`."""

    degree: int
    coef0: float
    scale: float = 1.0

    def __call__(self, products: FloatArray, width: int) -> FloatArray:
        """The kernel's values, from dot products of features and their width D."""
        base = products / width + self.coef0
        values = base.copy()
        for _ in range(self.degree - 1):
            values *= base  # many times quicker than a power
        return values


KVD = PolynomialKernel(degree=3, coef0=1)
JEDI = PolynomialKernel(degree=2, coef0=0, scale=100)  # mmd_polynomial.py of the release; scikit-learn's gamma is 1 / D


def kernel_distance(
    features_a: ArrayLike | Tensor, features_b: ArrayLike | Tensor, kernel: PolynomialKernel = KVD, seed: int = 0
) -> Jackknife:
    """Unbiased squared MMD between features (N, D) and (M, D), which may be slightly negative, with its interval.

    Near equal distributions, where the distance is quadratic in what is random, the interval is 1.4 times as wide as
    it should be; elsewhere it is right.

    Args:
        features_a: (N, D), array or tensor.
        features_b: (M, D).
        kernel: `KVD`, or `JEDI` for the kernel and the scale of that metric.
        seed: of the groups that are left out in turn; the distance depends on it by rounding only.

    Raises:
        StbenchError: bad features (see `frechet.check_features`) or fewer than 16 samples on a side.
    """
    a, b = check_pair(features_a, features_b)
    smaller = min(len(a), len(b))
    if smaller < MIN_CLIPS_FOR_KERNEL:
        raise StbenchError(f"a kernel distance needs at least {MIN_CLIPS_FOR_KERNEL} clips on each side, got {smaller}")
    rng = np.random.default_rng(seed)
    parts_a, parts_b = ([x[group] for group in deal(len(x), NUM_GROUPS, rng)] for x in (a, b))
    sums = (_sums_within(parts_a, kernel), _sums_within(parts_b, kernel), _sums(parts_a, parts_b, kernel))

    def of_groups(kept: IntArray) -> float:
        n, m = (sum(len(parts[group]) for group in kept) for parts in (parts_a, parts_b))
        within_a, within_b, between = (each[np.ix_(kept, kept)] for each in sums)
        return _u_statistic(within_a, within_b, between, n, m, kernel)

    every = np.arange(NUM_GROUPS)
    return jackknife(of_groups(every), [of_groups(np.delete(every, group)) for group in every])


def unbiased_mmd(a: FloatArray, b: FloatArray, kernel: PolynomialKernel = KVD) -> float:
    """U-statistic of the squared MMD, times the kernel's scale (arXiv 1801.01401, equation 4)."""
    within_a, within_b, between = _sums_within([a], kernel), _sums_within([b], kernel), _sums([a], [b], kernel)
    return _u_statistic(within_a, within_b, between, len(a), len(b), kernel)


def biased_mmd(
    features_a: ArrayLike | Tensor, features_b: ArrayLike | Tensor, kernel: PolynomialKernel = JEDI
) -> float:
    """V-statistic of the squared MMD, diagonals kept, times the kernel's scale: what the released JEDi code prints.

    It is never negative, and lies above the unbiased one by about c (1/N + 1/M): to be compared at equal N and M only.

    Raises:
        StbenchError: bad features (see `frechet.check_features`).
    """
    a, b = check_pair(features_a, features_b)
    n, m = len(a), len(b)
    within = _kernel_sum(a, a, kernel) / n**2 + _kernel_sum(b, b, kernel) / m**2
    return kernel.scale * (within - 2 * _kernel_sum(a, b, kernel) / (n * m))


def _u_statistic(
    within_a: FloatArray, within_b: FloatArray, between: FloatArray, n: int, m: int, kernel: PolynomialKernel
) -> float:
    """The unbiased squared MMD of n and m samples from the kernel's sums over pairs, in as many parts as they come."""
    mean_within = within_a.sum() / (n * (n - 1)) + within_b.sum() / (m * (m - 1))
    return float(kernel.scale * (mean_within - 2 * between.sum() / (n * m)))


def _sums(parts_a: Sequence[FloatArray], parts_b: Sequence[FloatArray], kernel: PolynomialKernel) -> FloatArray:
    """Sum of the kernel over the pairs of each part of one side with each of the other."""
    return np.array([[_kernel_sum(a, b, kernel) for b in parts_b] for a in parts_a])


def _sums_within(parts: Sequence[FloatArray], kernel: PolynomialKernel) -> FloatArray:
    """The same within one side, without the pairs of a sample with itself."""
    itself = [kernel(np.square(part).sum(axis=1), part.shape[1]).sum() for part in parts]
    return _sums(parts, parts, kernel) - np.diag(itself)


def _kernel_sum(a: FloatArray, b: FloatArray, kernel: PolynomialKernel) -> float:
    """Sum of the kernel over all pairs, in strips of rows so that memory stays small."""
    starts = range(0, len(a), _ROWS_AT_ONCE)
    return float(sum(kernel(a[i : i + _ROWS_AT_ONCE] @ b.T, a.shape[1]).sum() for i in starts))

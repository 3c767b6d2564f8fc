"""Kernel distances between two sets of features: squared maximum mean discrepancies (MMD) with polynomial kernels.

KVD (Unterthiner et al. 2018, arXiv 1812.01717) has the kernel k(x, y) = (x·y / D + 1)³ and the unbiased estimator of
Bińkowski et al. 2018 (arXiv 1801.01401), section 4.1. JEDi (Luo et al. 2024, arXiv 2410.05203) has (x·y / D)² and a
factor of 100, on features of V-JEPA; its released code takes the biased estimator. The unbiased one leaves out the
diagonals, so that its mean is right at any number of samples; the biased one and the Fréchet distance lie too high.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor

from stbench.errors import StbenchError
from stbench.metrics.frechet import FloatArray, check_pair
from stbench.metrics.intervals import deal, student_interval
from stbench.records.statistics import CONFIDENCE

MAX_BLOCKS = 10
MIN_BLOCK_SIZE = 8
MIN_CLIPS_FOR_KERNEL = 2 * MIN_BLOCK_SIZE  # two blocks are the fewest that have a spread
_ROWS_AT_ONCE = 1024


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


@dataclass(frozen=True)
class KernelResult:
    """An unbiased squared MMD, which may be slightly negative, with a confidence interval.

    Attributes:
        distance: over all samples.
        interval: `distance` plus and minus Student's t times the standard error over disjoint blocks.
        block_distances: one estimate for each block.
        confidence: coverage that the interval aims at.
    """

    distance: float
    interval: tuple[float, float]
    block_distances: tuple[float, ...]
    confidence: float


def kernel_distance(
    features_a: ArrayLike | Tensor,
    features_b: ArrayLike | Tensor,
    kernel: PolynomialKernel = KVD,
    confidence: float = CONFIDENCE,
    seed: int = 0,
) -> KernelResult:
    """Unbiased squared MMD between features (N, D) and (M, D), with an interval from up to 10 disjoint blocks.

    Args:
        features_a: (N, D), array or tensor.
        features_b: (M, D).
        kernel: `KVD`, or `JEDI` for the kernel and the scale of that metric.
        confidence: coverage of the interval.
        seed: of the shuffle that deals samples to blocks; the distance itself does not depend on it.

    Raises:
        StbenchError: bad features (see `frechet.check_features`) or fewer than 16 samples on a side.
    """
    a, b = check_pair(features_a, features_b)
    smaller = min(len(a), len(b))
    if smaller < MIN_CLIPS_FOR_KERNEL:
        raise StbenchError(f"a kernel distance needs at least {MIN_CLIPS_FOR_KERNEL} clips on each side, got {smaller}")
    num_blocks = min(MAX_BLOCKS, smaller // MIN_BLOCK_SIZE)
    rng = np.random.default_rng(seed)
    pairs = zip(deal(len(a), num_blocks, rng), deal(len(b), num_blocks, rng), strict=True)
    blocks = [unbiased_mmd(a[block_a], b[block_b], kernel) for block_a, block_b in pairs]

    distance = unbiased_mmd(a, b, kernel)
    standard_error = float(np.std(blocks, ddof=1)) / num_blocks**0.5
    bounds = student_interval(distance, standard_error, num_blocks - 1, confidence)
    return KernelResult(distance, bounds, tuple(blocks), confidence)


def unbiased_mmd(a: FloatArray, b: FloatArray, kernel: PolynomialKernel = KVD) -> float:
    """U-statistic of the squared MMD, times the kernel's scale (arXiv 1801.01401, equation 4)."""
    within = []
    for x in (a, b):
        diagonal = float(kernel(np.square(x).sum(axis=1), x.shape[1]).sum())
        within.append((_kernel_sum(x, x, kernel) - diagonal) / (len(x) * (len(x) - 1)))
    return kernel.scale * (within[0] + within[1] - 2 * _kernel_sum(a, b, kernel) / (len(a) * len(b)))


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


def _kernel_sum(a: FloatArray, b: FloatArray, kernel: PolynomialKernel) -> float:
    """Sum of the kernel over all pairs, in strips of rows so that memory stays small."""
    starts = range(0, len(a), _ROWS_AT_ONCE)
    return float(sum(kernel(a[i : i + _ROWS_AT_ONCE] @ b.T, a.shape[1]).sum() for i in starts))

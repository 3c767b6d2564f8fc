"""Kernel distance between two sets of features ("KVD" of a video detector): an unbiased squared MMD.

Unterthiner et al. 2018 (arXiv 1812.01717) use it beside FVD; the estimator and the kernel k(x, y) = (x·y / D + 1)³ are
those of Bińkowski et al. 2018 (arXiv 1801.01401), section 4.1. The U-statistic leaves the diagonals out, so its mean is
right at any number of samples, where the Fréchet distance is biased upwards.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import t as student_t
from torch import Tensor

from stbench.errors import StbenchError
from stbench.metrics.frechet import FloatArray, check_pair

MAX_BLOCKS = 10
MIN_BLOCK_SIZE = 8
MIN_SAMPLES = 2 * MIN_BLOCK_SIZE  # two blocks are the fewest that have a spread
_ROWS_AT_ONCE = 1024


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
    features_a: ArrayLike | Tensor, features_b: ArrayLike | Tensor, confidence: float = 0.95, seed: int = 0
) -> KernelResult:
    """Unbiased squared MMD between features (N, D) and (M, D), with an interval from up to 10 disjoint blocks.

    Args:
        features_a: (N, D), array or tensor.
        features_b: (M, D).
        confidence: coverage of the interval.
        seed: of the shuffle that deals samples to blocks; the distance itself does not depend on it.

    Raises:
        StbenchError: bad features (see `frechet.check_features`) or fewer than 16 samples on a side.
    """
    a, b = check_pair(features_a, features_b)
    smaller = min(len(a), len(b))
    if smaller < MIN_SAMPLES:
        raise StbenchError(f"KVD needs at least {MIN_SAMPLES} clips on each side, got {smaller}")
    num_blocks = min(MAX_BLOCKS, smaller // MIN_BLOCK_SIZE)
    rng = np.random.default_rng(seed)
    pairs = zip(_deal(a, num_blocks, rng), _deal(b, num_blocks, rng), strict=True)
    blocks = [unbiased_mmd(block_a, block_b) for block_a, block_b in pairs]

    distance = unbiased_mmd(a, b)
    standard_error = float(np.std(blocks, ddof=1)) / num_blocks**0.5
    margin = float(student_t.ppf((1 + confidence) / 2, num_blocks - 1)) * standard_error
    return KernelResult(distance, (distance - margin, distance + margin), tuple(blocks), confidence)


def unbiased_mmd(a: FloatArray, b: FloatArray) -> float:
    """U-statistic of the squared MMD with the cubic kernel (arXiv 1801.01401, equation 4)."""
    n, m = len(a), len(b)
    within_a = (_kernel_sum(a, a) - _diagonal_sum(a)) / (n * (n - 1))
    within_b = (_kernel_sum(b, b) - _diagonal_sum(b)) / (m * (m - 1))
    return within_a + within_b - 2 * _kernel_sum(a, b) / (n * m)


def _kernel_sum(a: FloatArray, b: FloatArray) -> float:
    """Sum of the kernel over all pairs, in strips of rows so that memory stays small."""
    starts = range(0, len(a), _ROWS_AT_ONCE)
    return float(sum(((a[i : i + _ROWS_AT_ONCE] @ b.T / a.shape[1] + 1) ** 3).sum() for i in starts))


def _diagonal_sum(a: FloatArray) -> float:
    return float(((np.square(a).sum(axis=1) / a.shape[1] + 1) ** 3).sum())


def _deal(features: FloatArray, num_blocks: int, rng: np.random.Generator) -> list[FloatArray]:
    return np.array_split(features[rng.permutation(len(features))], num_blocks)

"""The bias of the distances on exact standard Gaussians, where every figure has a closed form: a check of the code.

Beside the bias against the number of samples, two pitfalls are shown: the bootstrap with replacement, which doubles the
bias instead of measuring the spread, and the kernel distance with the diagonals kept (V-statistic), which is biased.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from stbench.metrics.frechet import FloatArray, frechet_distance
from stbench.metrics.kernel import KVD, biased_mmd, unbiased_mmd
from stbench.records.statistics import mean
from stbench.studies.bias import Draw, gaussian_bias, measure_bias

SIZES = (64, 128, 256, 512, 1024, 2048, 4096)
REPEATS = 3
BOOTSTRAP_SIZE, RESAMPLES = 2048, 10
KERNEL_SIZES, KERNEL_REPEATS = (128, 512, 2048), 5


def check_on_gaussians(dim: int, seed: int) -> dict[str, Any]:
    """Return the figures for standard Gaussians in `dim` dimensions.

    Returns:
        What `measure_bias` returns, with dim; bootstrap: see `bootstrap`; kernel: see `kernel_statistics`.
    """
    draw = standard_normal(dim, seed)
    bias = measure_bias(draw, SIZES, REPEATS, gaussian_bias(np.eye(dim)), f"Gaussians, d={dim}")
    return {"dim": dim, **bias, "bootstrap": bootstrap(draw, seed), "kernel": kernel_statistics(draw, dim)}


def standard_normal(dim: int, seed: int) -> Draw:
    """Draw pairs of samples (n, dim) from N(0, I)."""

    def draw(n: int, repeat: int) -> tuple[FloatArray, FloatArray]:
        a, b = np.random.default_rng((seed, n, repeat)).standard_normal((2, n, dim))
        return a, b

    return draw


def bootstrap(draw: Draw, seed: int) -> dict[str, Any]:
    """Resample both sides of one pair with replacement, beside as many fresh pairs.

    Returns:
        n; point: the distance of the pair; mean and sd over resamples; replicates_mean and replicates_sd over fresh
        pairs, which is what a bootstrap is meant to show.
    """
    rng, n = np.random.default_rng(seed), BOOTSTRAP_SIZE
    a, b = draw(n, 0)
    resampled = [frechet_distance(a[rng.integers(n, size=n)], b[rng.integers(n, size=n)]) for _ in range(RESAMPLES)]
    fresh = [frechet_distance(*draw(n, repeat)) for repeat in range(RESAMPLES)]
    return {
        "n": n,
        "point": fresh[0],
        "mean": mean(resampled),
        "sd": float(np.std(resampled, ddof=1)),
        "replicates_mean": mean(fresh),
        "replicates_sd": float(np.std(fresh, ddof=1)),
    }


def kernel_statistics(draw: Draw, dim: int) -> list[dict[str, Any]]:
    """Return, for each size n, the mean kernel distance without the diagonals (unbiased), with them (biased), and what
    the biased one should be.

    For x, y from N(0, I) in D dimensions and k(x, y) = (x·y / D + 1)³, E k(x, x) = 8 + 12/D + 8/D² and
    E k(x, y) = 1 + 3/D; keeping the diagonals adds 2 (E k(x, x) - E k(x, y)) / n.
    """
    expected = 2 * (7 + 9 / dim + 8 / dim**2)
    rows = []
    for n in KERNEL_SIZES:
        pairs = [draw(n, repeat) for repeat in range(KERNEL_REPEATS)]
        unbiased = mean([unbiased_mmd(a, b) for a, b in pairs])
        biased = mean([biased_mmd(a, b, KVD) for a, b in pairs])
        rows.append({"n": n, "unbiased": unbiased, "biased": biased, "expected_biased": expected / n})
    return rows

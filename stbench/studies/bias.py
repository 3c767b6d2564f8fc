"""How far distances are off between two samples of one distribution, where the truth is 0, by the number of samples.

The Fréchet distance of two samples of N has a bias that goes as 1/N. For Gaussian features with covariance eigenvalues
λ, to first order in 1/N,

    N E[d²] = Σ_ij λ_i λ_j / (λ_i + λ_j) + 5/2 Σ_i λ_i

where 2 Σ λ comes from the means and the rest from the covariances, whose sampling errors have variance
λ_i λ_j (1 + δ_ij) / N on either side and enter the distance as E_ij² / (2 (λ_i + λ_j)). For λ = 1 in d dimensions that
is (d² + 5 d) / 2. What is left of the bias in FVD_inf (`metrics.intervals`) and in the unbiased KVD (arXiv 1801.01401)
is measured beside it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import numpy as np

from stbench.metrics.frechet import FloatArray, frechet_between, frechet_distance, gaussian_statistics
from stbench.metrics.intervals import deal, frechet_jackknife, jackknife, min_samples_at_infinity
from stbench.metrics.kernel import unbiased_mmd
from stbench.progress import progress_bar
from stbench.records.statistics import NUM_GROUPS, mean

SMALLEST = 16
REPEATS = 20
# N·FVD is called constant where it stays this close to its value at the largest N, or within two standard errors of it.
SETTLED_WITHIN = 0.05
FIGURES = ("fvd", "fvd_inf", "fvd_inf_real_fixed", "kvd")

Draw = Callable[[int, int], tuple[FloatArray, FloatArray]]
"""draw(n, repeat) returns two independent samples (n, D)."""


def log_grid(largest: int) -> list[int]:
    """Sizes that double from `SMALLEST` on, and `largest` itself."""
    sizes: list[int] = []
    while SMALLEST * 2 ** len(sizes) < largest:
        sizes.append(SMALLEST * 2 ** len(sizes))
    return [*sizes, largest]


def halves_of(pool: FloatArray, seed: int) -> Draw:
    """Draw two disjoint samples from a pool (M, D) without replacement; n goes up to M / 2."""

    def draw(n: int, repeat: int) -> tuple[FloatArray, FloatArray]:
        chosen = np.random.default_rng((seed, n, repeat)).permutation(len(pool))[: 2 * n]
        return pool[chosen[:n]], pool[chosen[n:]]

    return draw


def gaussian_bias(covariance: FloatArray) -> float:
    """N times the expected Fréchet distance of two samples of N from one Gaussian (D, D), for large N."""
    eigenvalues = np.linalg.eigvalsh(covariance)
    eigenvalues = eigenvalues[eigenvalues > 0]
    sums = np.add.outer(eigenvalues, eigenvalues)
    return float((np.multiply.outer(eigenvalues, eigenvalues) / sums).sum() + 2.5 * eigenvalues.sum())


def effective_dim(covariance: FloatArray) -> float:
    """Number of equally wide directions that spread as these do: (Σ λ)² / Σ λ² of the eigenvalues λ."""
    return float(np.trace(covariance) ** 2 / np.square(covariance).sum())


def measure_bias(draw: Draw, sizes: Sequence[int], repeats: int, expected: float, label: str) -> dict[str, Any]:
    """Compare two samples of one distribution at each size.

    Args:
        draw: gives the samples.
        sizes: numbers of samples N on each side, rising.
        repeats: pairs of samples at each size.
        expected: N times the distance, see `gaussian_bias`.
        label: beside the progress bar.

    Returns:
        rows: one for each pair, with n, repeat, fvd, n_times_fvd, fvd_inf (groups of both sides left out) and
        fvd_inf_real_fixed (of one side), None below the size that they need, and kvd; by_size: the mean and the
        sample standard deviation over repeats; expected_n_times_fvd; settled_from: the size from which on the mean of
        n_times_fvd is constant; repeats.
    """
    rows = []
    with progress_bar(label, len(sizes) * repeats) as advance:
        for n, repeat in product(sizes, range(repeats)):
            a, b = draw(n, repeat)
            fvd = frechet_distance(a, b)
            row: dict[str, Any] = {"n": n, "repeat": repeat, "fvd": fvd, "n_times_fvd": n * fvd}
            row |= {"fvd_inf": None, "fvd_inf_real_fixed": None, "kvd": unbiased_mmd(a, b)}
            if n >= min_samples_at_infinity(a.shape[1]):
                row["fvd_inf"] = frechet_jackknife(a, b, seed=repeat).at_infinity
                row["fvd_inf_real_fixed"] = infinity_real_fixed(a, b, seed=repeat)
            rows.append(row)
            advance(note=f"{n} clips")
    by_size = [_over_repeats(n, [row for row in rows if row["n"] == n]) for n in sizes]
    return {
        "expected_n_times_fvd": expected,
        "settled_from": _settled_from(by_size, repeats),
        "repeats": repeats,
        "by_size": by_size,
        "rows": rows,
    }


def infinity_real_fixed(real: FloatArray, fake: FloatArray, seed: int) -> float:
    """FVD_inf as `frechet_jackknife` has it, but with one side kept whole: what this leaves is that side's bias."""
    statistics, rng = gaussian_statistics(real), np.random.default_rng(seed)
    left = [
        frechet_between(statistics, gaussian_statistics(np.delete(fake, group, axis=0))).distance
        for group in deal(len(fake), NUM_GROUPS, rng)
    ]
    return jackknife(frechet_distance(real, fake), left).at_infinity


def _over_repeats(n: int, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Mean and standard deviation of each figure; None where there is no figure, or a single repeat has no spread."""
    summary: dict[str, Any] = {"n": n}
    for figure in ("n_times_fvd", *FIGURES):
        values = [row[figure] for row in rows if row[figure] is not None]
        summary[figure] = mean(values) if values else None
        summary[f"{figure}_sd"] = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return summary


def _settled_from(by_size: Sequence[dict[str, Any]], repeats: int) -> int:
    """The size from which on N·FVD stays at its value at the largest, as far as the repeats can tell."""
    last = by_size[-1]
    settled_from = last["n"]
    for row in reversed(by_size):
        spread = math.hypot(row["n_times_fvd_sd"] or 0, last["n_times_fvd_sd"] or 0) / repeats**0.5
        margin = max(SETTLED_WITHIN * last["n_times_fvd"], 2 * spread)
        if abs(row["n_times_fvd"] - last["n_times_fvd"]) > margin:
            break
        settled_from = row["n"]
    return settled_from

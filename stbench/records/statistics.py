"""Statistics of a few noisy numbers: timing samples and results over seeds.

A difference counts when it is beyond a factor and beyond noise. Timing samples are many and skewed: medians, the
interquartile range and the Mann-Whitney U test. Seeds are few: the mean with Student's t interval, and Welch's t test,
since a rank test cannot reach p < 0.05 with three seeds on each side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

FACTOR = 1.1  # smallest ratio that is called a difference
ALPHA = 0.05  # largest p value that is called beyond noise
CONFIDENCE = 0.95
# Share of its time that a process waited for a processor, above which its times are not judged (docs/verdicts.md).
UNDER_LOAD = 0.05


@dataclass(frozen=True)
class SeedSummary:
    """Mean over seeds with its spread; `sd`, `low` and `high` (95 % t interval of the mean) are None for one seed."""

    mean: float
    sd: float | None
    n: int
    low: float | None
    high: float | None


def mean(values: Sequence[float]) -> float:
    """Return the arithmetic mean of at least one value."""
    return float(np.mean(values))


def median(samples: Sequence[float]) -> float:
    """Return the median of at least one sample."""
    return float(np.median(samples))


def spread(samples: Sequence[float]) -> float:
    """Return the interquartile range of at least one sample."""
    return float(stats.iqr(samples))


def under_load(waited_share: float | None) -> bool:
    """Whether times were taken on a machine busy with other work; where it does not tell, they are believed."""
    return waited_share is not None and waited_share > UNDER_LOAD


def waiting(waited_share: float) -> str:
    """What a share of waiting means, in words."""
    return f"threads stood {waited_share:.0%} of their time waiting for a processor"


def beyond_factor(a: float, b: float, factor: float = FACTOR) -> bool:
    """Whether two positive numbers differ by more than `factor`, in either direction."""
    return max(a, b) > factor * min(a, b)


def differs(
    samples_a: Sequence[float], samples_b: Sequence[float], factor: float = FACTOR, alpha: float = ALPHA
) -> bool:
    """Whether two sets of timing samples differ beyond a factor and beyond noise.

    Args:
        samples_a: positive samples, at least one.
        samples_b: likewise.
        factor: the medians' ratio must be beyond this, in either direction.
        alpha: the two-sided Mann-Whitney U test must give a smaller p value.
    """
    if not beyond_factor(median(samples_a), median(samples_b), factor):
        return False
    return bool(stats.mannwhitneyu(samples_a, samples_b, alternative="two-sided").pvalue < alpha)


def means_differ(values_a: Sequence[float], values_b: Sequence[float], alpha: float = ALPHA) -> bool:
    """Whether the means over seeds differ beyond noise, by Welch's t test; each side needs two values or more."""
    if np.ptp(values_a) == 0 and np.ptp(values_b) == 0:
        return values_a[0] != values_b[0]  # no noise at all: t is undefined
    return bool(stats.ttest_ind(values_a, values_b, equal_var=False).pvalue < alpha)


def summarise_seeds(values: Sequence[float]) -> SeedSummary:
    """Return mean, sample standard deviation and 95 % t interval of the mean of at least one value."""
    n, centre = len(values), mean(values)
    if n < 2:
        return SeedSummary(centre, None, n, None, None)
    sd = float(np.std(values, ddof=1))
    low, high = stats.t.interval(CONFIDENCE, n - 1)  # of a mean of 0 whose standard error is 1
    error = sd / n**0.5
    return SeedSummary(centre, sd, n, float(centre + low * error), float(centre + high * error))

"""Statistics of a few noisy numbers: timing samples of one process, and results over seeds or processes.

A difference counts when it is beyond a factor and beyond noise. Samples of one process are many and skewed: the median
and the interquartile range. Seeds and processes are few: the mean with Student's t interval, and Welch's t test, since
a rank test cannot reach p < 0.05 with three on each side. docs/verdicts.md has what these rules find and miss.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special  # Student's t by `stdtr`: `scipy.stats` would cost every command a second

FACTOR = 1.1  # smallest ratio that is called a difference
ALPHA = 0.05  # largest p value that is called beyond noise
CONFIDENCE = 0.95
NUM_GROUPS = 10  # of clips, each left out in turn: the interval of a distance is Student's, of one freedom less
ONE_PROCESS_FACTOR = 1.5  # smallest ratio of times that is called a difference when each side is of one process
ROUNDING = 1e-4  # largest relative difference of two figures that one computation may give
UNDER_LOAD = 0.05  # largest share of its time that a process may wait for a processor while it is timed


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
    third, first = np.quantile(samples, (0.75, 0.25))
    return float(third - first)


def under_load(waited_share: float | None) -> bool:
    """Whether times were taken on a machine busy with other work; where it does not tell, they are believed."""
    return waited_share is not None and waited_share > UNDER_LOAD


def waiting(waited_share: float) -> str:
    """What a share of waiting means, in words."""
    return f"threads stood {100 * waited_share:.0f} % of their time waiting for a processor"


def beyond_factor(a: float, b: float, factor: float = FACTOR) -> bool:
    """Whether two positive numbers differ by more than `factor`, in either direction."""
    return max(a, b) > factor * min(a, b)


def equal_to_rounding(a: float, b: float) -> bool:
    """Whether two numbers are as close as one computation comes to itself."""
    return math.isclose(a, b, rel_tol=ROUNDING)


@dataclass(frozen=True)
class Contrast:
    """How far two means are apart.

    Attributes:
        p: of Welch's t test, two-sided.
        ratio_interval: 95 % interval of their difference, as the ratio of the second to the first; None where the
            first is not positive.
    """

    p: float
    ratio_interval: tuple[float, float] | None


def contrast(base: Sequence[float], new: Sequence[float]) -> Contrast:
    """Compare two means over seeds or processes, of which each side needs two or more."""
    centre, difference = mean(base), mean(new) - mean(base)
    variance_base, variance_new = (float(np.var(side, ddof=1)) / len(side) for side in (base, new))  # of the means
    variance = variance_base + variance_new
    error = math.sqrt(variance)
    p, half = float(difference == 0), 0.0
    if error > 0:
        shares = (variance_base / variance) ** 2 / (len(base) - 1), (variance_new / variance) ** 2 / (len(new) - 1)
        freedom = 1 / sum(shares)
        p = float(2 * special.stdtr(freedom, -abs(difference) / error))
        half = error * float(special.stdtrit(freedom, (1 + CONFIDENCE) / 2))
    low, high = difference - half, difference + half
    return Contrast(p, (1 + low / centre, 1 + high / centre) if centre > 0 else None)


def means_differ(values_a: Sequence[float], values_b: Sequence[float], alpha: float = ALPHA) -> bool:
    """Whether the means over seeds differ beyond noise, by Welch's t test; each side needs two values or more."""
    return contrast(values_a, values_b).p < alpha


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p values for being several (Holm 1979): each may then be held against a level as if it were alone."""
    corrected = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(np.argsort(p_values)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = largest
    return corrected


def summarise_seeds(values: Sequence[float]) -> SeedSummary:
    """Return mean, sample standard deviation and 95 % t interval of the mean of at least one value."""
    n, centre = len(values), mean(values)
    if n < 2:
        return SeedSummary(centre, None, n, None, None)
    sd = float(np.std(values, ddof=1))
    half = _t_quantile(n - 1) * sd / n**0.5
    return SeedSummary(centre, sd, n, centre - half, centre + half)


@functools.cache  # a report asks for thousands of them
def _t_quantile(freedom: int) -> float:
    return float(special.stdtrit(freedom, (1 + CONFIDENCE) / 2))

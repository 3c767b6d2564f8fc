"""Where the spread of a figure comes from: other trainings, or other samples of the same ones; and what pairs share.

All values are on the scale of the test that uses them (`estimates`).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

MIN_PAIRS = 4  # with fewer, Fisher's interval of a correlation has no width


def pooled_within(groups: Sequence[Sequence[float]]) -> tuple[float, int]:
    """Variance within groups, each about its own mean, and its degrees of freedom; (0, 0) where none has two values."""
    squares = sum(float(np.square(np.subtract(group, np.mean(group))).sum()) for group in groups)
    freedom = sum(len(group) - 1 for group in groups)
    return (squares / freedom if freedom else 0.0), freedom


def sampled_again(figures: ArrayLike) -> tuple[float, float]:
    """Split the noise of sampling: two-way analysis of variance without replication.

    Args:
        figures: (K, S), of K trained networks, each sampled with the same S sampling seeds; two of both or more.

    Returns:
        sampling: variance of one network's figure over sampling seeds, the mean square within networks of the one-way
            analysis.
        apart: of that, what differs from network to network. The rest moves all networks alike, and none against
            another as long as they share a sampling seed.
    """
    table = np.asarray(figures, dtype=np.float64)
    networks, seeds = table.shape
    about_rows = table - table.mean(axis=1, keepdims=True)
    left = about_rows - about_rows.mean(axis=0)
    sampling = float(np.square(about_rows).sum()) / (networks * (seeds - 1))
    return sampling, float(np.square(left).sum()) / ((networks - 1) * (seeds - 1))


def correlation_of_seeds(arms: Sequence[Mapping[int, float]]) -> tuple[float, float] | None:
    """How far equal seeds of different arms go together: the mean over pairs of arms, and what it is at least.

    The second is the lower end of Fisher's one-sided 95 % interval, as if there were one pair of arms: all of them
    share the same seeds. None where no two arms share four seeds.
    """
    found = []
    for one, other in itertools.combinations(arms, 2):
        shared = sorted(one.keys() & other.keys())
        pair = [[arm[seed] for seed in shared] for arm in (one, other)]
        if len(shared) >= MIN_PAIRS and all(np.ptp(values) > 0 for values in pair):
            found.append((float(stats.pearsonr(*pair).statistic), len(shared)))
    if not found:
        return None
    mean = math.tanh(float(np.mean([math.atanh(min(max(r, -0.9999), 0.9999)) for r, _ in found])))
    width = float(stats.norm.ppf(0.95)) / math.sqrt(max(n for _, n in found) - 3)
    return mean, math.tanh(math.atanh(mean) - width)

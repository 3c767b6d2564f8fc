"""How far two arms are apart over their training seeds, and how sure that is: the t tests that verdicts rest on.

Figures that are always positive are compared as ratios, by their logarithms; shares, and what may be zero or less, as
differences. Which test there is, is fixed before the figures are seen:

- a noise card's sigma joined with the spread of the arms' own seeds (Student's t), from two seeds an arm on, unless
  these spread more widely than the card says (F test);
- pairs of equal seeds, from five pairs on, where the card has shown that equal seeds of two arms go together;
- else Welch's t test, from five seeds an arm on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import special

from stbench.records.measures import Measure
from stbench.records.power import Design, two_sided

MIN_SEEDS = 5  # an arm, where their own spread is all there is
MIN_SEEDS_WITH_CARD = 2
NOISIER = 0.05  # p of the F test below which seeds spread too widely for a card's sigma

Figures = NDArray[np.float64]


@dataclass(frozen=True)
class PooledSigma:
    """How far training seeds spread in one measure, measured beforehand.

    Attributes:
        sd: of the natural logarithm for what is compared as a ratio, which is the relative one; else of the figure.
        freedom: its degrees of freedom.
        correlation: that equal seeds of two arms have at least (the lower end of an interval); 0 where it is not shown.
    """

    sd: float
    freedom: int
    correlation: float = 0.0


@dataclass(frozen=True)
class Comparison:
    """Two arms in one measure: the figure of each seed; `names` are those of the arms."""

    first: Mapping[int, float]
    second: Mapping[int, float]
    measure: Measure
    sigma: PooledSigma | None = None
    names: tuple[str, str] = ("first", "second")

    @property
    def seeds(self) -> int:
        """How many seeds an arm there are, of the arm that has fewer."""
        return min(len(self.first), len(self.second))

    @property
    def arms(self) -> tuple[Figures, Figures]:
        """The figures of both arms on the scale of the test, in the order of their seeds."""
        first, second = (np.array([arm[seed] for seed in sorted(arm)]) for arm in (self.first, self.second))
        return (np.log(first), np.log(second)) if self.measure.positive else (first, second)

    @property
    def difference(self) -> float:
        """Of the means, second less first, on the scale of the test."""
        first, second = self.arms
        return float(second.mean() - first.mean())

    @property
    def pairs(self) -> Comparison:
        """The same of the seeds that both arms have."""
        shared = self.first.keys() & self.second.keys()
        first, second = ({seed: arm[seed] for seed in shared} for arm in (self.first, self.second))
        return replace(self, first=first, second=second)

    @property
    def unit(self) -> float:
        """What a difference on the scale of the test is a share of: the first's size, where it may be negative."""
        by_itself = self.measure.positive or self.measure.share
        return 1.0 if by_itself else abs(float(np.mean(list(self.first.values()))))


@dataclass(frozen=True)
class Untested:
    """Why there is no test, and from how many seeds an arm on there is one, where that would help."""

    reason: str
    seeds_needed: int | None = None


@dataclass(frozen=True)
class Estimate:
    """What the seeds say of a difference, on the scale of the test."""

    difference: float
    error: float  # standard error
    freedom: float
    design: Design
    n: int  # seeds an arm, of the arm that has fewer; pairs
    correlation: float | None  # of equal seeds
    remark: str = ""

    @property
    def p(self) -> float:
        """Of no difference, two-sided."""
        if self.error == 0:
            return float(self.difference == 0)
        return float(2 * special.stdtr(self.freedom, -abs(self.difference) / self.error))

    def interval(self, alpha: float) -> tuple[float, float]:
        """Of the difference, at the level 1 - alpha."""
        half = self.error * two_sided(alpha, self.freedom)
        return self.difference - half, self.difference + half


def estimate(comparison: Comparison, alpha: float) -> Estimate | Untested:
    """Estimate the difference by the test that these seeds and their noise card call for.

    Args:
        comparison: both arms.
        alpha: that the test is made for; it has a say in whether pairing promises more.
    """
    sigma, n = comparison.sigma, comparison.seeds
    if comparison.measure.positive and any(
        value <= 0 for value in (*comparison.first.values(), *comparison.second.values())
    ):
        return Untested("a figure is zero or less, which has no ratio")
    if n and comparison.unit == 0:
        return Untested("the first mean is zero, of which no difference is a share")
    if sigma is None:
        return _welch(comparison) if n >= MIN_SEEDS else _too_few(n, MIN_SEEDS, "without a noise card")
    if n < MIN_SEEDS_WITH_CARD:
        return _too_few(n, MIN_SEEDS_WITH_CARD, "with a noise card")
    if pairing_pays(sigma, comparison.pairs.seeds, alpha):
        return _paired(comparison.pairs)
    if not _noisier(comparison, sigma):
        return _pooled(comparison, sigma)
    left_aside = "the seeds spread more widely than the noise card's, which was left aside"
    if n < MIN_SEEDS:
        return _too_few(n, MIN_SEEDS, f"as {left_aside}")
    return replace(_welch(comparison), remark=left_aside)


def pairing_pays(sigma: PooledSigma, pairs: int, alpha: float) -> bool:
    """Whether pairs of equal seeds promise to find smaller effects than a pooled sigma does.

    That depends on the noise card and the number of pairs alone, never on the figures to be judged: whoever takes the
    smaller of two p values is wrong oftener than either test. A paired test has only the pairs' own spread.
    """
    if pairs < MIN_SEEDS or sigma.correlation <= 0:
        return False
    of_pairs = Design(sigma.sd * math.sqrt(2 * (1 - sigma.correlation)), paired=True)
    pooled = Design(sigma.sd, freedom_of_card=sigma.freedom)
    return of_pairs.detectable(pairs, alpha) < pooled.detectable(pairs, alpha)


def correlation_of_pairs(comparison: Comparison) -> float | None:
    """Of the figures of equal seeds; None for fewer than three, or where an arm does not spread."""
    first, second = comparison.pairs.arms
    if len(first) < 3 or 0 in (np.ptp(first), np.ptp(second)):
        return None
    return float(np.corrcoef(first, second)[0, 1])


def _too_few(n: int, needed: int, case: str) -> Untested:
    return Untested(f"{needed} seeds an arm are needed {case}, {needed - n} more than there are", needed)


def _residuals(comparison: Comparison) -> tuple[float, int]:
    """Sum of squares of both arms about their means, and its degrees of freedom."""
    arms = comparison.arms
    return sum(float(np.square(arm - arm.mean()).sum()) for arm in arms), sum(len(arm) - 1 for arm in arms)


def _noisier(comparison: Comparison, sigma: PooledSigma) -> bool:
    """Whether the seeds spread more widely than those that sigma was measured on, by a one-sided F test."""
    squares, freedom = _residuals(comparison)
    return bool(squares / freedom > sigma.sd**2 * special.fdtri(freedom, sigma.freedom, 1 - NOISIER))


def _pooled(comparison: Comparison, sigma: PooledSigma) -> Estimate:
    """Student's t test, its variance pooled from both arms and a noise card, but never below the arms' own.

    A card of a quieter arm would else make these look surer than their seeds are. Nor are the degrees of freedom those
    of both together: the card may be of the same seeds.
    """
    squares, own = _residuals(comparison)
    pooled = (squares + sigma.freedom * sigma.sd**2) / (own + sigma.freedom)
    design = Design(math.sqrt(max(pooled, squares / own)), freedom_of_card=sigma.freedom)
    error = design.sd * math.sqrt(sum(1 / len(arm) for arm in comparison.arms))
    return _of_arms(comparison, error, max(own, sigma.freedom), design)


def _welch(comparison: Comparison) -> Estimate:
    """Welch's t test, with the arms' own spread alone."""
    arms, (squares, own) = comparison.arms, _residuals(comparison)
    variances = [float(arm.var(ddof=1)) / len(arm) for arm in arms]  # of the means
    variance = sum(variances)
    shares = [each / variance for each in variances] if variance else [0.5, 0.5]
    freedom = 1 / sum(share**2 / (len(arm) - 1) for share, arm in zip(shares, arms, strict=True))
    return _of_arms(comparison, math.sqrt(variance), freedom, Design(math.sqrt(squares / own)))


def _of_arms(comparison: Comparison, error: float, freedom: float, design: Design) -> Estimate:
    correlation = correlation_of_pairs(comparison)
    return Estimate(comparison.difference, error, freedom, design, comparison.seeds, correlation)


def _paired(pairs: Comparison) -> Estimate:
    """The t test of the differences of equal seeds, with their own spread alone: right whatever the correlation is."""
    (first, second), n = pairs.arms, pairs.seeds
    design = Design(float((second - first).std(ddof=1)), paired=True)
    return Estimate(pairs.difference, design.error(n), design.freedom(n), design, n, correlation_of_pairs(pairs))

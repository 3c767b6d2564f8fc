"""What a number of seeds can find: power of the t test between two arms, by the noncentral t distribution.

Everything here is on the scale that the test works on (`decisions`): natural logarithms for what is compared as a
ratio, so that 0.05 is about 5 %, and plain differences for shares.
"""

from __future__ import annotations

import functools
import math
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass

from scipy import optimize, special

POWER = 0.8  # that a figure "could have been found" with
MOST_SEEDS = 1000  # beyond which nobody asks for the exact number


def two_sided(alpha: float, freedom: float) -> float:
    """What a t of so many degrees of freedom is beyond with a probability of alpha, on either side."""
    return -float(special.stdtrit(freedom, alpha / 2))


@dataclass(frozen=True)
class Design:
    """How noisy a difference between two arms of `n` seeds each is.

    Attributes:
        sd: of one run over training seeds; of the difference of a pair where seeds are paired.
        paired: whether each seed of one arm is held against the same seed of the other.
        freedom_of_card: degrees of freedom of the noise card that `sd` comes from, where there is one.
    """

    sd: float
    paired: bool = False
    freedom_of_card: float = 0.0

    def error(self, n: float) -> float:
        """Standard error of the difference."""
        return self.sd * math.sqrt((1 if self.paired else 2) / n)

    def freedom(self, n: float) -> float:
        """Degrees of freedom of that error: the seeds' own, or the card's where it has more.

        Not both together: the seeds of one of the arms may be the card's.
        """
        return max((1 if self.paired else 2) * (n - 1), self.freedom_of_card)

    def power(self, effect: float, n: float, alpha: float) -> float:
        """How often a two-sided t test at `alpha` finds a true effect, with its sign."""
        freedom = self.freedom(n)
        if self.sd == 0:
            return float(effect != 0)
        return _power(abs(effect) / self.error(n), freedom, two_sided(alpha, freedom))

    def power_of_equivalence(self, effect: float, margin: float, n: float, alpha: float) -> float:
        """How often the interval at 1 - `alpha` lies within the margin at a true effect: at least that often."""
        error, freedom = self.error(n), self.freedom(n)
        if error == 0:
            return float(abs(effect) < margin)
        critical = two_sided(alpha, freedom)
        return max(0.0, sum(_power((margin + side) / error, freedom, critical) for side in (-effect, effect)) - 1)

    def detectable(self, n: float, alpha: float) -> float:
        """The smallest true effect that is found with a power of 0.8."""
        return _noncentrality(self.freedom(n), alpha) * self.error(n)

    def seeds_for(self, effect: float, alpha: float) -> int | None:
        """Seeds an arm that find a true effect with a power of 0.8; None beyond `MOST_SEEDS`."""
        return _fewest(lambda n: self.detectable(n, alpha) <= abs(effect))

    def seeds_for_equivalence(self, effect: float, margin: float, alpha: float) -> int | None:
        """Seeds an arm that show with a power of 0.8 that a true effect lies within the margin."""
        return _fewest(lambda n: self.power_of_equivalence(effect, margin, n, alpha) >= POWER)


def _fewest(enough: Callable[[int], bool]) -> int | None:
    """The fewest seeds that are enough, of which more always are."""
    index = bisect_left(range(2, MOST_SEEDS + 1), True, key=enough)
    return index + 2 if index + 2 <= MOST_SEEDS else None


def _power(noncentrality: float, freedom: float, critical: float) -> float:
    """How often a noncentral t is above what counts."""
    return 1 - float(special.nctdtr(freedom, noncentrality, critical))


@functools.lru_cache(maxsize=4096)
def _noncentrality(freedom: float, alpha: float) -> float:
    """The effect over its standard error that is found with a power of 0.8."""
    critical = two_sided(alpha, freedom)
    return float(optimize.brentq(lambda at: _power(at, freedom, critical) - POWER, 0, 4 * critical + 4))

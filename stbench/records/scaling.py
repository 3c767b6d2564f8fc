"""Power laws of quality over the sizes of a network: L = a C^-b + c, by least squares of log L.

`C` is what a size costs (operations of its training, or parameters) and `L` a loss or a distance, lower is better. The
floor c is only fitted where it can be told from none. Intervals are percentiles over seeds drawn again, the same seeds
at every size and for every arm (a joint bootstrap): with a handful of seeds they are too narrow rather than too wide.
Hoffmann et al., arXiv 2203.15556, fit such laws to language models; the largest size held out is the check of one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from stbench.errors import StbenchError
from stbench.records.statistics import ALPHA

MIN_SIZES = 4  # of a power law; a floor needs one more
DRAWS = 1000  # of the bootstrap
FARTHEST = 10.0  # times the largest size (or under the smallest) up to which a law is read
FLOORS, ZOOMS = 65, 4  # of the search for a floor: how many at once, and how often more closely
CONFIDENCE = (2.5, 97.5)  # percentiles of an interval
ROUNDING = 1e-12  # of a sum of squares of logarithms

Array = NDArray[np.float64]
Interval = tuple[float, float]


@dataclass(frozen=True)
class Sizes:
    """The figures of one arm at several sizes.

    Attributes:
        costs: of each size, rising.
        figures: of each size, by seed.
    """

    costs: Sequence[float]
    figures: Sequence[Mapping[int, float]]

    @property
    def means(self) -> Array:
        """The mean over the seeds of each size."""
        return np.array([np.mean(list(by_seed.values())) for by_seed in self.figures])

    @property
    def seeds(self) -> list[int]:
        """The seeds that every size has."""
        return sorted(set.intersection(*(set(by_seed) for by_seed in self.figures)))

    def drawn(self, draws: NDArray[np.int64]) -> Array:
        """The means over seeds drawn again: (B, sizes) of draws (B, S) of seeds."""
        seeds = np.unique(draws)
        figures = np.array([[by_seed[int(seed)] for by_seed in self.figures] for seed in seeds])
        return np.asarray(figures[np.searchsorted(seeds, draws)].mean(axis=1))

    @property
    def noise(self) -> tuple[float, int]:
        """The variance of the mean of log L over the seeds of a size, and its degrees of freedom."""
        logs = [np.log(list(by_seed.values())) for by_seed in self.figures]
        freedom = sum(len(each) - 1 for each in logs)
        pooled = sum(float(((each - each.mean()) ** 2).sum()) for each in logs) / max(freedom, 1)
        return pooled * float(np.mean([1 / len(each) for each in logs])), freedom


@dataclass(frozen=True)
class Laws:
    """Power laws, one a draw: `log_a`, `b` and `c` (B,)."""

    log_a: Array
    b: Array
    c: Array

    def at(self, cost: Array | float) -> Array:
        """What each law says of these costs: (B, costs)."""
        return np.exp(self.log_a[:, None] - self.b[:, None] * np.log(np.atleast_1d(cost))) + self.c[:, None]


@dataclass(frozen=True)
class HeldOut:
    """What the other sizes say of the largest one, and what it came to; `error` is relative to that."""

    cost: float
    predicted: float
    interval: Interval | None
    seen: float

    @property
    def error(self) -> float:
        """How much the prediction is off, relative to what was seen."""
        return self.predicted / self.seen - 1


@dataclass(frozen=True)
class PowerLaw:
    """A power law with its 95 % intervals; those are None where no two seeds were run at every size.

    Attributes:
        law: the fit of the means.
        drawn: the fits of the draws.
        floor: whether `c` could be told from none; else it is 0.
        held_out: the largest size, predicted from the others.
        largest: cost of the largest size: up to `FARTHEST` times that, the law may be read.
    """

    law: Laws
    drawn: Laws | None
    floor: bool
    held_out: HeldOut
    smallest: float
    largest: float

    def value(self, name: str) -> float:
        """The exponent "b", the floor "c", or the factor "a"."""
        return float(np.exp(self.law.log_a[0]) if name == "a" else getattr(self.law, name)[0])

    def interval(self, name: str) -> Interval | None:
        """The 95 % interval of the exponent "b" or the floor "c"."""
        return _interval(getattr(self.drawn, name)) if self.drawn else None

    def predict(self, cost: float) -> tuple[float, Interval | None]:
        """What the law says of a cost.

        Raises:
            StbenchError: it is farther than `FARTHEST` times from the sizes that were measured.
        """
        if not self.smallest / FARTHEST <= cost <= self.largest * FARTHEST * (1 + 1e-9):
            raise StbenchError(
                f"a cost of {cost:g} is more than {FARTHEST:g} times beyond the sizes that were measured, "
                f"{self.smallest:g} to {self.largest:g}"
            )
        interval = _interval(self.drawn.at(cost)[:, 0]) if self.drawn else None
        return float(self.law.at(cost)[0, 0]), interval


def joint_draws(seeds: Sequence[int], draws: int = DRAWS) -> NDArray[np.int64] | None:
    """Return seeds drawn again, (B, S), the same at every call; None of fewer than two."""
    if len(seeds) < 2:
        return None
    return np.random.default_rng(0).choice(np.array(seeds), (draws, len(seeds)))


def fit_power_law(sizes: Sizes, draws: NDArray[np.int64] | None = None) -> PowerLaw:
    """Fit the power law of one arm.

    Args:
        sizes: at least four, and every figure above zero.
        draws: from `joint_draws` of seeds that every size has; with None there are no intervals.

    Raises:
        StbenchError: too few sizes, or a figure that has no logarithm.
    """
    n, means = len(sizes.costs), sizes.means
    if n < MIN_SIZES:
        raise StbenchError(f"{n} {'size' if n == 1 else 'sizes'}; a power law needs {MIN_SIZES}")
    if min(sizes.costs) <= 0 or means.min() <= 0:
        raise StbenchError("a cost or a figure is zero or less, which has no logarithm")
    costs = np.array(sizes.costs)
    again = None if draws is None else sizes.drawn(draws)
    floor = n > MIN_SIZES and _floor_shows(sizes)
    inner, known = (costs[:-1], means[None, :-1])
    outer = _laws(inner, known, floor)
    predicted = None if again is None else _laws(inner, again[:, :-1], floor).at(costs[-1])[:, 0]
    return PowerLaw(
        law=_laws(costs, means[None], floor),
        drawn=None if again is None else _laws(costs, again, floor),
        floor=floor,
        held_out=HeldOut(
            cost=float(costs[-1]),
            predicted=float(outer.at(costs[-1])[0, 0]),
            interval=None if predicted is None else _interval(predicted),
            seen=float(means[-1]),
        ),
        smallest=float(costs[0]),
        largest=float(costs[-1]),
    )


def _floor_shows(sizes: Sizes) -> bool:
    """Whether a floor makes the fit better than the noise of the seeds could (F test of one parameter)."""
    costs, means, (noise, freedom) = np.array(sizes.costs), sizes.means[None], sizes.noise
    errors = [
        float(((np.log(means) - np.log(_laws(costs, means, floor).at(costs))) ** 2).sum()) for floor in (False, True)
    ]
    gain = errors[0] - errors[1]
    return freedom > 0 and gain > ROUNDING and (noise == 0 or stats.f.sf(gain / noise, 1, freedom) < ALPHA)


def _laws(costs: Array, figures: Array, floor: bool) -> Laws:
    """The least-squares fit of log L for each row of figures (B, sizes), with the best floor below its smallest."""
    lowest = figures.min(axis=1)[:, None]
    low, high = np.zeros_like(lowest), 0.999 * lowest * floor
    for _ in range(ZOOMS if floor else 1):
        floors = low + (high - low) * np.linspace(0, 1, FLOORS if floor else 1)
        log_a, slope, errors = _lines(np.log(costs), figures, floors)
        best, step = errors.argmin(axis=1)[:, None], (high - low) / (FLOORS - 1)
        chosen = np.take_along_axis(floors, best, 1)
        low, high = np.maximum(chosen - step, 0), np.minimum(chosen + step, 0.999 * lowest * floor)
    picked = [np.take_along_axis(each, best, 1)[:, 0] for each in (log_a, -slope, floors)]
    return Laws(*picked)


def _lines(log_costs: Array, figures: Array, floors: Array) -> tuple[Array, Array, Array]:
    """Intercept, slope and squared error of log L, each (B, floors), with log(L - floor) a line over log C."""
    logs = np.log(figures[:, None, :] - floors[:, :, None])
    centred = log_costs - log_costs.mean()
    slope = (logs * centred).sum(-1) / (centred**2).sum()
    intercept = logs.mean(-1) - slope * log_costs.mean()
    fitted = np.exp(intercept[..., None] + slope[..., None] * log_costs) + floors[..., None]
    return intercept, slope, ((np.log(figures)[:, None, :] - np.log(fitted)) ** 2).sum(-1)


@dataclass(frozen=True)
class Crossing:
    """The cost at which two arms are equally good; before it the first is better.

    Attributes:
        interval: over the draws in which they cross.
        share: of the draws that do, up to `FARTHEST` times beyond the sizes.
        beyond: how many times beyond the sizes that both arms were measured at; 1 within them.
    """

    cost: float
    interval: Interval | None
    share: float | None
    beyond: float


def crossing(first: PowerLaw, second: PowerLaw) -> Crossing | None:
    """Where the laws of two arms cross, up to `FARTHEST` times beyond their sizes; None where they do not."""
    smallest, largest = max(first.smallest, second.smallest), min(first.largest, second.largest)
    grid = np.geomspace(smallest / FARTHEST, largest * FARTHEST, 400)
    cost = _crossings(first.law, second.law, grid)[0]
    if np.isnan(cost):
        return None
    interval = share = None
    if first.drawn and second.drawn:
        found = _crossings(first.drawn, second.drawn, grid)
        crossed = found[~np.isnan(found)]
        share = len(crossed) / len(found)
        interval = _interval(crossed) if len(crossed) else None
    return Crossing(float(cost), interval, share, float(max(1.0, cost / largest, smallest / cost)))


def _crossings(first: Laws, second: Laws, grid: Array) -> Array:
    """The first cost at which each pair of laws is equal, (B,); NaN where none is. Between costs of the grid the
    logarithm of their ratio is a line, which without floors it is everywhere.
    """
    ratio = np.log(first.at(grid)) - np.log(second.at(grid))
    turns = np.signbit(ratio[:, 1:]) != np.signbit(ratio[:, :-1])
    at = turns.argmax(axis=1)[:, None]
    before, after = np.take_along_axis(ratio, at, 1)[:, 0], np.take_along_axis(ratio, at + 1, 1)[:, 0]
    logs, step = np.log(grid), np.log(grid[1] / grid[0])
    with np.errstate(invalid="ignore", divide="ignore"):
        cost = np.exp(logs[at[:, 0]] + step * before / (before - after))
    return np.where(turns.any(axis=1), cost, np.nan)


@dataclass(frozen=True)
class RankStability:
    """Kendall's tau between the orders of all arms at two neighbouring sizes, with its 95 % interval over seeds."""

    tau: float
    interval: Interval | None
    arms: int


def rank_stability(smaller: Sequence[Mapping[int, float]], larger: Sequence[Mapping[int, float]]) -> RankStability:
    """Compare the order of arms at two sizes; tau is 1 where it is the same, and -1 where it is turned round.

    Args:
        smaller: the figures of each arm at one size, by seed.
        larger: those of the same arms at the next.
    """
    both = [Sizes((1, 2), pair) for pair in zip(smaller, larger, strict=True)]
    draws = joint_draws(sorted(set.intersection(*(set(arm.seeds) for arm in both))))
    tau = kendall_tau(*np.stack([arm.means for arm in both]).T[:, None])[0]
    interval = None
    if draws is not None:
        again = np.stack([arm.drawn(draws) for arm in both], axis=-1)  # (B, two sizes, arms)
        interval = _interval(kendall_tau(again[:, 0], again[:, 1]))
    return RankStability(float(tau), interval, len(both))


def kendall_tau(first: Array, second: Array) -> Array:
    """Kendall's tau-b of each row of two arrays (B, arms); NaN where all of a row are equal."""
    one, other = np.triu_indices(first.shape[1], 1)
    ups, also = (np.sign(each[:, one] - each[:, other]) for each in (first, second))
    with np.errstate(invalid="ignore"):
        return np.asarray((ups * also).sum(1) / np.sqrt((ups**2).sum(1) * (also**2).sum(1)))


def _interval(values: Array) -> Interval:
    low, high = np.nanpercentile(values, CONFIDENCE)
    return float(low), float(high)

"""Intervals of a Fréchet distance: how far it might move if everything that is random were drawn again.

What may be drawn again decides which interval is meant, the widest first:

- training, with several seeds: `stbench.records.statistics.summarise_seeds` of the runs' distances. It is the one for a
  claim about a backbone, and the only one that a report shows beside a mean.
- sampling, from one set of weights with several disjoint sets of generated clips: `interval_over_samplings`.
- the clips of one real and one generated set, as they are: `interval`. It is for comparing figures at equal numbers of
  clips, and knows nothing of another training.

The last one is about the distance between the distributions themselves. A Fréchet distance of N clips lies above that
by nearly c / N; both methods take this bias off by computing it from fewer clips too, none of them twice. The bootstrap
repeats clips, which is a bias of its own, and is refused. KVD has its interval in `kernel`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from torch import Tensor

from stbench.errors import StbenchError, unknown_name
from stbench.metrics.frechet import FloatArray, check_features, check_pair, frechet_distance
from stbench.metrics.frechet import min_samples_for_extrapolation as min_samples
from stbench.records.statistics import CONFIDENCE, SeedSummary, summarise_seeds

NUM_GROUPS = 10  # of the jackknife
NUM_DRAWS = 50  # of the subsampling
MIN_SAMPLINGS = 3  # with two, Student's t makes the interval 12.7 standard errors wide on each side
# Measured for this project on 400-dimensional Gaussians, 2048 samples a side, true distance 0.
_BOOTSTRAP_REFUSED = (
    "interval method 'bootstrap': refused, since repeated clips bias an FVD upwards (a mean of 75.8 for one of 39.7, "
    "and three times its true spread, at 2048 clips); take 'jackknife' or 'subsampling', or several seeds"
)

# The distance without the bias of few clips, its standard error, and the degrees of freedom of that error.
_Estimate = tuple[float, float, int]


@dataclass(frozen=True)
class DistanceInterval:
    """A 95 % interval of the Fréchet distance between two distributions, from one set of features of each.

    Attributes:
        low: lower end; below 0 where nothing speaks against equal distributions.
        high: upper end.
        estimate: the middle: the distance with the bias of few clips taken off.
        standard_error: of the estimate.
    """

    low: float
    high: float
    estimate: float
    standard_error: float


def interval(
    features_a: ArrayLike | Tensor,
    features_b: ArrayLike | Tensor,
    method: str = "jackknife",
    seed: int = 0,
) -> DistanceInterval:
    """Interval of the Fréchet distance between the distributions that two sets of features were drawn from.

    "jackknife" leaves out each of 10 groups of clips in turn; "subsampling" draws half of the clips 50 times, without
    replacement. "bootstrap" is refused by name.

    Args:
        features_a: (N, D), array or tensor.
        features_b: (M, D).
        method: "jackknife" or "subsampling".
        seed: of the groups or draws.

    Raises:
        StbenchError: another method, bad features, or fewer than 4 D samples on a side: the bias is not yet c / N.
    """
    if method.lower() == "bootstrap":
        raise StbenchError(_BOOTSTRAP_REFUSED)
    if method not in _METHODS:
        raise unknown_name("interval method", method, _METHODS)
    a, b = check_pair(features_a, features_b)
    fewest, needed = min(len(a), len(b)), min_samples(a.shape[1])
    if fewest < needed:
        raise StbenchError(
            f"an interval of the FVD of {a.shape[1]}-dimensional features needs at least {needed} clips on each side, "
            f"got {fewest}"
        )
    estimate, standard_error, degrees_of_freedom = _METHODS[method](a, b, np.random.default_rng(seed))
    low, high = student_interval(estimate, standard_error, degrees_of_freedom)
    return DistanceInterval(low, high, estimate, standard_error)


def interval_over_samplings(real_features: ArrayLike | Tensor, fakes: Sequence[ArrayLike | Tensor]) -> SeedSummary:
    """Mean, spread and 95 % t interval of the FVD over several sets of samples from one set of weights.

    The mean keeps the bias of the number of clips, and the real clips are the same throughout.

    Args:
        real_features: (N, D).
        fakes: at least 3 sets (M, D), all of one size, drawn with different seeds.

    Raises:
        StbenchError: fewer sets, sets of different sizes, or a clip that is in two of them.
    """
    sets = [check_features(fake, f"generated set {index}") for index, fake in enumerate(fakes)]
    if len(sets) < MIN_SAMPLINGS:
        raise StbenchError(f"an interval over samplings needs at least {MIN_SAMPLINGS} sets of clips, got {len(sets)}")
    sizes = [len(each) for each in sets]
    if len(set(sizes)) > 1:
        raise StbenchError(f"an interval over samplings needs sets of one size, got {', '.join(map(str, sizes))} clips")
    # Equal features are one clip, sampled from the same noise.
    owner: dict[bytes, int] = {}
    for index, each in enumerate(sets):
        for row in {features.tobytes() for features in each}:
            first = owner.setdefault(row, index)
            if first != index:
                raise StbenchError(
                    f"generated sets {first} and {index} share a clip: sample each with a seed of its own"
                )
    return summarise_seeds([frechet_distance(real_features, each) for each in sets])


def deal(count: int, num_groups: int, rng: np.random.Generator) -> list[NDArray[np.int64]]:
    """Deal the indices below `count` at random to groups whose sizes differ by 1 at most."""
    return np.array_split(rng.permutation(count), num_groups)


def student_interval(
    estimate: float, standard_error: float, degrees_of_freedom: int, confidence: float = CONFIDENCE
) -> tuple[float, float]:
    """Student's interval, (low, high), around an estimate with this standard error, which may be 0."""
    _, half_width = stats.t.interval(confidence, degrees_of_freedom)  # in standard errors
    margin = float(half_width) * standard_error
    return estimate - margin, estimate + margin


def _jackknife(a: FloatArray, b: FloatArray, rng: np.random.Generator) -> _Estimate:
    """Delete-group jackknife: the mean of the pseudo-values has no bias in 1/N, and their spread is the error's."""
    groups = zip(deal(len(a), NUM_GROUPS, rng), deal(len(b), NUM_GROUPS, rng), strict=True)
    left = [frechet_distance(np.delete(a, in_a, axis=0), np.delete(b, in_b, axis=0)) for in_a, in_b in groups]
    whole = frechet_distance(a, b)
    pseudo_values = [NUM_GROUPS * whole - (NUM_GROUPS - 1) * distance for distance in left]
    standard_error = float(np.std(pseudo_values, ddof=1)) / NUM_GROUPS**0.5
    return float(np.mean(pseudo_values)), standard_error, NUM_GROUPS - 1


def _subsampling(a: FloatArray, b: FloatArray, rng: np.random.Generator) -> _Estimate:
    """Half of the clips, without replacement: twice the bias, and the spread of the whole set's distance."""
    halves = [
        frechet_distance(*(rng.permutation(features)[: len(features) // 2] for features in (a, b)))
        for _ in range(NUM_DRAWS)
    ]
    estimate = 2 * frechet_distance(a, b) - float(np.mean(halves))
    return estimate, float(np.std(halves, ddof=1)), NUM_DRAWS - 1


_METHODS: dict[str, Callable[[FloatArray, FloatArray, np.random.Generator], _Estimate]] = {
    "jackknife": _jackknife,
    "subsampling": _subsampling,
}

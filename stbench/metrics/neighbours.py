"""Fidelity and diversity by nearest neighbours: precision and recall, density and coverage.

Around each sample lies a ball that reaches to its k-th nearest neighbour in its own set; together they stand for the
distribution. Precision is the share of generated samples in a ball of a real one, recall that of real samples in a ball
of a generated one (Kynkäänniemi et al. 2019, arXiv 1904.06991, equations 1 and 2; k = 3). Density is the mean number of
real balls that a generated sample lies in, over k, and coverage the share of real balls that hold one (Naeem et al.
2020, arXiv 2002.09797; k = 5): an outlier, whose ball is large, moves them less. A ball's edge belongs to it in the
former (equation 1, and the authors' code) and not in the latter (the released `prdc`): copies alone lie on an edge.

All four move with the number of samples, since balls shrink with it: they compare at equal N and M only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from stbench.errors import StbenchError
from stbench.metrics.frechet import FloatArray, check_pair

IntArray = NDArray[np.int64]

PRECISION_K = 3
COVERAGE_K = 5
_PAIRS_AT_ONCE = 2**22  # 32 MiB of distances
# Squared distances that differ by less than this part of the squared norms differ by rounding.
_ROUNDING = 1e-13


@dataclass(frozen=True)
class NeighbourResult:
    """Four shares that say how far two sets of samples lie within each other.

    Attributes:
        precision: of generated samples that look real, 0 to 1.
        recall: of real samples that the generator could have made, 0 to 1.
        density: like precision, but counts every real ball: 1 is expected of equal distributions, and more is possible.
        coverage: of real samples with a generated one near, 0 to 1.
    """

    precision: float
    recall: float
    density: float
    coverage: float


def neighbour_scores(real_features: ArrayLike | Tensor, fake_features: ArrayLike | Tensor) -> NeighbourResult:
    """Precision, recall, density and coverage, by Euclidean distances in float64; memory grows with N + M alone.

    Args:
        real_features: (N, D), array or tensor.
        fake_features: (M, D).

    Raises:
        StbenchError: bad features (see `frechet.check_features`), or no more than 5 samples on a side.
    """
    real, fake = check_pair(real_features, fake_features)
    if min(len(real), len(fake)) <= COVERAGE_K:
        raise StbenchError(
            f"precision, recall, density and coverage need more than {COVERAGE_K} clips on each side, "
            f"got {len(real)} real and {len(fake)} generated"
        )
    centre = real.mean(axis=0)  # distances come from dot products, which a large common mean would drown
    real, fake = real - centre, fake - centre
    radii_precision, radii_coverage = _squared_radii(real, PRECISION_K, COVERAGE_K)
    (radii_recall,) = _squared_radii(fake, PRECISION_K)

    balls_of_fake, _ = _count_inside(real, radii_precision, fake, with_edge=True)
    balls_of_real, _ = _count_inside(fake, radii_recall, real, with_edge=True)
    _, fake_in_balls = _count_inside(real, radii_coverage, fake, with_edge=False)
    return NeighbourResult(
        precision=float((balls_of_fake > 0).mean()),
        recall=float((balls_of_real > 0).mean()),
        density=float(fake_in_balls.sum() / (COVERAGE_K * len(fake))),
        coverage=float((fake_in_balls > 0).mean()),
    )


def _squared_radii(samples: FloatArray, *ks: int) -> tuple[FloatArray, ...]:
    """For each k, the squared distance of each sample to its k-th nearest neighbour, itself left out."""
    nearest = np.empty((len(samples), max(ks)))
    for rows, squared, _ in _squared_distances(samples, samples):
        squared[np.arange(len(squared)), np.arange(rows.start, rows.stop)] = np.inf
        nearest[rows] = np.sort(np.partition(squared, max(ks) - 1, axis=1)[:, : max(ks)], axis=1)
    return tuple(nearest[:, k - 1] for k in ks)


def _count_inside(
    centres: FloatArray, squared_radii: FloatArray, points: FloatArray, *, with_edge: bool
) -> tuple[IntArray, IntArray]:
    """In how many balls each point lies (M,), and how many points lie in each ball (N,)."""
    balls_of_point = np.zeros(len(points), dtype=np.int64)
    points_in_ball = np.zeros(len(centres), dtype=np.int64)
    for rows, squared, rounding in _squared_distances(centres, points):
        radii = squared_radii[rows, None]
        inside = squared <= radii + rounding if with_edge else squared < radii - rounding
        balls_of_point += inside.sum(axis=0)
        points_in_ball[rows] = inside.sum(axis=1)
    return balls_of_point, points_in_ball


def _squared_distances(a: FloatArray, b: FloatArray) -> Iterator[tuple[slice, FloatArray, FloatArray]]:
    """Squared Euclidean distances of some rows of `a` to all of `b`: the slice of those rows, these, their rounding."""
    norms_a, norms_b = np.square(a).sum(axis=1), np.square(b).sum(axis=1)
    step = max(1, _PAIRS_AT_ONCE // len(b))
    for start in range(0, len(a), step):
        rows = slice(start, min(start + step, len(a)))
        norms = norms_a[rows, None] + norms_b
        yield rows, norms - 2 * (a[rows] @ b.T), _ROUNDING * norms

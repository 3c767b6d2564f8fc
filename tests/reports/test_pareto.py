"""The Pareto front: what nothing beats, found as by its definition."""

from __future__ import annotations

import numpy as np
import pytest

from stbench.reports.pareto import pareto_front


@pytest.mark.parametrize(
    ("points", "front"),
    [
        ([], []),
        ([(1.0, 1.0)], [0]),
        ([(2.0, 1.0), (1.0, 2.0)], [1, 0]),
        ([(1.0, 1.0), (2.0, 1.0)], [0]),
        ([(1.0, 2.0), (1.0, 1.0)], [1]),
        ([(1.0, 1.0), (1.0, 1.0)], [0, 1]),
    ],
)
def test_front_of_few_points(points: list[tuple[float, float]], front: list[int]) -> None:
    assert pareto_front(points) == front


@pytest.mark.parametrize("seed", range(20))
def test_front_is_what_no_other_point_beats(seed: int) -> None:
    points = np.random.default_rng(seed).integers(0, 8, (30, 2)).astype(float)
    beaten = [bool(((points <= each).all(1) & (points < each).any(1)).any()) for each in points]
    found = pareto_front([(float(x), float(y)) for x, y in points])
    assert sorted(found) == [place for place, is_beaten in enumerate(beaten) if not is_beaten]

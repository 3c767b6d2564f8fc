"""The Pareto front: what no other beats in cost and quality at once."""

from __future__ import annotations

from collections.abc import Sequence


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Return the places of the points that no other beats, by rising cost; equal points are on it together.

    Args:
        points: (cost, quality) of each; less is better in both.
    """
    front: list[int] = []
    for place in sorted(range(len(points)), key=lambda each: points[each]):
        if not front or points[place][1] < points[front[-1]][1] or points[place] == points[front[-1]]:
            front.append(place)
    return front

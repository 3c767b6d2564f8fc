"""What a distance answers to each distortion: the noise study of the FVD paper (arXiv 1812.01717, section 4.1).

The paper compares a set of clips with its own distorted copy. Generated clips are never copies of real ones, so here
the distorted clips are others: at strength 0 the distance is then not 0 but the floor, which only the finite number of
clips makes. The paper's comparison stands beside it as `fvd_same_clips`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from statistics import median
from typing import Any

from scipy.stats import spearmanr

from stbench.metrics.distortions import DISTORTIONS, FRAME_DISTORTIONS
from stbench.metrics.frechet import frechet_between, gaussian_statistics
from stbench.metrics.intervals import frechet_jackknife, min_samples_at_infinity
from stbench.metrics.kernel import kernel_distance
from stbench.progress import progress_bar
from stbench.studies.distorted import STRENGTHS, StudyFeatures

NO_DISTORTION = "none"
FIGURES = ("fvd", "fvd_inf", "fvd_same_clips", "kvd")


def kind_of(distortion: str) -> str:
    """ "static" for damage to single frames, "temporal" for damage to their order."""
    return "static" if distortion in FRAME_DISTORTIONS else "temporal"


def main_figure(num: int, feature_dim: int) -> str:
    """The figure that is judged: FVD, or KVD where there are too few clips for an FVD."""
    return "fvd" if num > feature_dim else "kvd"


def response_rows(features: StudyFeatures) -> list[dict[str, Any]]:
    """Return one row for each distortion and strength, the floor first.

    Each has distortion, kind, strength, n, and the distances of the distorted clips from the reference: fvd and fvd_inf
    (None with too few clips), kvd with its interval kvd_low to kvd_high; and fvd_same_clips, from the very clips that
    were distorted.
    """
    clean_sides = (features.reference, features.clean)
    # Gaussians are fitted to both, unless they would be singular.
    regular = all(main_figure(*side.shape) == "fvd" for side in clean_sides)
    gaussians = [gaussian_statistics(side) for side in clean_sides] if regular else None
    versions = {(NO_DISTORTION, 0.0): features.clean, **features.distorted}
    rows = []
    with progress_bar("distances", len(versions)) as advance:
        for (name, strength), version in versions.items():
            kind = NO_DISTORTION if name == NO_DISTORTION else kind_of(name)
            row: dict[str, Any] = {"distortion": name, "kind": kind, "strength": strength, "n": len(version)}
            row |= dict.fromkeys(("fvd", "fvd_inf", "fvd_same_clips"))
            if gaussians:
                fitted = gaussian_statistics(version)
                row["fvd"], row["fvd_same_clips"] = (frechet_between(each, fitted).distance for each in gaussians)
                if len(version) >= min_samples_at_infinity(version.shape[1]):
                    row["fvd_inf"] = frechet_jackknife(features.reference, version).at_infinity
            kernel = kernel_distance(features.reference, version)
            low, high = kernel.interval
            rows.append({**row, "kvd": kernel.distance, "kvd_low": low, "kvd_high": high})
            advance()
    return rows


def summarise_responses(
    rows: Sequence[Mapping[str, Any]], figure: str, clean_values: Sequence[float]
) -> dict[str, Any]:
    """Return what the rows say: whether each distortion is seen, in which order, and how strongly against the others.

    Args:
        rows: from `response_rows`.
        figure: the one that is judged, see `main_figure`.
        clean_values: the same figure between clean clips, several times; a distortion is seen from the strength on from
            which it is above the largest of them and above the floor.

    Returns:
        figure; floor: its value at strength 0; floor_largest; distortions: a list with, for each, distortion, kind,
        spearman of every figure with strength (None where it is missing or constant), seen_from (a strength, or None),
        response (at full strength, less the floor) and
        share_of_static (response over the median response of the static distortions); by_strength: the median
        response of the static and of the temporal distortions, and temporal_share, their ratio. Medians, because black
        rectangles at full strength leave nothing of a clip and outweigh everything else.
    """
    floor = rows[0]
    by_name = {name: [floor] + [row for row in rows if row["distortion"] == name] for name in DISTORTIONS}
    responses = {name: [row[figure] - floor[figure] for row in curve[1:]] for name, curve in by_name.items()}
    static, temporal = (
        [median(step) for step in zip(*(responses[name] for name in DISTORTIONS if kind_of(name) == kind), strict=True)]
        for kind in ("static", "temporal")
    )
    highest_clean = max(floor[figure], *clean_values)
    distortions = [
        {
            "distortion": name,
            "kind": kind_of(name),
            **{f"spearman_{each}": _spearman(curve, each) for each in FIGURES},
            "seen_from": _seen_from(curve, figure, highest_clean),
            "response": responses[name][-1],
            "share_of_static": responses[name][-1] / static[-1],
        }
        for name, curve in by_name.items()
    ]
    by_strength = [
        {"strength": s, "static": whole, "temporal": part, "temporal_share": part / whole}
        for s, whole, part in zip(STRENGTHS, static, temporal, strict=True)
    ]
    return {
        "figure": figure,
        "floor": floor[figure],
        "floor_largest": highest_clean,
        "distortions": distortions,
        "by_strength": by_strength,
    }


def _spearman(curve: Sequence[Mapping[str, Any]], figure: str) -> float | None:
    """Rank correlation of a figure with strength; None where the figure is missing or the same everywhere.

    In short clips two strengths may come to the same number of frames, and so to the same clips and figures: they are
    one strength then.
    """
    known = [(row["strength"], row[figure]) for row in curve if row[figure] is not None]
    points = known[:1] + [point for before, point in pairwise(known) if point[1] != before[1]]
    if len(points) < 2:
        return None
    return float(spearmanr(*zip(*points, strict=True)).statistic)


def _seen_from(curve: Sequence[Mapping[str, Any]], figure: str, bound: float) -> float | None:
    """The strength from which on, at it and at every higher one, the figure is above `bound`."""
    seen = None
    for row in reversed(curve):
        if row[figure] <= bound:
            break
        seen = row["strength"]
    return seen

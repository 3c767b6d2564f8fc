"""What distances are said to answer, on features whose answers are known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from stbench.metrics.distortions import DISTORTIONS
from stbench.metrics.frechet import frechet_distance
from stbench.metrics.kernel import kernel_distance
from stbench.studies.distorted import DISTORTIONS_AND_STRENGTHS, STRENGTHS, Features, StudyFeatures
from stbench.studies.response import kind_of, main_figure, response_rows, summarise_responses

SHIFTS = {name: 2.0**-index for index, name in enumerate(DISTORTIONS)}


def shifted(N: int = 200, D: int = 4) -> StudyFeatures:
    """Standard Gaussians that each distortion moves along the first axis: d² = shift² at full strength."""
    rng = np.random.default_rng(0)
    reference, clean = rng.standard_normal((2, N, D)).astype(np.float32)
    direction = np.eye(D, dtype=np.float32)[0]

    def moved(name: str, strength: float) -> Features:
        return clean + np.float32(SHIFTS[name] * strength) * direction

    return StudyFeatures(reference, clean, {key: moved(*key) for key in DISTORTIONS_AND_STRENGTHS})


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    return response_rows(shifted())


def test_rows_are_the_floor_and_every_condition(rows: list[dict[str, Any]]) -> None:
    found = [(row["distortion"], row["strength"]) for row in rows]
    assert found == [("none", 0.0), *DISTORTIONS_AND_STRENGTHS]
    assert {row["kind"] for row in rows[1:25]} == {"static"}
    assert {row["kind"] for row in rows[25:]} == {"temporal"}
    assert {row["n"] for row in rows} == {200}


def test_figures_are_those_of_the_metrics(rows: list[dict[str, Any]]) -> None:
    features = shifted()
    distorted = features.distorted["blur", 1.0]
    row = next(row for row in rows if (row["distortion"], row["strength"]) == ("blur", 1.0))
    assert row["fvd"] == pytest.approx(frechet_distance(features.reference, distorted), rel=1e-9)
    assert row["fvd_same_clips"] == pytest.approx(frechet_distance(features.clean, distorted), rel=1e-6)
    assert row["kvd"] == kernel_distance(features.reference, distorted).distance
    assert row["kvd_low"] < row["kvd"] < row["kvd_high"]


def test_against_its_own_clips_a_shift_gives_its_square_and_no_floor(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        expected = (SHIFTS.get(row["distortion"], 0) * row["strength"]) ** 2
        assert row["fvd_same_clips"] == pytest.approx(expected, abs=1e-6)
    assert rows[0]["fvd"] > 0.01


@pytest.mark.parametrize("D", [4, 16], ids=["with FVD", "without"])
def test_rows_have_the_columns_of_the_table(D: int) -> None:
    columns = ["distortion", "kind", "strength", "n", "fvd", "fvd_inf", "fvd_same_clips", "kvd", "kvd_low", "kvd_high"]
    rows = response_rows(shifted(N=16, D=D))
    assert all(list(row) == columns for row in rows)
    assert all((row["fvd"] is None) == (D == 16) for row in rows)


def test_too_few_clips_leave_kvd_alone() -> None:
    assert (main_figure(64, 64), main_figure(65, 64)) == ("kvd", "fvd")
    rows = response_rows(shifted(N=20, D=20))
    assert {row["fvd"] for row in rows} | {row["fvd_inf"] for row in rows} == {None}
    assert all(np.isfinite(row["kvd"]) for row in rows)


def synthetic_rows(curves: dict[str, list[float]]) -> list[dict[str, Any]]:
    """Rows with the figure `fvd` from each distortion's curve, and the floor 1."""
    empty = dict.fromkeys(("fvd_inf", "fvd_same_clips", "kvd"))
    rows = [{"distortion": "none", "strength": 0.0, "fvd": 1.0, **empty}]
    for name in DISTORTIONS:
        curve = curves.get(name, [2.0, 3.0, 4.0, 5.0, 6.0, 7.0])
        rows += [
            {"distortion": name, "strength": s, "fvd": value, **empty}
            for s, value in zip(STRENGTHS, curve, strict=True)
        ]
    return rows


def judged(curves: dict[str, list[float]], name: str) -> dict[str, Any]:
    summary = summarise_responses(synthetic_rows(curves), "fvd", [1.0, 1.5])
    return next(each for each in summary["distortions"] if each["distortion"] == name)


@pytest.mark.parametrize(
    ("curve", "spearman", "seen_from"),
    [
        ([2, 3, 4, 5, 6, 7], 1.0, STRENGTHS[0]),
        ([1.2, 1.4, 1.6, 2, 3, 4], 1.0, STRENGTHS[2]),
        ([2, 1.2, 3, 4, 5, 6], 1 - 6 * 2 / (7 * 48), STRENGTHS[2]),  # one swap of neighbours among seven ranks
        ([1, 1, 1, 1, 1, 1], None, None),
        ([6, 5, 4, 3, 2, 1.1], -0.25, None),
        ([2, 3, 3, 4, 4, 5], 1.0, STRENGTHS[0]),  # equal figures are equal clips: no wrong order
    ],
)
def test_rank_and_threshold(curve: list[float], spearman: float | None, seen_from: float | None) -> None:
    found = judged({"blur": curve}, "blur")
    assert found["spearman_fvd"] == (spearman if spearman is None else pytest.approx(spearman))
    assert found["seen_from"] == seen_from
    assert found["spearman_kvd"] is None


def test_share_of_the_temporal_distortions_is_of_medians() -> None:
    temporal = [name for name in DISTORTIONS if kind_of(name) == "temporal"]
    strong = {name: [1 + 0.5 * k for k in range(1, 7)] for name in temporal}
    strong["black_rectangles"] = [1e3] * 6
    summary = summarise_responses(synthetic_rows(strong), "fvd", [1.0])
    assert [row["temporal_share"] for row in summary["by_strength"]] == pytest.approx([0.5] * 6)
    assert judged(strong, "black_rectangles")["share_of_static"] == pytest.approx(999 / 6)


def test_the_floor_itself_is_never_called_seen() -> None:
    summary = summarise_responses(synthetic_rows({}), "fvd", [0.4, 0.5])
    assert summary["floor_largest"] == 1.0
    assert {each["seen_from"] for each in summary["distortions"]} == {STRENGTHS[0]}

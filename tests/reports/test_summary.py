"""What a report says in sentences: who is best, how sure that is, what it costs, what is missing. Whole texts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stbench.reports.runs import load_runs
from stbench.reports.summary import findings

MakeRun = Callable[..., Path]


def sentences(run: Path) -> list[str]:
    return findings(load_runs([run.parent]))


def test_one_seed_is_no_order(make_run: MakeRun) -> None:
    make_run("latte1", 0, 100.0)
    run = make_run("latte2", 0, 200.0, **{"counts.gmacs": 3.0})
    assert sentences(run) == [
        "Lowest FVD[shapes3d]: latte1 on shapes, 100 (one seed, so no interval).",
        "Next is latte2 at 200; with one seed this order may be noise.",
        "Computation runs from 1.500 GMACs a forward pass (latte1) to 3 (latte2).",
    ]


@pytest.mark.parametrize(
    ("others", "verdict"),
    [
        ((300.0, 310.0, 305.0), "beyond the noise of the seeds (Welch's t test, p < 0.05)"),
        ((90.0, 150.0, 120.0), "within the noise of the seeds (Welch's t test, p ≥ 0.05)"),
    ],
)
def test_several_seeds_say_whether_the_order_is_beyond_their_noise(
    make_run: MakeRun, others: tuple[float, ...], verdict: str
) -> None:
    for seed, fvd in enumerate((100.0, 102.0, 104.0)):
        make_run("latte1", seed, fvd)
    for seed, fvd in enumerate(others):
        run = make_run("latte2", seed, fvd)
    first, second, costs = sentences(run)
    # Mean 102, sd 2, half width t(0.975, 2) * 2 / sqrt(3) = 4.302653 * 1.154701 = 4.97.
    assert first == "Lowest FVD[shapes3d]: latte1 on shapes, 102 (95 % interval 97.03 to 107.0 over 3 seeds)."
    assert second == f"Next is latte2 at {sum(others) / 3:.0f}; the difference is {verdict}."
    assert costs == "Every variant costs the same computation: 1.500 GMACs a forward pass."


def test_seeds_that_were_computed_elsewhere_are_no_rivals(make_run: MakeRun) -> None:
    """A variant is never ranked against itself: the device or the batch size of sampling does not make another one."""
    make_run("latte1", 0, 10.0, group_hash="one", **{"config.device": "auto"})
    run = make_run("latte1", 1, 14.0, group_hash="one", **{"config.device": "cpu"})
    (only,) = sentences(run)
    assert only.startswith("Lowest FVD[shapes3d]: latte1 on shapes, 12 (95 % interval ")


def test_where_every_fvd_was_refused_the_kvd_ranks(make_run: MakeRun) -> None:
    refused = {"quality.fvd": None, "quality.refused": "too few clips"}
    run = make_run("latte1", 0, **refused)
    assert sentences(run) == ["Lowest KVD[shapes3d]: latte1 on shapes, 0.2500 (one seed, so no interval)."]


def test_runs_of_two_protocols_are_not_ranked_together(make_run: MakeRun) -> None:
    make_run("latte1", 0, 100.0)
    run = make_run("latte2", 0, 50.0, **{"quality.protocol_hash": "protocol-b"})
    assert sentences(run)[:2] == [
        "Lowest FVD[shapes3d]: latte1 on shapes, 100 (one seed, so no interval).",
        "Lowest FVD[shapes3d]: latte2 on shapes, 50 (one seed, so no interval).",
    ]


def test_what_did_not_finish(make_run: MakeRun, failed: dict[str, Any]) -> None:
    run = make_run("latte1", 0, **failed, counts=None)
    assert sentences(run) == ["1 of 1 runs did not finish; their reasons are below."]


def test_nothing_recorded(make_run: MakeRun) -> None:
    assert sentences(make_run("latte1", 0, quality=None, counts=None)) == ["These runs recorded no result yet."]

"""Base against base: verdicts on runs that differ in their seed alone."""

from __future__ import annotations

import math

import numpy as np
import pytest

from stbench.errors import StbenchError
from stbench.records.schema import Record
from stbench.records.sections import Validation
from stbench.reports.comparison.verdicts import Verdict
from stbench.studies.null import calibrate


def runs(count: int) -> list[Record]:
    losses = 0.5 * np.exp(0.02 * np.random.default_rng(0).standard_normal(count))
    return [
        Record(
            run_id=f"latte1-{seed}",
            status="finished",
            created=f"2026-01-02T03:{seed:02d}:00+00:00",
            config={"variant": {"name": "latte1"}, "dataset": {"name": "shapes"}, "preset": "demo", "seed": seed},
            config_hash=f"{seed}",
            group_hash="g",
            validation=Validation(protocol_hash="v", n_clips=4, draws=1, edges=(0.0, 1.0), loss=loss, buckets=(loss,)),
        )
        for seed, loss in enumerate(map(float, losses))
    ]


def test_every_split_has_a_verdict_and_few_have_a_wrong_one() -> None:
    found = calibrate("latte1", runs(12), seeds=5, draws=200)
    counts = found.verdicts["validation loss"]
    assert sum(counts.values()) == 200
    assert (found.worse, found.better) == (counts["worse"], counts["better"])
    assert found.worse + found.better <= 200 * 0.05 + 3 * math.sqrt(200 * 0.05 * 0.95)


def test_verdicts_that_always_fall_to_one_side_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    worse = Verdict(metric="FVD", kind="quality", base=1.0, new=2.0, verdict="worse")
    monkeypatch.setattr("stbench.studies.null.judge", lambda *_: [worse])
    found = calibrate("latte1", runs(4), seeds=2, draws=10)
    assert (found.worse, found.better, found.verdicts) == (10, 0, {"FVD": {"worse": 10}})
    assert found.sentences == [
        "latte1: 4 runs, split 10 times into 2 and 2: worse in 100.0 % of them, better in 0.0 % (at most 5% of quality "
        "and 5% of times are stated).",
        "FVD: worse 100.0 %",
    ]


def test_the_sides_of_a_split_share_no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[set[str]] = []

    def judge(base: list[Record], new: list[Record], _: object) -> list[Verdict]:
        drawn.append({run.run_id for run in (*base, *new)})
        return []

    monkeypatch.setattr("stbench.studies.null.judge", judge)
    calibrate("latte1", runs(5), seeds=2, draws=20)
    assert {len(each) for each in drawn} == {4}
    assert len(set().union(*drawn)) == 5


def test_too_few_runs() -> None:
    with pytest.raises(StbenchError, match="latte1: 9 runs cannot be split into 5 and 5: expected 10"):
        calibrate("latte1", runs(9), seeds=5, draws=1)

"""One verdict a metric: what counts as a difference, and why there may be none. Records are changed in memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stbench.records.schema import Record
from stbench.records.sections import Memory, Quality
from stbench.records.store import read_record
from stbench.reports.comparison.verdicts import Verdict, judge


@pytest.fixture
def record(make_run: Callable[..., Path]) -> Record:
    return read_record(make_run("latte1", 0))


def with_quality(record: Record, **changes: Any) -> Record:
    assert isinstance(record.quality, Quality)
    return replace(record, quality=replace(record.quality, **changes))


def verdict(base: list[Record], new: list[Record], metric: str) -> Verdict:
    return next(each for each in judge(base, new) if each.metric == metric)


@pytest.mark.parametrize(
    ("base", "new", "ratio"), [(2.0, 3.0, 1.5), (2.0, -1.0, None), (0.0, 1.0, None), ("1 of 2", "2 of 2", None)]
)
def test_a_ratio_is_of_positive_numbers(base: Any, new: Any, ratio: float | None) -> None:
    assert Verdict("FVD", base, new, "same").ratio == ratio


def test_metrics_in_their_order_and_units(record: Record) -> None:
    assert [(each.metric, each.base, each.new) for each in judge([record], [record])] == [
        ("parameters", 32_480_000, 32_480_000),
        ("GMACs", 1.5, 1.5),
        ("FVD[shapes3d]", 100.0, 100.0),
        ("KVD[shapes3d]", 0.25, 0.25),
        ("forward (ms)", 10.0, 10.0),
        ("train step (ms)", 30.0, 30.0),
        ("peak RSS (MiB)", 500.0, 500.0),
    ]


def test_what_neither_side_has_is_left_out(record: Record) -> None:
    bare = replace(record, counts=None, timing={}, memory=None, quality=None)
    assert judge([bare], [bare]) == []


def test_a_refusal_on_either_side_is_the_reason(record: Record) -> None:
    refused = with_quality(record, fvd=None, refused="too few clips")
    found = verdict([record], [refused], "FVD[shapes3d]")
    assert (found.base, found.new, found.verdict) == (100.0, None, "not comparable")
    assert found.reason == "NEW did not record it; too few clips"
    both = verdict([refused], [refused], "FVD[shapes3d]")
    assert (both.base, both.new, both.reason) == (None, None, "too few clips")


@pytest.mark.parametrize(
    ("new", "expected"),
    [((120.0, 121.0, 122.0), "worse"), ((90.0, 150.0, 125.0), "same"), ((80.0, 81.0, 82.0), "better")],
)
def test_seeds_beyond_a_factor_and_beyond_their_noise(record: Record, new: tuple[float, ...], expected: str) -> None:
    base = [with_quality(record, fvd=fvd) for fvd in (100.0, 101.0, 102.0)]
    found = verdict(base, [with_quality(record, fvd=fvd) for fvd in new], "FVD[shapes3d]")
    assert (found.base, found.new, found.verdict) == (101.0, pytest.approx(sum(new) / 3), expected)


def test_a_seed_that_failed_has_no_say_in_a_figure(record: Record) -> None:
    failed = replace(record, status="oom", reason="out of memory", quality=None)
    found = judge([record, record], [record, failed])
    assert (found[0].metric, found[0].base, found[0].new, found[0].verdict) == (
        "runs finished", "2 of 2", "1 of 2", "worse",
    )  # fmt: skip
    assert found[0].reason == "latte1-0: oom, out of memory"
    assert verdict([record, record], [record, failed], "FVD[shapes3d]").new == 100.0


def test_memory_of_the_device_where_both_sides_have_it(record: Record) -> None:
    on_gpu = replace(record, memory=Memory(peak_allocated_mib=900.0, peak_rss_mib=500.0))
    assert verdict([on_gpu], [on_gpu], "peak allocated (MiB)").base == 900.0
    assert verdict([on_gpu], [record], "peak RSS (MiB)").verdict == "same"


def test_without_a_machine_no_time_is_judged(record: Record) -> None:
    found = verdict([record], [replace(record, machine=None)], "forward (ms)")
    assert (found.verdict, found.reason) == ("not comparable", "machine.fingerprint is not recorded")


def test_detectors_stand_in_the_name(record: Record) -> None:
    other = with_quality(record, detector="i3d", protocol_hash="other")
    names = [each.metric for each in judge([record], [other])]
    assert "FVD[i3d/shapes3d]" in names and "KVD[i3d/shapes3d]" in names

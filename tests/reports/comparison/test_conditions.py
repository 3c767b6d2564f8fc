"""What stands in the way of a comparison: every condition in turn."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from stbench.records.measures import Kind
from stbench.records.schema import Record
from stbench.records.sections import CostConditions
from stbench.records.store import read_record
from stbench.reports.comparison.conditions import obstacle


@pytest.fixture
def record(make_run: Callable[..., Path]) -> Record:
    return read_record(make_run("latte1", 0))


@pytest.mark.parametrize("name", [each.name for each in dataclasses.fields(CostConditions)])
@pytest.mark.parametrize("kind", ["timing", "memory", "golden"])
def test_every_condition_must_be_equal_but_the_load_before(record: Record, kind: Kind, name: str) -> None:
    assert record.conditions is not None
    before = getattr(record.conditions, name)
    changed = replace(record.conditions, **{name: "other"})  # type: ignore[arg-type]
    other = replace(record, conditions=changed)
    expected = "" if name == "load_average" else f"the conditions differ: {name} ({before} / other)"
    assert obstacle([record, record, other], kind) == expected


def test_conditions_that_are_not_recorded(record: Record) -> None:
    assert obstacle([record, replace(record, conditions=None)], "timing") == "the conditions are not recorded"


def test_peaks_of_the_process_that_mean_another_thing(record: Record) -> None:
    assert record.memory is not None
    since_start = replace(record, memory=replace(record.memory, peak_rss_source="ru_maxrss"))
    reason = "the conditions differ: peak_rss_source (None / ru_maxrss)"
    assert (obstacle([record, since_start], "memory"), obstacle([record, since_start], "timing")) == (reason, "")


def test_protocols(record: Record) -> None:
    assert record.quality is not None
    steps = replace(record.quality.protocol, num_sampling_steps=50)
    other = replace(record, quality=replace(record.quality, protocol=steps, protocol_hash="other"))
    unknown = replace(record, quality=replace(record.quality, protocol_hash="other"))
    assert obstacle([record, record], "quality") == ""
    assert obstacle([record, other], "quality") == "the protocols differ: protocol.num_sampling_steps (10 / 50)"
    assert obstacle([record, unknown], "quality") == "the protocols differ: protocol_hash"

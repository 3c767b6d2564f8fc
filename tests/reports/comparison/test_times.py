"""Ratios of times that were taken in turn. Records are changed in memory."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from scipy import stats

from stbench.records.measures import get_measure
from stbench.records.schema import Record
from stbench.records.store import read_record
from stbench.reports.comparison.times import TimeQuestion, in_turn, judge_times, settle_time
from stbench.reports.comparison.verdicts import Verdict

SHOWN = Verdict(metric="forward (ms)", kind="timing", base=10.0, new=10.0, verdict="undecided")
FORWARD = get_measure("forward_ms")

Pairs = list[tuple[Record, Record]]


@pytest.fixture
def record(make_run: Callable[..., Path]) -> Record:
    return read_record(make_run("latte1", 0))


def timed(record: Record, ms: float, minute: int, waited: float | None = None) -> Record:
    forward = replace(record.timing["forward"], median=ms / 1e3, waited_share=waited)
    return replace(record, timing={"forward": forward}, created=f"2026-01-02T03:{minute:02d}:00+00:00")


def turns(record: Record, *times: tuple[float, float], waited: float | None = None) -> Pairs:
    """Base, new, base, new: a minute each."""
    return [
        (timed(record, base, 2 * place), timed(record, new, 2 * place + 1, waited))
        for place, (base, new) in enumerate(times)
    ]


def settled(pairs: Pairs) -> Verdict:
    found = judge_times(SHOWN, FORWARD, pairs)
    return found if isinstance(found, Verdict) else settle_time(found, found.p)


def test_p_and_interval_are_those_of_scipy() -> None:
    question = TimeQuestion(SHOWN, (1.2, 1.3, 1.25, 1.1))
    logs = [math.log(ratio) for ratio in question.ratios]
    expected = stats.ttest_1samp(logs, 0)
    assert question.p == pytest.approx(expected.pvalue)
    assert question.interval == pytest.approx([math.exp(end) for end in expected.confidence_interval(0.95)])
    assert question.mean == pytest.approx(stats.gmean(question.ratios))


@pytest.mark.parametrize(("ratio", "p"), [(1.0, 1.0), (1.5, 0.0)])
def test_ratios_without_any_spread(ratio: float, p: float) -> None:
    question = TimeQuestion(SHOWN, (ratio, ratio))
    assert (question.p, question.interval) == (p, pytest.approx((ratio, ratio)))


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        (((10, 12), (11, 13), (10, 12.2)), "worse"),
        (((10, 8), (11, 9), (10, 8.1)), "better"),
        (((10, 10.1), (11, 11), (10, 10)), "same"),
        (((10, 10.8), (11, 11.9), (10, 10.8)), "same"),  # beyond noise, within the factor
        (((10, 9), (11, 14), (10, 12)), "undecided"),
        # The machine became half as fast meanwhile, and that falls out of the ratios.
        (((10, 12), (14, 17), (20, 24.2)), "worse"),
    ],
)
def test_verdicts_of_pairs(record: Record, times: tuple[tuple[float, float], ...], expected: str) -> None:
    assert settled(turns(record, *times)).verdict == expected


def test_a_drift_of_the_machine_is_no_difference_between_sides_that_ran_one_after_the_other(record: Record) -> None:
    base, new = ([timed(record, ms, minute) for minute in minutes] for ms, minutes in ((10, (0, 1)), (13, (2, 3))))
    pairs = list(zip(base, new, strict=True))
    assert not in_turn(pairs) and in_turn([pairs[0], (new[1], base[1])])
    found = settled(pairs)
    assert (found.verdict, found.reason) == ("undecided", "not timed in turn, and within a factor of 1.5")


@pytest.mark.parametrize(
    ("factor", "expected"), [(1.45, "undecided"), (1.55, "worse"), (0.7, "undecided"), (0.6, "better")]
)
def test_one_process_a_side_wants_a_larger_factor(record: Record, factor: float, expected: str) -> None:
    found = settled(turns(record, (10, 10 * factor)))
    assert found.verdict == expected
    assert found.reason.startswith("of one process a side, ")


@pytest.mark.parametrize(("waited", "expected"), [(0.04, "worse"), (None, "worse"), (0.36, "undecided")])
def test_a_busy_machine_tells_nothing(record: Record, waited: float | None, expected: str) -> None:
    assert settled(turns(record, (10, 100), waited=waited)).verdict == expected


def test_a_pair_that_was_timed_on_a_busy_machine_is_left_out_beside_others(record: Record) -> None:
    pairs = [*turns(record, (10, 10.1), (10, 10)), (timed(record, 10, 8), timed(record, 90, 9, waited=0.5))]
    found = settled(pairs)
    assert (found.verdict, found.reason) == ("same", "1 pair left out, timed on a busy machine")


def test_what_would_show_alone_may_be_chance_among_several() -> None:
    question = TimeQuestion(SHOWN, (1.2, 1.3, 1.25))
    assert settle_time(question, question.p).verdict == "worse"
    among = settle_time(question, 0.06)
    assert (among.verdict, among.reason) == ("undecided", "beyond noise alone, not as one of several")

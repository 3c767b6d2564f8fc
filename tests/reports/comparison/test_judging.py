"""One verdict a metric: what counts as a difference, and why there may be none. Records are changed in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stbench.records.decisions import decide
from stbench.records.measures import get_measure
from stbench.records.schema import Record
from stbench.records.sections import Memory, MotionScores, Quality, Validation
from stbench.records.store import read_record
from stbench.reports.comparison.judging import judge, settle
from stbench.reports.comparison.verdicts import REGRESSED, Verdict

SPREAD = (97.0, 99.0, 100.0, 101.0, 103.0)


@pytest.fixture
def record(make_run: Callable[..., Path]) -> Record:
    return read_record(make_run("latte1", 0))


def with_quality(record: Record, **changes: Any) -> Record:
    assert isinstance(record.quality, Quality)
    return replace(record, quality=replace(record.quality, **changes))


def with_fvd(record: Record, fvd: float) -> Record:
    return with_quality(record, fvd=fvd)


def with_time(record: Record, ms: float, waited: float | None = None) -> Record:
    forward = replace(record.timing["forward"], median=ms / 1e3, waited_share=waited)
    return replace(record, timing={**record.timing, "forward": forward})


def with_validation(record: Record, loss: float, **changes: Any) -> Record:
    validation = Validation(protocol_hash="v", n_clips=8, draws=2, edges=(0.0, 1.0), loss=loss, buckets=(loss,))
    return replace(record, validation=replace(validation, **changes))


def with_motion(record: Record, score: float) -> Record:
    scores = dict.fromkeys(("direction", "speed", "color", "shape", "all"), score)
    return with_quality(record, motion=MotionScores(n_clips=64, **scores))


def seeds(runs: Sequence[Record]) -> list[Record]:
    return [replace(run, config={**run.config, "seed": seed}) for seed, run in enumerate(runs)]


def verdicts(base: Sequence[Record], new: Sequence[Record]) -> list[Verdict]:
    return settle(judge(seeds(base), seeds(new)))


def verdict(base: Sequence[Record], new: Sequence[Record], metric: str) -> Verdict:
    return next(each for each in verdicts(base, new) if each.metric == metric)


def test_metrics_in_their_order_and_units(record: Record) -> None:
    both = with_motion(with_validation(record, 0.5), 0.8)
    assert [(each.metric, each.kind, each.base, each.new) for each in verdicts([both], [both])] == [
        ("parameters (M)", "exact", pytest.approx(32.48), pytest.approx(32.48)),
        ("GMACs", "exact", 1.5, 1.5),
        ("validation loss", "validation", 0.5, 0.5),
        ("FVD[shapes3d]", "quality", 100.0, 100.0),
        ("KVD[shapes3d]", "quality", 0.25, 0.25),
        ("motion score", "quality", 0.8, 0.8),
        ("forward (ms)", "timing", 10.0, 10.0),
        ("train step (ms)", "timing", 30.0, 30.0),
        ("peak memory (MiB)", "memory", 500.0, 500.0),
    ]


def test_what_neither_side_has_is_left_out(record: Record) -> None:
    bare = replace(record, counts=None, timing={}, memory=None, quality=None)
    assert verdicts([bare], [bare]) == []


def test_a_refusal_on_either_side_is_the_reason(record: Record) -> None:
    refused = with_quality(record, fvd=None, refused="too few clips")
    found = verdict([record], [refused], "FVD[shapes3d]")
    assert (found.base, found.new, found.verdict) == (100.0, None, "not comparable")
    assert found.reason == "NEW did not record it; too few clips"
    both = verdict([refused], [refused], "FVD")
    assert (both.base, both.new, both.reason) == (None, None, "too few clips")


@pytest.mark.parametrize(
    ("factor", "expected"), [(1.2, "worse"), (0.8, "better"), (1.001, "same"), (1.09, "worse"), (1.07, "undecided")]
)
@pytest.mark.parametrize("of", [with_fvd, with_validation])
def test_quality_is_judged_by_the_rule_of_all_verdicts(
    record: Record, of: Callable[[Record, float], Record], factor: float, expected: str
) -> None:
    figures = (90.0, 97.0, 100.0, 103.0, 110.0) if expected == "undecided" else SPREAD
    base, new = ([of(record, scale * figure) for figure in figures] for scale in (1, factor))
    metric = "FVD[shapes3d]" if of is with_fvd else "validation loss"
    found = verdict(base, new, metric)
    arms = [dict(enumerate(scale * figure for figure in figures)) for scale in (1, factor)]
    rule = decide(*arms, measure=get_measure("fvd"))
    assert found.verdict == expected == rule.verdict.replace("equivalent", "same")
    assert found.interval == pytest.approx([1 + end for end in rule.interval])


def test_of_shares_more_is_better_and_the_interval_is_of_the_difference(record: Record) -> None:
    base, new = ([with_motion(record, share + extra) for share in (0.3, 0.31, 0.32, 0.33, 0.34)] for extra in (0, 0.4))
    found = verdict(base, new, "motion score")
    assert (found.verdict, found.interval_of) == ("better", "difference")
    assert found.interval[0] < 0.4 < found.interval[1] < 0.5
    assert verdict(new, base, "motion score").verdict == "worse"


def test_an_estimate_at_or_below_zero_has_no_ratio(record: Record) -> None:
    base, new = ([with_quality(record, kvd=kvd) for kvd in range(start, start + 5)] for start in (-40, 40))
    found = verdict(base, new, "KVD[shapes3d]")
    assert (found.verdict, found.interval, found.ratio) == ("worse", None, None)


def test_one_seed_on_either_side_is_no_verdict_on_quality(record: Record) -> None:
    many = [with_fvd(record, fvd) for fvd in SPREAD]
    single = [with_fvd(record, 500.0), *[with_quality(record, fvd=None)] * 4]
    for base, new in ((many[:1], single[:1]), (many, single), (single, many)):
        found = verdict(base, new, "FVD[shapes3d]")
        assert (found.verdict, found.interval) == ("undecided", None)
        assert found.reason == "5 seeds an arm are needed without a noise card, 4 more than there are"


def test_an_undecided_verdict_says_how_many_seeds_would_decide(record: Record) -> None:
    base, new = ([with_fvd(record, factor * fvd) for fvd in (80, 90, 100, 110, 120)] for factor in (1, 1.15))
    found = verdict(base, new, "FVD[shapes3d]")
    assert found.verdict == "undecided"
    needed = decide(dict(enumerate((80, 90, 100, 110, 120))), dict(enumerate((92, 103.5, 115, 126.5, 138))),
                    measure=get_measure("fvd")).seeds_needed  # fmt: skip
    assert found.reason.endswith(f"about {needed} seeds a side would decide")


def test_other_validation_clips_are_not_comparable(record: Record) -> None:
    base, new = with_validation(record, 0.5), with_validation(record, 0.5, protocol_hash="w", n_clips=16)
    found = verdict([base], [new], "validation loss")
    assert (found.verdict, found.reason) == (
        "not comparable", "the validation losses are of unlike draws or clips: n_clips (8 / 16)",
    )  # fmt: skip


def test_times_of_a_busy_machine_are_not_judged(record: Record) -> None:
    slower = with_time(record, 100.0, 0.36)
    reason = "timed on a busy machine: threads stood 36 % of their time waiting for a processor"
    assert verdict([record], [slower], "forward (ms)").reason == reason
    assert verdict([record], [slower], "forward (ms)").verdict == "undecided"
    assert verdict([slower], [record], "train step (ms)").verdict == "same"


def test_a_seed_that_failed_has_no_say_in_a_figure(record: Record) -> None:
    failed = replace(record, status="oom", reason="out of memory", quality=None)
    found = verdicts([record, record], [record, failed])
    assert (found[0].metric, found[0].base, found[0].new, found[0].verdict) == (
        "runs finished", "2 of 2", "1 of 2", "failed",
    )  # fmt: skip
    assert found[0].reason == "latte1-0: oom, out of memory"
    assert verdict([record, record], [record, failed], "FVD[shapes3d]").new == 100.0


def test_a_figure_that_no_seed_has_on_both_sides(record: Record) -> None:
    bare = replace(record, counts=None)
    assert verdict([record, bare], [bare, record], "GMACs").reason == "no seed has it on both sides"


def test_memory_of_the_device_where_there_is_one(record: Record) -> None:
    on_gpu = replace(record, memory=Memory(peak_allocated_mib=900.0, peak_rss_mib=500.0))
    assert verdict([on_gpu], [on_gpu], "peak memory (MiB)").base == 900.0


def test_detectors_stand_in_the_name(record: Record) -> None:
    other = with_quality(record, detector="i3d", protocol_hash="other")
    names = [each.metric for each in verdicts([record], [other])]
    assert "FVD[i3d] / FVD[shapes3d]" in names and "KVD[i3d] / KVD[shapes3d]" in names


def test_every_test_of_seeds_and_every_test_of_times_is_one_of_several(record: Record) -> None:
    """The same runs, judged as four configurations: p values are four times as large, of each family apart."""
    base, new = [], []
    for seed, fvd in enumerate(SPREAD):
        base.append(replace(with_time(with_fvd(record, fvd), 10.0), created=f"2026-01-02T03:0{seed}:00+00:00"))
        slower = with_time(with_fvd(record, 1.05 * fvd), 12.0 + 0.1 * seed)
        new.append(replace(slower, created=f"2026-01-02T03:0{seed}:30+00:00"))
    judged = judge(seeds(base), seeds(new))
    alone, together = settle(judged), settle(judged * 4)
    for metric in ("FVD[shapes3d]", "forward (ms)"):
        of_one, of_four = (next(v for v in these if v.metric == metric) for these in (alone, together))
        assert of_four.p == pytest.approx(4 * of_one.p)
    assert len(together) == 4 * len(alone)


def test_base_against_base_finds_nothing_at_the_stated_rate_and_as_often_up_as_down(record: Record) -> None:
    """Null calibration, 1,000 draws: of records that differ by noise alone, verdicts are rare and have no side."""
    random = np.random.default_rng(0)

    def side() -> list[Record]:
        runs = []
        for seed in range(5):
            shared, fvd, loss, step = random.standard_normal(4)
            run = with_fvd(record, 100 * np.exp(0.1 * fvd + 0.05 * shared))
            run = with_validation(with_time(run, 10 * np.exp(0.06 * step)), 0.5 * np.exp(0.02 * loss))
            # Base and new take turns, whichever is drawn first.
            runs.append(replace(run, created=f"2026-01-02T0{seed}:00:{random.integers(60):02d}+00:00"))
        return seeds(runs)

    draws, up, down = 1000, 0, 0
    for _ in range(draws):
        found = [each.verdict for each in settle(judge(side(), side()))]
        up, down = up + ("worse" in found), down + ("better" in found)
        assert not {*found} & {*REGRESSED} - {"worse"}
    # Two families at 5 %: 10 % of draws in all, half of them to each side; within three standard deviations.
    assert up + down <= 0.1 * draws + 3 * np.sqrt(draws * 0.1 * 0.9)
    assert abs(up - down) <= 3 * np.sqrt(up + down)
    assert up + down > 0  # a rule that never speaks would pass all of the above

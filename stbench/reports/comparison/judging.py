"""From the runs of a baseline and a candidate to verdicts, one metric after another, each kind in its own way.

Counts are exact. Quality and validation losses are compared under one protocol and beyond the noise of training seeds,
by the rule of `records/decisions.py`. Times and memory are compared under equal conditions. What noise leaves open is
undecided, and no regression.

Several metrics and configurations are several chances of an accident. So `judge` leaves open what needs a test, and
`settle` decides all of a comparison together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from stbench.records import statistics
from stbench.records.decisions import Decision, decide_all
from stbench.records.estimates import Comparison as Arms
from stbench.records.measures import Measure, get_measure
from stbench.records.noise_card import NoiseCard, sigma_for
from stbench.records.schema import Record
from stbench.reports.comparison.conditions import obstacle
from stbench.reports.comparison.times import TimeQuestion, judge_times, settle_time
from stbench.reports.comparison.verdicts import (
    BETTER,
    CHANGED,
    FAILED,
    LARGER,
    NOT_COMPARABLE,
    RUNS_FINISHED,
    SAME,
    SMALLER,
    UNDECIDED,
    WORSE,
    Verdict,
)

# Of the figures that runs have, those that they are compared by: each further one makes all of them find less.
COMPARED = (
    *("params", "gmacs", "validation_loss", "fvd", "kvd", "class_agreement", "motion_all"),
    *("forward_ms", "train_step_ms", "memory_mib"),
)
REFUSABLE = ("fvd", "kvd")  # where `Quality.refused` says why there is none

Pairs = Sequence[tuple[Record, Record]]


@dataclass(frozen=True)
class SeedQuestion:
    """A verdict on a figure of quality that waits for the test between training seeds.

    Attributes:
        shown: what is known of it, undecided.
        arms: what is to be tested.
    """

    shown: Verdict
    arms: Arms


Judged = Verdict | SeedQuestion | TimeQuestion


def judge(base: Sequence[Record], new: Sequence[Record], cards: Sequence[NoiseCard] = ()) -> list[Judged]:
    """Compare runs that belong together, one verdict or question a metric that at least one side has.

    Args:
        base: one run a seed.
        new: the runs of the same seeds, in the same order.
        cards: noise cards, of which those are used that hold for these runs.
    """
    finished = _finished(base, new)
    if not any(record.finished for record in (*base, *new)):
        return [finished] if finished else []  # what neither side brought to its end is not judged by its costs
    pairs = list(zip(base, new, strict=True))
    judged = [_judge_measure(measure, pairs, cards) for measure in map(get_measure, COMPARED)]
    return [each for each in (finished, *judged) if each is not None]


def settle(judged: Sequence[Judged]) -> list[Verdict]:
    """Answer all questions of a comparison: those of quality are one family, those of times another."""
    of_seeds = [each for each in judged if isinstance(each, SeedQuestion)]
    of_times = [each for each in judged if isinstance(each, TimeQuestion)]
    decided = map(_settle_seeds, of_seeds, decide_all([each.arms for each in of_seeds]))
    timed = map(settle_time, of_times, statistics.holm([each.p for each in of_times]))
    return [
        each if isinstance(each, Verdict) else next(decided if isinstance(each, SeedQuestion) else timed)
        for each in judged
    ]


def _finished(base: Sequence[Record], new: Sequence[Record]) -> Verdict | None:
    """Compare how many runs finished; nothing to say where all did."""
    unfinished = [record for record in (*base, *new) if not record.finished]
    if not unfinished:
        return None
    in_base, in_new = (sum(record.finished for record in side) for side in (base, new))
    return Verdict(
        metric=RUNS_FINISHED,
        kind="runs",
        base=f"{in_base} of {len(base)}",
        new=f"{in_new} of {len(new)}",
        verdict=NOT_COMPARABLE if in_base == in_new else FAILED if in_new < in_base else BETTER,
        reason="; ".join(f"{record.run_id}: {record.status}, {record.reason}" for record in unfinished),
    )


def _judge_measure(measure: Measure, pairs: Pairs, cards: Sequence[NoiseCard]) -> Judged | None:
    """Compare one figure; a run that failed before the figure was taken has no say in it."""
    base, new = (_by_seed(measure, [pair[side] for pair in pairs]) for side in (0, 1))
    having = [record for pair in pairs for record in pair if measure.of(record) is not None]
    headings = sorted({measure.heading(record) for record in having}) or [measure.title]
    means = [statistics.mean(list(side.values())) if side else None for side in (base, new)]
    shown = Verdict(metric=" / ".join(headings), kind=measure.kind, base=means[0], new=means[1], verdict=UNDECIDED)
    if not base or not new:
        return _absent(shown, measure, pairs)
    if reason := obstacle(having, measure.kind):
        return replace(shown, verdict=NOT_COMPARABLE, reason=reason)
    both = [pair for pair in pairs if all(measure.of(record) is not None for record in pair)]
    if not both:
        return replace(shown, verdict=NOT_COMPARABLE, reason="no seed has it on both sides")
    if measure.kind == "exact":
        return _exact(shown, measure, both)
    if measure.kind == "timing":
        return judge_times(shown, measure, both)
    if measure.kind == "memory":
        return _without_noise(shown)
    if base.keys() == new.keys() and all(statistics.equal_to_rounding(base[seed], new[seed]) for seed in base):
        return replace(shown, verdict=SAME, reason="equal in every run")
    return SeedQuestion(shown, Arms(base, new, measure, sigma_for(measure, having, cards)))


def _by_seed(measure: Measure, runs: Sequence[Record]) -> dict[int, float]:
    """The figure of each seed; runs that do not name theirs are counted."""
    figures = {record.config.get("seed", place): measure.of(record) for place, record in enumerate(runs)}
    return {seed: value for seed, value in figures.items() if value is not None}


def _absent(shown: Verdict, measure: Measure, pairs: Pairs) -> Verdict | None:
    """The verdict on a metric that a side lacks, or None where neither has it nor says why."""
    lacking = [side for side, value in (("BASE", shown.base), ("NEW", shown.new)) if value is None]
    reasons = [f"{lacking[0]} did not record it"] if len(lacking) == 1 else []
    if measure.name in REFUSABLE:
        qualities = [record.quality for pair in pairs for record in pair if record.quality]
        reasons += sorted({quality.refused for quality in qualities if quality.refused})
    return replace(shown, verdict=NOT_COMPARABLE, reason="; ".join(reasons)) if reasons else None


def _exact(shown: Verdict, measure: Measure, both: Pairs) -> Verdict:
    """Any difference between counts of one configuration is a change."""
    for base, new in both:
        before, after = measure.of(base), measure.of(new)
        if before != after and before is not None and after is not None:
            shown = replace(shown, base=before, new=after, verdict=LARGER if after > before else SMALLER)
            alike = all(one.config_hash == other.config_hash for one, other in both)
            return replace(shown, verdict=CHANGED, reason="in one configuration") if alike else shown
    return replace(shown, verdict=SAME)


def _without_noise(shown: Verdict) -> Verdict:
    """The verdict on peaks of memory, which runs repeat but for a few pages."""
    assert shown.ratio is not None
    if statistics.beyond_factor(1, shown.ratio):
        return replace(shown, verdict=WORSE if shown.ratio > 1 else BETTER)
    return replace(shown, verdict=SAME)


def _settle_seeds(question: SeedQuestion, decision: Decision) -> Verdict:
    """The verdict that training seeds tell."""
    share, interval = question.arms.measure.share, decision.interval
    if interval and not share:  # an effect is a part of the first, a ratio is new over base
        interval = (1 + interval[0], 1 + interval[1]) if question.shown.ratio else None
    # Of an untested comparison, the reason says from how many seeds on there is a test.
    tested, needed = decision.interval is not None, decision.seeds_needed
    price = f"about {needed} seeds a side would decide" if tested and needed else ""
    return replace(
        question.shown,
        verdict=SAME if decision.verdict == "equivalent" else decision.verdict,
        reason="; ".join(filter(None, ["with a noise card" * bool(question.arms.sigma), decision.reason, price])),
        interval=interval,
        interval_of="difference" if share else "ratio",
        level=1 - decision.alpha,
        p=decision.p,
    )

"""Verdicts on one metric after another, between the runs of a baseline and those of a candidate.

Counts are exact. Quality is compared under one protocol and beyond the noise of seeds, times under equal conditions and
beyond the noise of processes, and both beyond a factor. What that noise leaves open is undecided: neither "same", which
holds only where the whole interval of the ratio lies within the factor, nor a regression.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from stbench.records import statistics
from stbench.records.schema import Record, value_at
from stbench.reports.comparison.conditions import obstacle

BETTER, WORSE, SAME, CHANGED = "better", "worse", "same", "changed"
UNDECIDED, NOT_COMPARABLE = "undecided", "not comparable"
LARGER, SMALLER = "larger", "smaller"  # counts of two configurations: a fact about them, no judgement
FAILING = (WORSE, CHANGED)
RUNS_FINISHED = "runs finished"

Section = Literal["quality", "timing", "memory"]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What became of one metric.

    Attributes:
        base: the figure of the baseline, over several runs their mean.
        new: the same of the candidate.
        reason: why there is no verdict, or what it rests on.
        section: of the record, where a test decided.
        ratio_interval: 95 % interval of new over base, where several runs tell it.
        p: of Welch's test; see `correct`.
    """

    metric: str
    base: float | str | None
    new: float | str | None
    verdict: str
    reason: str = ""
    section: Section | None = None
    ratio_interval: tuple[float, float] | None = None
    p: float | None = None

    @property
    def ratio(self) -> float | None:
        """New over base, where both are positive numbers."""
        if isinstance(self.base, str) or isinstance(self.new, str) or not self.base or not self.new:
            return None
        return self.new / self.base if self.base > 0 and self.new > 0 else None


@dataclass(frozen=True)
class Metric:
    """A figure of which less is better."""

    title: str
    section: Section
    field: str  # in that section of a record
    scale: float = 1.0  # from the record's unit to the title's

    def of(self, runs: Sequence[Record]) -> list[float]:
        """The figure of every run that has it."""
        found = [value_at(record, f"{self.section}.{self.field}") for record in runs]
        return [self.scale * value for value in found if value is not None]

    def waited(self, record: Record) -> float | None:
        """How long the threads waited for a processor while a time was taken; None of other figures."""
        step = self.field.split(".")[0]
        return record.timing[step].waited_share if self.section == "timing" else None


def judge(base: Sequence[Record], new: Sequence[Record]) -> list[Verdict]:
    """Compare runs that belong together, one verdict a metric that at least one side has.

    Args:
        base: one run a seed.
        new: the runs of the same seeds, in the same order.
    """
    finished = _finished(base, new)
    if not any(record.finished for record in (*base, *new)):
        return [finished] if finished else []  # what neither side brought to its end is not judged by its costs
    detectors = "/".join(sorted({record.detector for record in (*base, *new) if record.detector}))
    # Peak memory is the device's where both sides have one, else the process's.
    on_device = all(Metric("", "memory", "peak_allocated_mib").of(side) for side in (base, new))
    peak, peak_field = ("allocated", "peak_allocated_mib") if on_device else ("RSS", "peak_rss_mib")
    measured = (
        Metric(f"FVD[{detectors}]", "quality", "fvd"),
        Metric(f"KVD[{detectors}]", "quality", "kvd"),
        Metric("forward (ms)", "timing", "forward.median", scale=1e3),
        Metric("train step (ms)", "timing", "train_step.median", scale=1e3),
        Metric(f"peak {peak} (MiB)", "memory", peak_field),
    )
    verdicts = [
        finished,
        _count("parameters", "counts.params_total", base, new),
        _count("GMACs", "counts.gmacs", base, new),
        *(_measured(metric, base, new) for metric in measured),
    ]
    return [verdict for verdict in verdicts if verdict is not None]


def _finished(base: Sequence[Record], new: Sequence[Record]) -> Verdict | None:
    """Compare how many runs finished; nothing to say where all did."""
    unfinished = [record for record in (*base, *new) if not record.finished]
    if not unfinished:
        return None
    in_base, in_new = (sum(record.finished for record in side) for side in (base, new))
    return Verdict(
        metric=RUNS_FINISHED,
        base=f"{in_base} of {len(base)}",
        new=f"{in_new} of {len(new)}",
        verdict=NOT_COMPARABLE if in_base == in_new else WORSE if in_new < in_base else BETTER,
        reason="; ".join(f"{record.run_id}: {record.status}, {record.reason}" for record in unfinished),
    )


def _count(title: str, path: str, base: Sequence[Record], new: Sequence[Record]) -> Verdict | None:
    """Compare exact figures, run by run: any difference between runs of one configuration is a change."""
    in_base, in_new = ([value_at(record, path) for record in side] for side in (base, new))
    first_base, first_new = (next((value for value in side if value is not None), None) for side in (in_base, in_new))
    if first_base is None or first_new is None:
        return _absent(title, first_base, first_new)
    pairs = [pair for pair in zip(in_base, in_new, strict=True) if None not in pair]
    before, after = next((pair for pair in pairs if pair[0] != pair[1]), (first_base, first_new))
    if before == after:
        return Verdict(metric=title, base=before, new=after, verdict=SAME)
    if all(one.config_hash == other.config_hash for one, other in zip(base, new, strict=True)):
        return Verdict(metric=title, base=before, new=after, verdict=CHANGED, reason="in one configuration")
    return Verdict(metric=title, base=before, new=after, verdict=LARGER if after > before else SMALLER)


def _measured(metric: Metric, base: Sequence[Record], new: Sequence[Record]) -> Verdict | None:
    """Compare what varies from run to run; a run that failed before the figure was taken has no say in it."""
    had = [[record for record in side if metric.of([record])] for side in (base, new)]
    in_base, in_new = (statistics.mean(metric.of(side)) if side else None for side in had)
    if in_base is None or in_new is None:
        refusals = {run.quality.refused for run in (*base, *new) if run.quality and run.quality.refused}
        return _absent(metric.title, in_base, in_new, sorted(refusals) if metric.section == "quality" else [])
    everything = [*had[0], *had[1]]
    calm = [[record for record in side if not statistics.under_load(metric.waited(record))] for side in had]
    undecided = Verdict(metric=metric.title, base=in_base, new=in_new, verdict=UNDECIDED, section=metric.section)
    if reason := obstacle(everything, metric.section):
        return replace(undecided, verdict=NOT_COMPARABLE, reason=reason)
    if not all(calm):
        longest = max(metric.waited(record) or 0.0 for record in everything)
        return replace(undecided, reason=f"timed on a busy machine: {statistics.waiting(longest)}")
    verdict = _decided(metric, metric.of(calm[0]), metric.of(calm[1]))
    left_out = len(everything) - len(calm[0]) - len(calm[1])
    remarks = [f"{left_out} left out, timed on a busy machine"] if left_out else []
    return replace(verdict, reason="; ".join([*remarks, *filter(None, [verdict.reason])]))


def _decided(metric: Metric, in_base: Sequence[float], in_new: Sequence[float]) -> Verdict:
    """The verdict on figures that may be compared, one a run, those of the same seed in the same place."""
    base, new = statistics.mean(in_base), statistics.mean(in_new)
    shown = Verdict(
        metric=metric.title, base=base, new=new, verdict=WORSE if new > base else BETTER, section=metric.section
    )
    # An unbiased estimate may be zero or less, where a factor means nothing.
    beyond = min(base, new) <= 0 or statistics.beyond_factor(base, new)
    if metric.section == "memory":  # which has no noise
        return shown if beyond else replace(shown, verdict=SAME)
    if len(in_base) == len(in_new) and all(map(statistics.equal_to_rounding, in_base, in_new)):
        return replace(shown, verdict=SAME, reason="equal in every run")
    if min(len(in_base), len(in_new)) < 2:
        return _of_one_run(shown)
    contrast = statistics.contrast(in_base, in_new)
    low, high = contrast.ratio_interval or (0.0, math.inf)
    if not beyond or contrast.p >= statistics.ALPHA:
        within = low > 1 / statistics.FACTOR and high < statistics.FACTOR
        shown = replace(shown, verdict=SAME if within else UNDECIDED)
    return replace(shown, ratio_interval=contrast.ratio_interval, p=contrast.p)


def _of_one_run(shown: Verdict) -> Verdict:
    """The verdict where a side has a single run, whose noise nobody knows."""
    if shown.section == "quality":
        return replace(shown, verdict=UNDECIDED, reason="one seed tells nothing of the noise between seeds")
    factor = statistics.ONE_PROCESS_FACTOR
    if shown.ratio and statistics.beyond_factor(1, shown.ratio, factor):
        return replace(shown, reason=f"of one process, but beyond a factor of {factor}")
    return replace(shown, verdict=UNDECIDED, reason=f"of one process, and within a factor of {factor}")


def _absent(title: str, base: float | None, new: float | None, refused: Sequence[str] = ()) -> Verdict | None:
    """Return the verdict on a metric that a side lacks, or None where neither has it nor says why."""
    unrecorded = [f"{'BASE' if base is None else 'NEW'} did not record it"] if (base, new) != (None, None) else []
    reasons = [*unrecorded, *refused]
    if not reasons:
        return None
    return Verdict(metric=title, base=base, new=new, verdict=NOT_COMPARABLE, reason="; ".join(reasons))


def correct(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """Correct the p values of a whole comparison for being several (Holm), those of quality and of times apart.

    A difference that was beyond noise alone may then be undecided: of twenty figures that did not change, one is beyond
    p < 0.05 on average.
    """
    corrected = list(verdicts)
    for section in ("quality", "timing"):
        tested = [
            (place, each.p) for place, each in enumerate(verdicts) if each.section == section and each.p is not None
        ]
        for (place, _), p in zip(tested, statistics.holm([p for _, p in tested]), strict=True):
            verdict = replace(verdicts[place], p=p)
            if verdict.verdict in (BETTER, WORSE) and p >= statistics.ALPHA:
                verdict = replace(verdict, verdict=UNDECIDED, reason=f"beyond noise alone, not as one of {len(tested)}")
            corrected[place] = verdict
    return corrected

"""Times of a baseline and a candidate: ratios of runs that were taken in turn.

The samples of one process tell nothing of another, and a machine drifts from hour to hour. So a run counts as one
figure, and runs are compared in pairs, where base and new took turns: what drifts slowly falls out of their ratio.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from stbench.records import statistics
from stbench.records.measures import Measure
from stbench.records.schema import Record
from stbench.records.statistics import ALPHA, CONFIDENCE, FACTOR, ONE_PROCESS_FACTOR
from stbench.reports.comparison.verdicts import BETTER, SAME, UNDECIDED, WORSE, Verdict


@dataclass(frozen=True)
class TimeQuestion:
    """A verdict on a time that waits for the test of its ratios.

    Attributes:
        shown: what is known of it, undecided.
        ratios: new over base, one a pair of runs.
    """

    shown: Verdict
    ratios: tuple[float, ...]

    @property
    def mean(self) -> float:
        """The geometric mean."""
        return math.exp(float(np.log(self.ratios).mean()))

    @property
    def p(self) -> float:
        """Of a ratio of 1: Student's t test of their logarithms, two-sided."""
        logs = np.log(self.ratios)
        if np.ptp(logs) == 0:
            return float(logs[0] == 0)
        return float(stats.ttest_1samp(logs, 0).pvalue)

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the ratio."""
        logs = np.log(self.ratios)
        half = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(logs) - 1)) * float(logs.std(ddof=1)) / math.sqrt(len(logs))
        return self.mean * math.exp(-half), self.mean * math.exp(half)


def judge_times(shown: Verdict, measure: Measure, pairs: Sequence[tuple[Record, Record]]) -> Verdict | TimeQuestion:
    """The verdict on a time, or what is to be tested for it.

    Args:
        shown: what is known of it, undecided.
        measure: whose kind is "timing".
        pairs: runs of base and new that both have it.
    """
    calm = [pair for pair in pairs if not any(statistics.under_load(_waited(measure, record)) for record in pair)]
    if not calm:
        longest = max(_waited(measure, record) or 0.0 for pair in pairs for record in pair)
        return replace(shown, reason=f"timed on a busy machine: {statistics.waiting(longest)}")
    base, new = ([_time(measure, pair[side]) for pair in calm] for side in (0, 1))
    shown = replace(shown, base=statistics.mean(base), new=statistics.mean(new))
    if left_out := len(pairs) - len(calm):
        shown = replace(shown, reason=f"{left_out} pair{'s' * (left_out > 1)} left out, timed on a busy machine")
    if all(map(statistics.equal_to_rounding, base, new)):
        return replace(shown, verdict=SAME, reason=shown.reason or "equal in every run")
    question = TimeQuestion(shown, tuple(after / before for before, after in zip(base, new, strict=True)))
    if len(calm) > 1 and in_turn(calm):
        return question
    return _of_one_process(shown, question.mean, "of one process a side" if len(calm) == 1 else "not timed in turn")


def in_turn(pairs: Sequence[tuple[Record, Record]]) -> bool:
    """Whether neither side came whole before the other: a drift of the machine would then look like a difference."""
    base, new = ([pair[side].created for pair in pairs] for side in (0, 1))
    return min(new) < max(base) and min(base) < max(new)


def settle_time(question: TimeQuestion, p: float) -> Verdict:
    """The verdict that pairs of runs tell; `p` is theirs, corrected for being one of several."""
    low, high = question.interval
    found = replace(question.shown, interval=(low, high), p=p)
    if not statistics.beyond_factor(1, question.mean):
        return replace(found, verdict=SAME) if low > 1 / FACTOR and high < FACTOR else found
    if p < ALPHA:
        return replace(found, verdict=WORSE if question.mean > 1 else BETTER)
    return replace(found, reason="beyond noise alone, not as one of several") if question.p < ALPHA else found


def _of_one_process(shown: Verdict, ratio: float, why: str) -> Verdict:
    """The verdict where nobody knows how much one process differs from the next."""
    if statistics.beyond_factor(1, ratio, ONE_PROCESS_FACTOR):
        reason = f"{why}, but beyond a factor of {ONE_PROCESS_FACTOR}"
        return replace(shown, verdict=WORSE if ratio > 1 else BETTER, reason=reason)
    return replace(shown, verdict=UNDECIDED, reason=f"{why}, and within a factor of {ONE_PROCESS_FACTOR}")


def _time(measure: Measure, record: Record) -> float:
    value = measure.of(record)
    assert value is not None
    return value


def _waited(measure: Measure, record: Record) -> float | None:
    """How long the threads waited for a processor while the time was taken."""
    return record.timing[measure.path.split(".")[1]].waited_share

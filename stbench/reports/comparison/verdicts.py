"""What a verdict of a comparison is, and which there are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from stbench.records.measures import Kind
from stbench.records.statistics import CONFIDENCE

BETTER, WORSE, SAME = "better", "worse", "same"
CHANGED = "changed"  # what must be equal is not
LARGER, SMALLER = "larger", "smaller"  # counts of two configurations: a fact about them, no judgement
UNDECIDED, NOT_COMPARABLE, FAILED = "undecided", "not comparable", "failed"
REGRESSED = (WORSE, CHANGED)
DIFFERENT = (FAILED, WORSE, CHANGED, BETTER)
RUNS_FINISHED = "runs finished"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What became of one metric.

    Attributes:
        kind: how it was judged; "runs" is of how many finished.
        base: the figure of the baseline, over several runs their mean.
        new: the same of the candidate.
        reason: why there is no verdict, or what it rests on.
        interval: where several runs tell it.
        interval_of: "ratio", of new over base, or "difference", of shares in points.
        level: of the interval; more than 0.95 where it is one of several.
        p: of no difference, corrected for all that were tested with it.
    """

    metric: str
    kind: Kind | Literal["runs"]
    base: float | str | None
    new: float | str | None
    verdict: str
    reason: str = ""
    interval: tuple[float, float] | None = None
    interval_of: Literal["ratio", "difference"] = "ratio"
    level: float = CONFIDENCE
    p: float | None = None

    @property
    def ratio(self) -> float | None:
        """New over base, where both are positive numbers."""
        if isinstance(self.base, str) or isinstance(self.new, str) or not self.base or not self.new:
            return None
        return self.new / self.base if self.base > 0 and self.new > 0 else None

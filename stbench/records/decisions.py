"""Which of two arms is better: the one rule that every verdict between arms follows.

Only the spread between training seeds decides; `estimates` has the tests. Each comparison has one interval, at the
level that it is tested at, and the verdict is read off it:

- equivalent: the whole interval lies within the margin (two one-sided tests), also where it leaves out zero;
- better, worse: it leaves out zero;
- undecided: all else.

So a comparison of equal arms ends in better or worse with a probability of at most `alpha`, and one of arms that are a
margin apart in equivalent with at most half of that. docs/verdicts.md has both as measured, and the power.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from stbench.records.estimates import Comparison, Estimate, PooledSigma, Untested, estimate
from stbench.records.measures import Measure
from stbench.records.statistics import ALPHA, FACTOR, holm

VerdictName = Literal["better", "worse", "equivalent", "undecided"]
MARGIN = FACTOR - 1  # a difference that nobody minds, unless another is stated


@dataclass(frozen=True, kw_only=True)
class Decision:
    """A verdict of the second arm against the first.

    Attributes:
        effect: the second's figure over the first's, less 1; of a share the difference, in points. None where an arm
            has no figure.
        interval: of the effect, at the level 1 - `alpha`; None where there was no test.
        alpha: what this comparison was tested at: the family's, corrected for several, and for several looks.
        p: two-sided, of no difference, corrected for several (Holm).
        p_alone: the same of this comparison alone.
        n: seeds an arm, of the arm that has fewer; where they are paired, pairs.
        paired: whether equal seeds were held against each other.
        correlation: of equal seeds of both arms as seen here; None for fewer than three.
        detectable: the smallest effect that these seeds would have found with a power of 0.8.
        seeds_needed: seeds an arm that would decide an undecided comparison with a power of 0.8, if the effect is what
            it seems; None where it is decided, not known, or more than 1000.
        reason: why it is undecided, or what was not as planned.
    """

    verdict: VerdictName
    effect: float | None
    interval: tuple[float, float] | None = None
    alpha: float
    p: float | None = None
    p_alone: float | None = None
    n: int
    paired: bool = False
    correlation: float | None = None
    detectable: float | None = None
    seeds_needed: int | None = None
    reason: str = ""


def decide(
    first: Mapping[int, float],
    second: Mapping[int, float],
    *,
    measure: Measure,
    sigma: PooledSigma | None = None,
    margin: float = MARGIN,
    alpha: float = ALPHA,
) -> Decision:
    """Judge the second arm against the first.

    Args:
        first: the figure of each training seed.
        second: the same of the other arm.
        measure: what is compared, and how.
        sigma: from a noise card that was measured under the same conditions.
        margin: the largest effect that still counts as none: relative, of a share in points.
        alpha: largest probability of a false verdict.
    """
    return decide_all([Comparison(first, second, measure, sigma)], margin=margin, alpha=alpha)[0]


def decide_all(
    comparisons: Sequence[Comparison],
    *,
    margin: float = MARGIN,
    alpha: float = ALPHA,
    level: Callable[[float], float] = lambda share: share,
) -> list[Decision]:
    """Judge a family of comparisons, in which any false verdict has a probability of at most `alpha` (Holm 1979).

    The smallest p of m is held against alpha / m, the next against alpha / (m - 1), and so on until one is not small
    enough: that one and the rest have the last of these levels. Each interval is at its comparison's own level.

    Args:
        comparisons: the family, fixed beforehand: what cannot be tested yet counts as well.
        margin: as of `decide`.
        alpha: of the whole family.
        level: what a test has left of its share of alpha where it is one of several looks; see `sequential`.
    """
    estimates = [estimate(each, alpha) for each in comparisons]
    p_alone = [1.0 if isinstance(each, Untested) else each.p for each in estimates]
    corrected, levels = holm(p_alone), _levels(p_alone, alpha, level)
    return [
        untested(comparison, found, own) if isinstance(found, Untested) else _tested(comparison, found, margin, own, p)
        for comparison, found, own, p in zip(comparisons, estimates, levels, corrected, strict=True)
    ]


def _levels(p_values: Sequence[float], alpha: float, level: Callable[[float], float]) -> list[float]:
    """What each p value is held against, by Holm's procedure."""
    levels, left, own, stopped = [alpha] * len(p_values), len(p_values), alpha, False
    for index in np.argsort(p_values, kind="stable"):
        if not stopped:
            own = level(alpha / left)
            stopped, left = bool(p_values[index] >= own), left - 1
        levels[index] = own
    return levels


def _tested(comparison: Comparison, found: Estimate, margin: float, alpha: float, p: float) -> Decision:
    """The verdict that the interval tells, in the measure's own terms."""
    low, high = found.interval(alpha)
    within = math.log1p(margin) if comparison.measure.positive else margin * comparison.unit
    verdict: VerdictName = "undecided"
    if -within < low and high < within:
        verdict = "equivalent"
    elif low > 0 or high < 0:
        verdict = "better" if (high < 0) == comparison.measure.less_is_better else "worse"
    needed, question = None, ""
    if verdict == "undecided":
        needed = _seeds_needed(found, within, alpha)
        question = "the interval leaves open which is better, and whether it matters"
    return Decision(
        verdict=verdict,
        effect=_shown(comparison, found.difference),
        interval=(_shown(comparison, low), _shown(comparison, high)),
        alpha=alpha,
        p=p,
        p_alone=found.p,
        n=found.n,
        paired=found.design.paired,
        correlation=found.correlation,
        detectable=_shown(comparison, found.design.detectable(found.n, alpha)),
        seeds_needed=needed,
        reason="; ".join(filter(None, [found.remark, question])),
    )


def untested(comparison: Comparison, why: Untested, alpha: float) -> Decision:
    """No verdict, but the effect where there are only too few seeds for one."""
    known = comparison.seeds > 0 and why.seeds_needed is not None
    return Decision(
        verdict="undecided",
        effect=_shown(comparison, comparison.difference) if known else None,
        alpha=alpha,
        n=comparison.seeds,
        seeds_needed=why.seeds_needed,
        reason=why.reason,
    )


def _seeds_needed(found: Estimate, within: float, alpha: float) -> int | None:
    """Seeds an arm that decide either way, should the true effect be what was seen."""
    effect, design = found.difference, found.design
    ways = design.seeds_for(effect, alpha), design.seeds_for_equivalence(effect, within, alpha)
    return min((seeds for seeds in ways if seeds is not None), default=None)


def _shown(comparison: Comparison, difference: float) -> float:
    """A difference on the scale of the test as an effect."""
    return math.expm1(difference) if comparison.measure.positive else difference / comparison.unit

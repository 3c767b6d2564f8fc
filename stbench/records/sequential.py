"""Seeds in rounds, until every comparison is decided: looks whose false verdicts together keep to the stated rate.

Who looks at 3, 4, 5 ... 12 seeds and stops at the first p < 0.05 is wrong in one case of six. So each look has a level
of its own, such that all looks together spend no more than alpha (Lan and DeMets, Biometrika 70, 1983), at the pace of
Pocock's boundary: alpha log(1 + (e - 1) t) by the share t of the seeds that there may be at most. The levels are those
of a normal figure of known variance; p values of t tests are held against them (Jennison and Turnbull 2000, 4.4), which
oversteps by up to a sixth at few seeds, and so a part of alpha is kept back. Intervals at these levels hold over all
looks, so that equivalence, too, may end a comparison. What that comes to was simulated: docs/verdicts.md.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from stbench.records.decisions import MARGIN, Decision, decide_all, untested
from stbench.records.estimates import Comparison, Untested
from stbench.records.statistics import ALPHA

KEPT_BACK = 0.15  # of alpha, for t tests at few seeds
REACH, STEP = 8.0, 0.005  # of the grid that the boundary is computed on, standard deviations


@dataclass(frozen=True)
class SequentialRule:
    """When to look, fixed before the first run.

    Attributes:
        max_seeds: an arm, after which what is undecided stays so.
        first_look: seeds an arm at the first look; a first round of fewer than five needs a noise card.
        round_size: seeds an arm that each further round adds.
    """

    max_seeds: int = 12
    first_look: int = 3
    round_size: int = 1

    @property
    def looks(self) -> tuple[int, ...]:
        """Seeds an arm at each look."""
        return (*range(self.first_look, self.max_seeds, self.round_size), self.max_seeds)

    def level(self, look: int, alpha: float) -> float:
        """What a two-sided p value is held against at a look, so that all looks together are wrong by alpha."""
        return _levels(tuple(seeds / self.max_seeds for seeds in self.looks), (1 - KEPT_BACK) * alpha)[look]


def decide_in_rounds(
    comparisons: Sequence[Comparison], rule: SequentialRule, *, margin: float = MARGIN, alpha: float = ALPHA
) -> list[Decision]:
    """Judge a family at every look that its seeds have reached: the first verdict of a comparison stands.

    All that went before is repeated from the seeds, in their order, so that there is no state to keep.

    Args:
        comparisons: the family, fixed beforehand, with the seeds that there are so far.
        rule: when to look.
        margin: as of `decide`.
        alpha: of the whole family over all looks.
    """
    decisions = [_before(each, rule, alpha) for each in comparisons]
    for look, seeds in enumerate(rule.looks):
        level = functools.partial(rule.level, look)
        unsettled = [place for place, decision in enumerate(decisions) if decision.verdict == "undecided"]
        at_look = [_with_first_seeds(comparisons[place], seeds) for place in unsettled]
        judged = decide_all(at_look, margin=margin, alpha=alpha, level=level)
        for place, decision in zip(unsettled, judged, strict=True):
            if comparisons[place].seeds >= seeds:
                decisions[place] = decision
    return decisions


def next_round(
    comparisons: Sequence[Comparison], decisions: Sequence[Decision], rule: SequentialRule
) -> Mapping[str, int]:
    """How many seeds each arm of an undecided comparison needs for the next look; empty where nothing is left to do."""
    wanted: dict[str, int] = {}
    for comparison, decision in zip(comparisons, decisions, strict=True):
        later = [seeds for seeds in rule.looks if seeds > comparison.seeds]
        if decision.verdict == "undecided" and later:
            wanted |= {name: max(later[0], wanted.get(name, 0)) for name in comparison.names}
    return wanted


def _with_first_seeds(comparison: Comparison, seeds: int) -> Comparison:
    """The comparison when it had so many seeds an arm; none at all where it has not reached them."""
    if comparison.seeds < seeds:
        return replace(comparison, first={}, second={})
    first, second = ({seed: arm[seed] for seed in sorted(arm)[:seeds]} for arm in (comparison.first, comparison.second))
    return replace(comparison, first=first, second=second)


def _before(comparison: Comparison, rule: SequentialRule, alpha: float) -> Decision:
    """What is said where the first look is still to come."""
    return untested(
        comparison, Untested(f"the first look is at {rule.first_look} seeds an arm", rule.first_look), alpha
    )


@functools.lru_cache(maxsize=1024)
def _levels(times: tuple[float, ...], alpha: float) -> tuple[float, ...]:
    """The two-sided level of each look, by the recursion of Armitage, McPherson and Rowe (1969).

    Args:
        times: share of the seeds at each look, rising to 1.
        alpha: that all looks spend together.

    Returns:
        Levels such that Brownian motion B(t) leaves its bounds with the probability that is to be spent by each look.
    """
    at = np.arange(-REACH, REACH + STEP / 2, STEP)
    density, spent, before, levels = np.ones(1) / STEP, 0.0, 0.0, []
    for time in times:
        step = stats.norm.pdf(at, scale=math.sqrt(time - before)) * STEP
        density = np.convolve(density, step, "same" if len(density) > 1 else "full")  # of B(t) where it went on
        left = density[: len(at) // 2]
        outside = 2 * STEP * (np.cumsum(left) - left / 2)  # beyond -x and x
        allowed = alpha * math.log1p((math.e - 1) * time)
        bound = -float(np.interp(allowed - spent, outside, at[: len(left)]))
        levels.append(float(2 * stats.norm.sf(bound / math.sqrt(time))))
        density, spent, before = np.where(np.abs(at) < bound, density, 0.0), allowed, time
    return tuple(levels)

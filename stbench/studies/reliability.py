"""How often verdicts between arms are wrong, and how often they find what is there: on arms whose truth is known.

Figures of training seeds are drawn about known means, log-normal with an sd of 5 %, and a noise card of ten more seeds
where a case has one; `records.decisions` itself judges them. `make reliability` prints the tables of docs/verdicts.md.
"""

from __future__ import annotations

import argparse
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stbench.records.decisions import Decision, decide_all
from stbench.records.estimates import Comparison, PooledSigma
from stbench.records.measures import MEASURES, VALIDATION_LOSS
from stbench.records.sequential import SequentialRule, decide_in_rounds

SD = 0.05  # of the logarithm, over training seeds
CARD_SEEDS = 10
MARGIN = 0.10
EFFECTS = (0.05, 0.10, 0.20)
DRAWS = 1000


@dataclass(frozen=True)
class Case:
    """How arms are compared, and what is true of them.

    Attributes:
        title: in words.
        seeds: an arm; of a sequential rule, at most.
        card: whether a noise card of ten seeds is there.
        correlation: of equal seeds of two arms.
        shown: what the card says that the correlation is at least.
        noisier: the arms' sd over that of the card's.
        of_card: whether the first arm is the card's, with all ten seeds.
        rule: of looks in rounds.
    """

    title: str
    seeds: int
    card: bool = False
    correlation: float = 0.0
    shown: float = 0.0
    noisier: float = 1.0
    of_card: bool = False
    rule: SequentialRule | None = None

    def draw(self, rng: np.random.Generator, effects: Sequence[float]) -> list[Comparison]:
        """Every pair of arms whose means are 1 + these effects, all against one card."""
        first, *others = effects
        shared = rng.normal(scale=math.sqrt(self.correlation), size=CARD_SEEDS + self.seeds)
        arms = [self._arm(rng, first, shared[: CARD_SEEDS if self.of_card else self.seeds])]
        arms += [self._arm(rng, effect, shared[: self.seeds]) for effect in others]
        measured = np.log([*arms[0].values()]) if self.of_card else rng.normal(scale=SD, size=CARD_SEEDS)
        card = PooledSigma(float(measured.std(ddof=1)), CARD_SEEDS - 1, self.shown) if self.card else None
        pairs = itertools.combinations(arms, 2)
        return [Comparison(one, other, MEASURES[VALIDATION_LOSS], card) for one, other in pairs]

    def judge(self, comparisons: Sequence[Comparison], margin: float) -> list[Decision]:
        """The verdicts, at all looks where there are several."""
        if self.rule:
            return decide_in_rounds(comparisons, self.rule, margin=margin)
        return decide_all(comparisons, margin=margin)

    def _arm(self, rng: np.random.Generator, effect: float, shared: NDArray[np.float64]) -> dict[int, float]:
        own = rng.normal(scale=math.sqrt(1 - self.correlation), size=len(shared))
        figures = (1 + effect) * np.exp(SD * self.noisier * (shared + own))
        return {seed: float(figure) for seed, figure in enumerate(figures)}


CASES = (
    Case("noise card, 2 seeds", 2, card=True),
    Case("noise card, 3 seeds", 3, card=True),
    Case("noise card, 5 seeds", 5, card=True),
    Case("noise card of the first arm's own 10 seeds, 3 of the second", 3, card=True, of_card=True),
    Case("no card, 5 seeds", 5),
    Case("no card, 8 seeds", 8),
    Case("pairs, correlation 0.8, 5 seeds", 5, card=True, correlation=0.8, shown=0.6),
    Case("pairs, correlation 0.8, 8 seeds", 8, card=True, correlation=0.8, shown=0.6),
    Case("pairs, but no correlation, 5 seeds", 5, card=True, shown=0.6),
    Case("card of arms with half the noise, 3 seeds", 3, card=True, noisier=2.0),
    Case("card of arms with half the noise, 5 seeds", 5, card=True, noisier=2.0),
)
IN_ROUNDS = (
    Case("noise card, looks at 3 to 12", 12, card=True, rule=SequentialRule(12, 3)),
    Case("no card, looks at 5 to 12", 12, rule=SequentialRule(12, 5)),
    Case("pairs, correlation 0.8, looks at 5 to 12", 12, True, 0.8, 0.6, rule=SequentialRule(12, 5)),
    Case("pairs, but no correlation, looks at 5 to 12", 12, True, 0.0, 0.6, rule=SequentialRule(12, 5)),
)
# Means of four arms, of which all six pairs are judged: all equal; two a margin above; one far off, another a margin.
FAMILIES = {"all equal": (0.0,) * 4, "two and two": (0.0, 0.0, MARGIN, MARGIN), "spread": (0.0, 0.0, MARGIN, 0.5)}


@dataclass(frozen=True)
class Tally:
    """What became of many draws.

    Attributes:
        false: share of draws in which any verdict is false.
        right: share in which all comparisons are decided, and none falsely.
        seeds: mean number an arm.
    """

    false: float
    right: float
    seeds: float


def tally(case: Case, effects: Sequence[float], draws: int = DRAWS, margin: float = MARGIN) -> Tally:
    """Judge all pairs of arms with these effects again and again."""
    rng = np.random.default_rng(0)
    truths = list(itertools.combinations(effects, 2))
    false = right = seeds = 0
    for _ in range(draws):
        decisions = case.judge(case.draw(rng, effects), margin)
        wrong = any(_is_false(each, *truth) for each, truth in zip(decisions, truths, strict=True))
        false += wrong
        right += not wrong and all(each.verdict != "undecided" for each in decisions)
        seeds += max(each.n for each in decisions)
    return Tally(false / draws, right / draws, seeds / draws)


def _is_false(decision: Decision, first: float, second: float) -> bool:
    """Whether a verdict on a figure of which less is better is not so."""
    if decision.verdict == "undecided":
        return False
    if decision.verdict == "equivalent":
        return abs(math.log((1 + second) / (1 + first))) > math.log1p(MARGIN) - 1e-9
    return first == second or (decision.verdict == "better") != (second < first)


def table(cases: Sequence[Case], draws: int) -> Iterator[str]:
    """Markdown: false verdicts where arms are equal (without a margin) or a margin apart, and what is decided rightly.

    Numbers in brackets are mean seeds.
    """
    decided = " | ".join(f"{100 * effect:.0f} % apart: decided" for effect in EFFECTS)
    yield f"| | equal: false | a margin apart: false | equal: decided | {decided} |"
    yield "|---" * (4 + len(EFFECTS)) + "|"
    for case in cases:
        false = [tally(case, (0, 0), draws, margin=0), tally(case, (0, MARGIN), draws)]
        shown = [f"{each.false:.3f}" for each in false]
        shown += [_decided(case, tally(case, (0, effect), draws)) for effect in (0, *EFFECTS)]
        yield f"| {' | '.join([case.title, *shown])} |"


def family_table(draws: int) -> Iterator[str]:
    """Markdown: in how many families of all pairs of four arms any verdict is false."""
    yield f"| any of six verdicts false | {' | '.join(FAMILIES)} |"
    yield "|---" * (1 + len(FAMILIES)) + "|"
    for case in (CASES[1], CASES[4], *IN_ROUNDS[:2]):
        rates = [f"{tally(case, effects, draws).false:.3f}" for effects in FAMILIES.values()]
        yield f"| {' | '.join([case.title, *rates])} |"


def _decided(case: Case, found: Tally) -> str:
    return f"{found.right:.2f}" + (f" ({found.seeds:.1f})" if case.rule else "")


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=DRAWS)
    draws = parser.parse_args().draws
    print(f"sd {SD}, margin {MARGIN}, {draws} draws\n")
    for lines in (table(CASES, draws), table(IN_ROUNDS, draws), family_table(draws)):
        print(*lines, "", sep="\n")


if __name__ == "__main__":
    main()

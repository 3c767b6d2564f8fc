"""Verdicts of all pairs of configurations, in each measure and at each budget that they can be compared at."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations

import pandas as pd

from stbench.records.budgets import TITLES, Budget, at_budget, describe_budgets, shared_budgets, spent
from stbench.records.decisions import MARGIN, Decision, VerdictName, decide_all
from stbench.records.estimates import Comparison
from stbench.records.measures import Measure
from stbench.records.noise_card import NoiseCard, sigma_for
from stbench.records.schema import Record
from stbench.reports.groups import Group, best_of
from stbench.reports.runs import ReportedRuns
from stbench.reports.text import format_number
from stbench.reports.trade_offs import Rivals, heading, rivals_of

MOST_ARMS = 12  # in a matrix: 66 pairs
OTHER_BUDGETS: tuple[Budget, ...] = ("gflops", "seconds")  # at which a figure is read off a run's curve
MIRRORED: dict[VerdictName, VerdictName] = {"better": "worse", "worse": "better"}
IN_WORDS: dict[VerdictName, str] = {
    "better": "is better than",
    "worse": "is worse than",
    "equivalent": "is equivalent to",
    "undecided": "cannot be told from",
}
GROUNDS = ("effect", "interval", "p", "seeds", "seeds needed", "why")
NOTE = (
    "Read along a row: it is better or worse than the column, equivalent (the whole interval lies within "
    f"{100 * MARGIN:.0f} %), or undecided. Only the spread between training seeds decides; the pairs of a matrix are "
    "corrected for being several (Holm). Two budgets give two verdicts."
)


@dataclass(frozen=True)
class Pair:
    """What was decided of two configurations: the first against the second, in a measure that is a ratio."""

    first: str
    second: str
    decision: Decision

    @property
    def mirrored(self) -> Pair:
        """The second against the first."""
        found = self.decision
        interval = (_turned(found.interval[1]), _turned(found.interval[0])) if found.interval else None
        effect = None if found.effect is None else _turned(found.effect)
        verdict = MIRRORED.get(found.verdict, found.verdict)
        return Pair(self.second, self.first, replace(found, verdict=verdict, effect=effect, interval=interval))

    @property
    def cells(self) -> dict[str, str]:
        """The pair as a row of a table."""
        found = self.decision
        return {
            "configuration": self.first,
            "against": self.second,
            "verdict": found.verdict,
            "effect": _percent(found.effect),
            "interval": " to ".join(map(_percent, found.interval or ())),
            "p": "" if found.p is None else f"{found.p:.2g}",
            "seeds": f"{found.n} pairs" if found.paired else f"{found.n} each",
            "smallest effect to be found": _percent(found.detectable),
            "seeds needed": format_number(found.seeds_needed),
            "why": found.reason,
        }

    @property
    def said(self) -> str:
        """The verdict and what it rests on, in words."""
        cells = self.cells
        grounds = [f"{name} {cells[name]}" for name in GROUNDS if cells[name]]
        return f"{self.first} {IN_WORDS[self.decision.verdict]} {self.second}: {'; '.join(grounds)}"


@dataclass(frozen=True)
class Matrix:
    """All pairs of some configurations in one measure at one budget."""

    measure: str
    budget: str
    note: str
    labels: list[str]
    pairs: list[Pair]

    @property
    def title(self) -> str:
        """What it is of."""
        return f"{self.measure[0].upper()}{self.measure[1:]}, {self.budget}"

    def pair(self, row: str, column: str) -> Pair | None:
        """The verdict of a row against a column; None of a configuration against itself."""
        both = (pair for each in self.pairs for pair in (each, each.mirrored))
        return next((pair for pair in both if (pair.first, pair.second) == (row, column)), None)

    def table(self) -> pd.DataFrame:
        """Every pair with what its verdict rests on; what no pair has is left out."""
        frame = pd.DataFrame([pair.cells for pair in self.pairs], dtype=str)
        return frame[[name for name in frame if (frame[name] != "").any()]]


def matrices_of(reported: ReportedRuns) -> list[Matrix]:
    """Return a matrix for each measure, protocol and budget that two configurations or more can be compared at."""
    return [matrix for rivals in rivals_of(reported.groups) for matrix in _matrices(rivals, reported.cards)]


def _matrices(rivals: Rivals, cards: Sequence[NoiseCard]) -> Iterator[Matrix]:
    judged = rivals.judged
    arms, measure = best_of(judged, MOST_ARMS), rivals.measure
    if len(arms) < 2:
        return
    records = [record for arm in arms for record in arm.records if measure.of(record) is not None]
    measured = heading(measure, arms) + rivals.where
    note = f"The {len(arms)} best of {len(judged)} configurations." if len(arms) < len(judged) else ""
    as_trained = Matrix(measured, describe_budgets(records), note, *_decided(arms, measure, measure.of, cards))
    yield as_trained
    tested = any(pair.decision.interval for pair in as_trained.pairs)
    for budget in OTHER_BUDGETS if tested else ():
        amounts = [amount for record in records if (amount := spent(record, budget))]
        if budget in shared_budgets(records) or len(amounts) < len(records):
            continue
        read_off = partial(at_budget, measure=measure, budget=budget, amount=min(amounts))
        if None not in map(read_off, records):
            told = f"Read off each run's curve where it had spent what the cheapest spent in all. {note}"
            decided = _decided(arms, measure, read_off, cards)
            yield Matrix(measured, f"at {TITLES[budget]}", told, *decided)


def _decided(
    arms: Sequence[Group], measure: Measure, figure: Callable[[Record], float | None], cards: Sequence[NoiseCard]
) -> tuple[list[str], list[Pair]]:
    """The labels of these configurations, and what is decided of each pair of them."""
    both = list(combinations(arms, 2))
    comparisons = [
        # A verdict is of the second against the first.
        Comparison(
            column.by_seed(figure),
            row.by_seed(figure),
            measure,
            sigma_for(measure, [*row.records, *column.records], cards),
            (column.label, row.label),
        )
        for row, column in both
    ]
    decisions = decide_all(comparisons)
    pairs = [Pair(row.label, column.label, made) for (row, column), made in zip(both, decisions, strict=True)]
    return [arm.label for arm in arms], pairs


def one_budget_only(matrices: Sequence[Matrix]) -> list[str]:
    """Return a sentence for each pair whose verdict is another at another budget: an advantage under one alone."""
    sentences = []
    for one, other in combinations(matrices, 2):
        for pair in one.pairs if one.measure == other.measure else ():
            also = other.pair(pair.first, pair.second)
            verdicts = {found.decision.verdict for found in (pair, also) if found}
            if len(verdicts) > 1 and verdicts & {"better", "worse"}:
                assert also is not None
                words = IN_WORDS[pair.decision.verdict], IN_WORDS[also.decision.verdict]
                told = f"{pair.first} {words[0]} {pair.second} {one.budget}, and {words[1]} it {other.budget}"
                sentences.append(f"By {one.measure}, {told}.")
    return sentences


def _turned(effect: float) -> float:
    """A relative effect seen from the other side."""
    return 1 / (1 + effect) - 1


def _percent(effect: float | None) -> str:
    return "" if effect is None else f"{100 * effect:+.1f} %"

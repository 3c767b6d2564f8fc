"""What runs at several learning rates say: which rate is best for an arm, and whether an order of arms holds at others.

Rankings of small networks turn over with the learning rate (arXiv 2512.24503). So the rate of an arm is chosen from the
same grid as every other's, and an order counts only as long as no other rate near the chosen ones turns it over.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from stbench.records.budgets import spent
from stbench.records.decisions import MARGIN, Decision, decide_all
from stbench.records.estimates import Comparison, PooledSigma
from stbench.records.measures import Measure
from stbench.records.noise_card import NoiseCard, sigma_for
from stbench.records.schema import Record, value_at
from stbench.records.statistics import ALPHA, mean

RATE = "train.lr"
NEARBY = (0.5, 1.0, 2.0)  # times each arm's chosen rate: where its order with another is asked for
SAME_RATE = 1e-6  # largest relative difference of rates that are called equal

Answer = Literal["holds", "depends on the learning rate", "same order, not decided", "open", "not asked"]
RunsAtRate = Mapping[float, Sequence[Record]]


@dataclass(frozen=True, kw_only=True)
class TuningCurve:
    """One arm at several learning rates, over the seeds that all of these rates were run with.

    Attributes:
        points: rates, rising, and the mean figure at each.
        failed: rates at which no run finished with a figure.
        gflops: that all of these runs spent on training; None where it is not known.
        less_is_better: of the figure.
    """

    points: tuple[tuple[float, float], ...]
    failed: tuple[float, ...]
    gflops: float | None
    less_is_better: bool

    @property
    def best(self) -> float:
        """The rate of the best figure."""
        return (min if self.less_is_better else max)(self.points, key=lambda point: point[1])[0]

    @property
    def on_edge(self) -> bool:
        """Whether the best is the smallest or the largest rate that was tried, so that a better one may lie beyond.

        A rate beyond the largest at which every run failed is no edge that one could move.
        """
        smallest, largest = self.points[0][0], self.points[-1][0]
        return self.best == smallest or (self.best == largest and not any(rate > largest for rate in self.failed))


@dataclass(frozen=True, kw_only=True)
class OrderCheck:
    """Whether the second arm stands to the first at half and at twice the learning rate as it does at the chosen one.

    Attributes:
        decisions: of the second against the first, by the factor on both arms' chosen rates.
        answer: "holds" where all decide alike; "depends on the learning rate" where one decides the other way.
    """

    decisions: Mapping[float, Decision]
    answer: Answer


def by_rate(records: Iterable[Record]) -> list[dict[float, list[Record]]]:
    """Group records by arm, which is everything but seed and learning rate, and within one by learning rate."""
    arms: dict[str, dict[float, list[Record]]] = {}
    for record in records:
        rate = value_at(record.config, RATE)
        if rate is not None:
            arms.setdefault(_but_rate(record.config), {}).setdefault(float(rate), []).append(record)
    return [dict(sorted(rates.items())) for rates in arms.values()]


def tuning_curve(runs: RunsAtRate, measure: Measure) -> TuningCurve | None:
    """The figure of one arm by learning rate; None for fewer than two rates with a figure."""
    figures = {rate: _by_seed(records, measure) for rate, records in runs.items()}
    found = {rate: seeds for rate, seeds in figures.items() if seeds}
    if len(found) < 2 or measure.less_is_better is None:
        return None
    shared = set.intersection(*(set(seeds) for seeds in found.values()))
    spendings = [spent(record, "gflops") for records in runs.values() for record in records]
    known = [amount for amount in spendings if amount is not None]
    return TuningCurve(
        points=tuple((rate, mean([seeds[seed] for seed in shared or seeds])) for rate, seeds in sorted(found.items())),
        failed=tuple(sorted(rate for rate, seeds in figures.items() if not seeds)),
        gflops=math.fsum(known) if len(known) == len(spendings) else None,
        less_is_better=measure.less_is_better,
    )


def check_order(
    first: RunsAtRate,
    second: RunsAtRate,
    measure: Measure,
    *,
    sigma: PooledSigma | None = None,
    margin: float = MARGIN,
    alpha: float = ALPHA,
) -> OrderCheck:
    """Judge the second arm against the first at the rates that were chosen, at half of them and at twice.

    An arm's chosen rate is the one with the most seeds, of several the one with the best figure. The rates are one
    family of comparisons.
    """
    sides = {factor: (_nearby(first, measure, factor), _nearby(second, measure, factor)) for factor in NEARBY}
    asked = {factor: both for factor, both in sides.items() if all(both)}
    comparisons = [Comparison(own, other, measure, sigma) for own, other in asked.values()]
    decisions = dict(zip(asked, decide_all(comparisons, margin=margin, alpha=alpha), strict=True))
    return OrderCheck(decisions=decisions, answer=_answer(decisions))


def check_orders(
    arms: Mapping[str, RunsAtRate], measure: Measure, cards: Sequence[NoiseCard] = (), margin: float = MARGIN
) -> dict[tuple[str, str], OrderCheck]:
    """Judge each arm against each earlier one, where both were run at half and at twice their chosen rates.

    Args:
        arms: by their names.
        measure: what they are compared by.
        cards: noise cards, of which those are used that hold for an arm's runs.
        margin: see `decide`.
    """
    found: dict[tuple[str, str], OrderCheck] = {}
    asked = {name: runs for name, runs in arms.items() if all(map(partial(_nearby, runs, measure), NEARBY))}
    for (first, own), (second, others) in itertools.combinations(asked.items(), 2):
        runs = [record for rates in (own, others) for records in rates.values() for record in records]
        judged = [record for record in runs if measure.of(record) is not None]
        if len({measure.condition(record) for record in judged}) == 1:
            sigma = sigma_for(measure, judged, cards)
            found[first, second] = check_order(own, others, measure, sigma=sigma, margin=margin)
    return found


def _answer(decisions: Mapping[float, Decision]) -> Answer:
    own = decisions.get(1.0)
    others = [decision for factor, decision in decisions.items() if factor != 1.0]
    if own is None or len(others) + 1 < len(NEARBY):
        return "not asked"
    opposite = {"better": "worse", "worse": "better"}.get(own.verdict)
    if any(each.verdict == opposite for each in others):
        return "depends on the learning rate"
    if own.verdict != "undecided" and all(each.verdict == own.verdict for each in others):
        return "holds"
    same = own.effect is not None and all(each.effect is not None and each.effect * own.effect > 0 for each in others)
    return "same order, not decided" if same else "open"


def _chosen(runs: RunsAtRate, measure: Measure) -> float:
    """The rate that an arm is compared at."""
    sign = 1 if measure.less_is_better else -1

    def rank(rate: float) -> tuple[int, float]:
        figures = _by_seed(runs[rate], measure)
        return -len(figures), sign * mean(list(figures.values())) if figures else math.inf

    return min(runs, key=rank)


def _nearby(runs: RunsAtRate, measure: Measure, factor: float) -> dict[int, float]:
    """The figures at so many times the rate that the arm is compared at."""
    wanted = factor * _chosen(runs, measure)
    at_rate = (records for rate, records in runs.items() if math.isclose(rate, wanted, rel_tol=SAME_RATE))
    return _by_seed(next(at_rate, ()), measure)


def _by_seed(records: Iterable[Record], measure: Measure) -> dict[int, float]:
    """The figure of every finished run by its seed."""
    figures = ((record.config.get("seed"), measure.of(record)) for record in records if record.finished)
    return {seed: figure for seed, figure in figures if seed is not None and figure is not None}


def _but_rate(config: dict[str, Any]) -> str:
    """A configuration without its seed and its learning rate, as one text."""
    train = {name: value for name, value in config["train"].items() if name != "lr"}
    others = {name: value for name, value in config.items() if name != "seed"}
    return json.dumps({**others, "train": train}, sort_keys=True)

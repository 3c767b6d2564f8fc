"""Verdicts between all pairs of a sweep's arms: at once, or in rounds of seeds until every pair is decided.

The rules are those of `records/decisions.py` and `records/sequential.py`; here is only which figures they are given.
Imports no torch.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from stbench.errors import StbenchError
from stbench.launch.arms import Arm, with_labels
from stbench.launch.cells import Cell, State
from stbench.records.decisions import MARGIN, Decision, decide_all
from stbench.records.estimates import Comparison
from stbench.records.learning_rates import RATE
from stbench.records.measures import MEASURES, VALIDATION_LOSS, Measure, get_measure
from stbench.records.noise_card import Noise, NoiseCard, sigma_for
from stbench.records.power import Design
from stbench.records.schema import Record, value_at
from stbench.records.sequential import SequentialRule, decide_in_rounds, next_round
from stbench.records.statistics import ALPHA
from stbench.records.store import read_record
from stbench.settings.options import SweepOptions

NOISY = ("quality", "validation")  # kinds of figures that move with the training seed
EFFECTS = (0.05, 0.10, 0.20)  # whose price a plan tells

Runs: TypeAlias = Mapping[Arm, Mapping[int, Record]]
"""The finished runs of each arm by their seeds."""


@dataclass(frozen=True)
class Question:
    """What is asked of every pair of arms.

    Attributes:
        measure: what they are compared by.
        margin: the largest difference that nobody minds.
        rule: when to look, where seeds are added until every pair is decided.
    """

    measure: Measure
    margin: float
    rule: SequentialRule | None


@dataclass(frozen=True)
class Verdicts:
    """What is known of every pair of arms that can be compared; `incomparable` counts those that cannot."""

    comparisons: Sequence[Comparison]
    decisions: Sequence[Decision]
    incomparable: int

    @property
    def undecided(self) -> int:
        """How many pairs are."""
        return sum(decision.verdict == "undecided" for decision in self.decisions)


def question_of(options: SweepOptions, arms: Sequence[Arm]) -> Question:
    """What is asked, fixed before the first run.

    Raises:
        StbenchError: a measure that seeds do not move, or a limit without a use for it.
    """
    measure = get_measure(options.measure or VALIDATION_LOSS)
    if measure.kind not in NOISY:
        names = ", ".join(each.name for each in MEASURES.values() if each.kind in NOISY)
        raise StbenchError(f"--measure {measure.name} needs no verdict over seeds: expected one of {names}")
    margin = MARGIN if options.margin is None else options.margin
    return Question(measure, margin, _rule(options, max(len(arm.seeds) for arm in arms)))


def _rule(options: SweepOptions, seeds: int) -> SequentialRule | None:
    """The looks of `--until decided`: the first at the seeds that were given, where these are several."""
    if options.until is None:
        if options.max_seeds is not None:
            raise StbenchError("--max-seeds is the limit of --until decided, which was not given")
        return None
    usual = SequentialRule()
    first, most = seeds if seeds > 1 else usual.first_look, options.max_seeds or usual.max_seeds
    if first > most:
        raise StbenchError(f"--max-seeds {most}: expected at least {first}, the seeds that every arm begins with")
    return SequentialRule(max_seeds=most, first_look=first)


def finished_runs(states: Mapping[Cell, State]) -> dict[Arm, dict[int, Record]]:
    """The records of the cells that are finished."""
    runs: dict[Arm, dict[int, Record]] = {}
    for cell, state in states.items():
        own = runs.setdefault(cell.arm, {})
        if state.name == "finished":
            own[cell.config.settings.seed] = read_record(cell.folder)
    return runs


def runs_by_rate(states: Mapping[Cell, State]) -> dict[str, dict[float, list[Record]]]:
    """The records of finished cells by their arms, those that differ in their learning rate alone as one, and by it."""
    runs: dict[Arm, dict[float, list[Record]]] = {}
    for cell, state in states.items():
        if state.name == "finished":
            record = read_record(cell.folder)
            of_arm = runs.setdefault(replace(cell.arm.without(RATE), label="", seeds=()), {})
            of_arm.setdefault(float(value_at(record.config, RATE)), []).append(record)
    labelled = with_labels([*runs])
    return {arm.label: rates for arm, rates in zip(labelled, runs.values(), strict=True)}


def judge(question: Question, runs: Runs, cards: Sequence[NoiseCard]) -> Verdicts:
    """Judge every later arm against every earlier one, as one family."""
    pairs = [_comparison(*pair, runs, question.measure, cards) for pair in itertools.combinations(runs, 2)]
    comparisons = [each for each in pairs if each is not None]
    if question.rule is None:
        decisions = decide_all(comparisons, margin=question.margin)
    else:
        decisions = decide_in_rounds(comparisons, question.rule, margin=question.margin)
    return Verdicts(comparisons, decisions, len(pairs) - len(comparisons))


def with_next_round(arms: Sequence[Arm], verdicts: Verdicts, rule: SequentialRule) -> list[Arm]:
    """The arms with the seeds that the undecided pairs need for the next look; the same where there is none."""
    wanted = next_round(verdicts.comparisons, verdicts.decisions, rule)
    return [with_seeds(arm, wanted.get(arm.label, 0)) for arm in arms]


def with_seeds(arm: Arm, number: int) -> Arm:
    """The arm with at least so many seeds: its own, and the next higher ones."""
    more = range(max(arm.seeds) + 1, max(arm.seeds) + 1 + number - len(arm.seeds))
    return replace(arm, seeds=(*arm.seeds, *more))


def price_of(measure: Measure, noise: Noise, effect: float, pairs: int) -> int | None:
    """Seeds an arm that find an effect with a power of 0.8, where so many pairs are judged together.

    It is told for the strictest level of Holm's procedure. None beyond a thousand.

    Args:
        measure: what is compared.
        noise: how far seeds spread in it.
        effect: relative, of a share in points.
        pairs: that are judged together.
    """
    unit = 1.0 if measure.share else abs(noise.mean)
    on_scale = math.log1p(effect) if measure.positive else effect * unit
    return Design(noise.sd, freedom_of_card=noise.freedom).seeds_for(on_scale, ALPHA / max(1, pairs))


def _comparison(first: Arm, second: Arm, runs: Runs, measure: Measure, cards: Sequence[NoiseCard]) -> Comparison | None:
    """Two arms in one measure; None where their figures were not measured alike."""
    one, other = (_figures(measure, runs[arm]) for arm in (first, second))
    records = [*runs[first].values(), *runs[second].values()]
    if len({measure.condition(record) for record in records}) > 1:
        return None
    return Comparison(one, other, measure, sigma_for(measure, records, cards), (first.label, second.label))


def _figures(measure: Measure, records: Mapping[int, Record]) -> dict[int, float]:
    known = {seed: measure.of(record) for seed, record in records.items()}
    return {seed: figure for seed, figure in known.items() if figure is not None}

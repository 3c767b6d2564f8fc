"""Pairs of arms are judged by their records, in rounds of seeds where asked, and a verdict has its price."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from stbench.errors import StbenchError
from stbench.launch.arms import Arm
from stbench.launch.cells import State
from stbench.launch.verdicts import (
    Question,
    Runs,
    judge,
    price_of,
    question_of,
    runs_by_rate,
    with_next_round,
    with_seeds,
)
from stbench.records.decisions import MARGIN
from stbench.records.measures import MEASURES
from stbench.records.noise_card import Noise
from stbench.records.power import Design
from stbench.records.schema import Record
from stbench.records.sequential import SequentialRule
from stbench.settings.options import SweepOptions, Until

from .conftest import MakeCell, record_of, validation_of, write_record

LOSS = MEASURES["validation_loss"]
MakeRecord = Callable[..., Record]


@pytest.fixture
def make_record(make_cell: MakeCell) -> MakeRecord:
    """Makes the record of a run of one seed with a validation loss."""
    base = Record.from_json(record_of(make_cell()))

    def make(loss: float, protocol: str = "p1") -> Record:
        return replace(base, validation=validation_of(loss, protocol))

    return make


def runs_of(make_record: MakeRecord, losses: dict[str, float], seeds: int, protocol: str = "p1") -> dict[Arm, Any]:
    """Arms whose losses spread by a hundredth over their seeds."""
    noise = random.Random(0)
    return {
        Arm(label, (), tuple(range(seeds))): {
            seed: make_record(loss * noise.gauss(1, 0.01), protocol) for seed in range(seeds)
        }
        for label, loss in losses.items()
    }


def test_arms_that_differ_in_their_learning_rate_alone_are_one_at_several(make_cell: MakeCell) -> None:
    words = {"a": "variant=latte1", "b": "variant=dit"}
    states = {}
    for number, (label, word) in enumerate(words.items()):
        for place, rate in enumerate((1e-3, 2e-3)):
            for seed in (0, 1):
                cell = make_cell(seed=seed, steps=10 + 2 * number + place)
                arm = Arm(f"{label} {rate}", (word, f"train.lr={rate}"))
                content = record_of(cell)
                content["config"]["train"]["lr"] = rate
                write_record(cell, content)
                states[replace(cell, arm=arm)] = State("failed" if seed and place else "finished")
    found = runs_by_rate(states)
    assert {label: {rate: len(each) for rate, each in rates.items()} for label, rates in found.items()} == {
        "latte1": {1e-3: 2, 2e-3: 1},
        "dit": {1e-3: 2, 2e-3: 1},
    }


def test_every_pair_is_judged_as_one_family(make_record: MakeRecord) -> None:
    question = question_of(SweepOptions(), [Arm("a", ())])
    runs = runs_of(make_record, {"a": 1.0, "b": 0.5, "c": 1.001}, seeds=6)
    found = judge(question, runs, [])
    named = {each.names: decision.verdict for each, decision in zip(found.comparisons, found.decisions, strict=True)}
    assert named == {("a", "b"): "better", ("a", "c"): "equivalent", ("b", "c"): "worse"}
    assert (found.undecided, found.incomparable) == (0, 0)


def test_figures_that_were_not_measured_alike_are_not_compared(make_record: MakeRecord) -> None:
    runs: Runs = {
        **runs_of(make_record, {"a": 1.0, "b": 0.5}, seeds=6),
        **runs_of(make_record, {"c": 0.5}, seeds=6, protocol="p2"),
    }
    found = judge(question_of(SweepOptions(), [*runs]), runs, [])
    assert [each.names for each in found.comparisons] == [("a", "b")]
    assert found.incomparable == 2


def test_only_undecided_arms_get_another_round(make_record: MakeRecord) -> None:
    rule = SequentialRule(max_seeds=7, first_look=5)
    question = Question(LOSS, margin=1e-6, rule=rule)
    runs = runs_of(make_record, {"a": 1.0, "b": 0.1, "c": 1.0001}, seeds=5)
    found = judge(question, runs, [])
    assert [each.verdict for each in found.decisions] == ["better", "undecided", "worse"]
    more = with_next_round([*runs], found, rule)
    assert [arm.seeds for arm in more] == [(0, 1, 2, 3, 4, 5), (0, 1, 2, 3, 4), (0, 1, 2, 3, 4, 5)]
    last = judge(question, runs_of(make_record, {"a": 1.0, "b": 0.1, "c": 1.0001}, seeds=7), [])
    assert with_next_round([*runs], last, rule) == [*runs], "the limit is reached"


def test_a_seed_that_failed_is_not_replaced(make_record: MakeRecord) -> None:
    rule = SequentialRule(max_seeds=7, first_look=5)
    runs = runs_of(make_record, {"a": 1.0, "c": 1.0001}, seeds=5)
    del runs[Arm("c", (), (0, 1, 2, 3, 4))][2]
    found = judge(Question(LOSS, 1e-6, rule), runs, [])
    assert found.undecided == 1
    assert with_next_round([*runs], found, rule) == [*runs]


def test_an_arm_s_further_seeds_are_the_next_ones() -> None:
    arm = Arm("a", (), (3, 7))
    assert with_seeds(arm, 4).seeds == (3, 7, 8, 9)
    assert with_seeds(arm, 1) == arm


@pytest.mark.parametrize(
    ("options", "seeds", "rule"),
    [
        (SweepOptions(), 3, None),
        (SweepOptions(until=Until.decided), 1, SequentialRule(max_seeds=12, first_look=3)),
        (SweepOptions(until=Until.decided), 4, SequentialRule(max_seeds=12, first_look=4)),
        (SweepOptions(until=Until.decided, max_seeds=6), 1, SequentialRule(max_seeds=6, first_look=3)),
    ],
)
def test_the_looks_are_fixed_by_the_words(options: SweepOptions, seeds: int, rule: SequentialRule | None) -> None:
    assert question_of(options, [Arm("a", ()), Arm("b", (), tuple(range(seeds)))]) == Question(LOSS, MARGIN, rule)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (SweepOptions(measure="fdv"), "unknown measure 'fdv': did you mean 'fvd'"),
        (SweepOptions(measure="params"), "params needs no verdict over seeds: expected one of validation_loss, fvd"),
        (SweepOptions(max_seeds=6), "--max-seeds is the limit of --until decided"),
        (SweepOptions(until=Until.decided, max_seeds=2), "--max-seeds 2: expected at least 3"),
    ],
)
def test_what_cannot_be_asked_is_refused(options: SweepOptions, told: str) -> None:
    with pytest.raises(StbenchError, match=told):
        question_of(options, [Arm("a", ())])


def test_a_price_is_the_seeds_that_find_the_effect() -> None:
    """Relative for a loss, in points for a share; more pairs cost more."""
    noise = Noise(condition="p1", mean=0.4, sd=0.03, freedom=9)
    design, alpha = Design(0.03, freedom_of_card=9), 0.05 / 3
    for effect in (0.05, 0.1):
        seeds = price_of(LOSS, noise, effect, pairs=3)
        assert seeds
        assert design.power(1.0 * effect, seeds, alpha) > 0.79
        assert (price_of(LOSS, noise, effect, pairs=1) or 0) <= seeds
    share = price_of(MEASURES["motion_all"], noise, 0.05, pairs=3)
    assert share == design.seeds_for(0.05, alpha)
    assert price_of(MEASURES["fvd_inf"], noise, 0.05, pairs=3) == design.seeds_for(0.05 * 0.4, alpha)
    assert price_of(LOSS, replace(noise, sd=5.0), 0.05, pairs=3) is None

"""What is missing is named with its log, and each arm has a line with the mean and the spread of its seeds."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from stbench.launch.arms import Arm
from stbench.launch.cells import State, state_of
from stbench.launch.outlook import Outlook
from stbench.launch.terminal import (
    print_across_budgets,
    print_orders,
    print_plan,
    print_price,
    print_sweep,
    print_verdicts,
)
from stbench.launch.verdicts import Question, Verdicts, price_of
from stbench.records.decisions import decide_all
from stbench.records.estimates import Comparison
from stbench.records.learning_rates import NEARBY, OrderCheck
from stbench.records.measures import MEASURES
from stbench.records.noise_card import Noise, NoiseCard, training_of

from .conftest import MakeCell, record_of, write_record


def test_arms_have_their_figures(make_cell: MakeCell, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cells = [make_cell(seed=seed) for seed in range(3)]
    cells = [replace(each, arm=cells[0].arm) for each in cells]
    counts = {"params_total": 0, "params_trainable": 0, "gmacs": 1.5, "gflops": 3.0}
    for cell, params in zip(cells[:2], (1_000_000, 3_000_000), strict=True):
        write_record(cell, record_of(cell, counts=counts | {"params_total": params}))
    write_record(cells[2], record_of(cells[2], "oom"))
    print_sweep({cell: state_of(cell) for cell in cells}, tmp_path)
    assert capsys.readouterr().out.splitlines() == [
        f"missing: latte1, seed 2: failed: oom: the loss is not finite; log: {cells[2].log}",
        "arm     seeds finished  parameters (M)",
        "latte1  2 of 3          2 ± 1.4",
        "figures are compared at unequal budgets",
        f"whole report: stbench report {tmp_path} --out {tmp_path}-report",
    ]


def test_without_a_finished_cell_there_is_no_table(
    make_cell: MakeCell, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cell = make_cell()
    print_sweep({cell: State("new")}, tmp_path)
    assert capsys.readouterr().out == f"missing: latte1, seed 0: new; log: {cell.log}\n"


def test_a_plan_counts_what_is_to_be_run(make_cell: MakeCell, capsys: pytest.CaptureFixture[str]) -> None:
    cells = [make_cell(seed=seed) for seed in range(4)]
    first, second = replace(cells[0].arm, seeds=(0, 1)), Arm("latte2", (), (0, 1))
    cells = [replace(each, arm=arm) for each, arm in zip(cells, (first, first, second, second), strict=True)]
    names: list[Any] = ["finished", "new", "failed", "interrupted"]
    states = {cell: State(name) for cell, name in zip(cells, names, strict=True)}
    outlooks = {first: Outlook(100.0, "measured", 500.4, "measured"), second: Outlook(20.0, "at least", 99, "at least")}
    print_plan(states, outlooks, jobs=2, retry=False)
    print_plan(states, {**outlooks, second: replace(outlooks[second], seconds=None)}, jobs=1, retry=True)
    told = capsys.readouterr().out.splitlines()
    assert told[:4] == [
        "arm     seeds  to run  time of a run      peak of memory",
        "latte1  2      1       0:01:40, measured  500 MiB, measured",
        "latte2  2      1       0:00:20, at least  99 MiB, at least",
        "4 cells (1 finished, 1 new, 1 failed, 1 interrupted), 2 to run, 2 at once: 0:01:00",
    ]
    assert told[-1].endswith("3 to run, 1 at once: unknown")


QUESTION = Question(MEASURES["validation_loss"], 0.1, None)


def test_verdicts_have_their_evidence_beside_them(capsys: pytest.CaptureFixture[str]) -> None:
    loss, levels = QUESTION.measure, (1.0, 0.5, 1.0)
    sides = [{seed: level * (1 + seed / 1000) for seed in range(5)} for level in levels]
    comparisons = [Comparison(sides[a], sides[b], loss, names=(f"arm {a}", f"arm {b}")) for a, b in ((0, 1), (0, 2))]
    print_verdicts(QUESTION, Verdicts(comparisons, decide_all(comparisons), incomparable=3))
    told = capsys.readouterr().out.splitlines()
    assert told[:2] == [
        "3 pairs of arms are not compared: their validation loss is measured unlike",
        "verdicts by validation loss, margin 10 %, false in 5 % at most:",
    ]
    headings = ["arm", "against", "is", "difference", "p", "seeds", "could have found", "seeds to decide"]
    assert re.split(" {2,}", told[2]) == headings
    assert told[3].startswith("arm 1  arm 0    better      -50.0 % [-50.1, -49.9]")
    assert told[4].startswith("arm 2  arm 0    equivalent  +0.0 % [-0.2, +0.2]")


def test_too_few_seeds_are_no_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    comparison = Comparison({0: 1.0}, {0: 0.5}, QUESTION.measure)
    print_verdicts(QUESTION, Verdicts([comparison], decide_all([comparison]), incomparable=0))
    assert capsys.readouterr().out == (
        "no verdict by validation loss: 5 seeds an arm are needed without a noise card, 4 more than there are\n"
    )
    print_verdicts(QUESTION, Verdicts([], [], incomparable=0))
    assert capsys.readouterr().out == ""


def test_the_order_of_two_arms_is_told_at_other_learning_rates(capsys: pytest.CaptureFixture[str]) -> None:
    sides = [{seed: level * (1 + seed / 1000) for seed in range(5)} for level in (1.0, 0.5)]
    worse, better = decide_all([Comparison(sides[first], sides[1 - first], QUESTION.measure) for first in (1, 0)])
    check = OrderCheck(decisions=dict(zip(NEARBY, (better, better, worse), strict=True)), answer="open")
    print_orders(QUESTION, {("latte1", "dit"): check})
    told = [re.split(" {2,}", line) for line in capsys.readouterr().out.splitlines()]
    assert told == [
        ["order by validation loss at other learning rates:"],
        ["arm", "against", "at 0.5 times", "at 1 times", "at 2 times", "order"],
        ["dit", "latte1", "better", "better", "worse", "open"],
    ]
    print_orders(QUESTION, {})
    assert capsys.readouterr().out == ""


def test_the_price_of_a_verdict_is_that_of_the_noise_card(capsys: pytest.CaptureFixture[str]) -> None:
    config: dict[str, Any] = {"dataset": {"name": "shapes"}, "train": {"steps": 6}}
    outlooks = {
        Arm(name, ()): Outlook(seconds, "measured", 1, "measured", config, {"validation": "p1"})
        for name, seconds in (("a", 40.0), ("b", 20.0))
    }
    noise = Noise(condition="p1", mean=0.4, sd=0.03, freedom=9)
    card = NoiseCard(created="", training=training_of(config), runs=(), noise={"validation_loss": noise})
    print_price(QUESTION, outlooks, [card], jobs=2)
    told = []
    for effect in (0.05, 0.1, 0.2):
        seeds = price_of(QUESTION.measure, noise, effect, pairs=1)
        assert seeds
        told.append(
            f"  a difference of {100 * effect:.0f} %: {seeds} seeds an arm, {timedelta(seconds=30 * seeds)} in all"
        )
    assert capsys.readouterr().out.splitlines() == [
        "price of a verdict by validation loss (sd over seeds 0.03, 1 pairs judged together):",
        *told,
    ]
    print_price(QUESTION, outlooks, [replace(card, noise={})], jobs=2)
    assert "not known, as no noise card holds for all arms" in capsys.readouterr().out
    print_price(QUESTION, dict([*outlooks.items()][:1]), [card], jobs=2)
    assert capsys.readouterr().out == "", "one arm has no verdict"


def test_two_budgets_give_two_verdicts_and_a_difference_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    def verdicts(shift: float) -> Verdicts:
        first, second = ({seed: base + 0.01 * seed for seed in range(5)} for base in (1.0, 1.0 + shift))
        comparison = Comparison(first, second, MEASURES["validation_loss"], names=("a", "b"))
        return Verdicts([comparison], decide_all([comparison]), 0)

    print_across_budgets({"steps": verdicts(-0.5), "gflops": verdicts(0.5)})
    assert capsys.readouterr().out == (
        "b against a depends on the budget: better at equal training steps, worse at equal training operations\n"
    )
    print_across_budgets({"steps": verdicts(-0.5), "gflops": verdicts(-0.5)})
    assert not capsys.readouterr().out

"""The grid of learning rates, and what is said of what it found."""

from __future__ import annotations

from typing import Any

import pytest

from stbench.errors import StbenchError
from stbench.launch.arms import read_arms
from stbench.launch.tuning import at_rate, chosen_rate, grids_of, parse_seeds, parse_tries, rates_of, told, tried
from stbench.records.learning_rates import TuningCurve
from stbench.records.measures import MEASURES


@pytest.mark.parametrize("text", ["4", "1", "0", "-3", "five", "3.0"])
def test_a_grid_has_the_arms_own_rate_in_its_middle(text: str) -> None:
    assert parse_tries("5") == 5
    with pytest.raises(StbenchError, match=r"tune\.lr=.*: expected an odd number of rates from 3 on"):
        parse_tries(text)


@pytest.mark.parametrize("text", ["0", "-1", "all"])
def test_at_least_one_seed_is_tried(text: str) -> None:
    assert parse_seeds("3") == 3
    with pytest.raises(StbenchError, match=r"tune\.seeds=.*: expected how many seeds"):
        parse_seeds(text)


def test_tries_are_runs_of_the_first_seed() -> None:
    [arm] = read_arms(["variant=latte1", "dataset=shapes", "preset=smoke", "seed=3,4", "train.lr=2e-3"])
    [rate] = rates_of([arm])
    tries = tried(arm, rate, 5)
    assert list(tries) == [5e-4, 1e-3, 2e-3, 4e-3, 8e-3]
    assert [each.values["train.lr"] for each in tries.values()] == ["0.0005", "0.001", "0.002", "0.004", "0.008"]
    assert {each.seeds for each in tries.values()} == {(3,)}
    assert rates_of(list(tries.values())) == list(tries)
    assert {each.seeds for each in tried(arm, rate, 5, seeds=2).values()} == {(3, 4)}


def test_arms_with_rates_of_their_own_are_refused() -> None:
    arms = read_arms(["variant=latte1", "dataset=shapes", "preset=smoke", "train.lr=1e-3,2e-3"])
    with pytest.raises(StbenchError, match=r"tune\.lr=5 finds train\.lr for each arm"):
        grids_of(arms, 5)


def test_an_arm_says_its_rate() -> None:
    [arm] = read_arms(["variant=latte1", "seed=0,1"])
    chosen = at_rate(arm, 0.002)
    assert (chosen.label, chosen.seeds) == ("latte1 train.lr=0.002", (0, 1))


def test_without_two_figures_nothing_is_chosen() -> None:
    with pytest.raises(StbenchError, match="latte1: fewer than two learning rates gave a FVD"):
        chosen_rate("latte1", {1e-3: [], 2e-3: []}, MEASURES["fvd"])


@pytest.mark.parametrize(
    ("given", "ending"),
    [
        (
            {"points": ((1.0, 3.0), (2.0, 2.0), (4.0, 5.0))},
            "train.lr=2 by FVD (1: 3, 2: 2, 4: 5; 4 TFLOPs of training)",
        ),
        (
            {"points": ((1.0, 3.0), (2.0, 2.0)), "failed": (4.0,), "gflops": None},
            "train.lr=2 by FVD (1: 3, 2: 2; failed at 4)",
        ),
        (
            {"points": ((1.0, 3.0), (2.0, 2.0)), "gflops": None},
            "train.lr=2 by FVD (1: 3, 2: 2); the best lies on the edge of the grid, and a better one may lie beyond it",
        ),
    ],
)
def test_what_is_said_of_a_grid(given: dict[str, Any], ending: str) -> None:
    curve = TuningCurve(**{"failed": (), "gflops": 4e3, "less_is_better": True, **given})
    assert told("latte1", curve, MEASURES["fvd"]) == f"latte1: {ending}"

"""What trainings spent, and their quality at less."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from stbench.records.budgets import Budget, at_budget, describe_budgets, shared_budgets, spent
from stbench.records.measures import MEASURES
from stbench.records.schema import Record

LOSS = MEASURES["validation_loss"]
SPENT = [("steps", 40), ("gflops", 40 * 2 * 2 * 4.5), ("seconds", 20.0), ("params", 1000)]
Make = Callable[..., Record]


@pytest.fixture
def make(content: dict[str, Any]) -> Make:
    """A record of 40 steps of 2 clips whose step takes `seconds` and whose clip takes `gmacs`."""

    def build(seconds: float = 0.5, gmacs: float = 4.5, schedule: str = "constant", params: int = 1000) -> Record:
        made = copy.deepcopy(content)
        made["timing"]["train_step"] = {**made["timing"]["forward"], "median": seconds}
        made["counts"] |= {"gmacs_train_step": gmacs, "params_total": params}
        made["config"]["train"]["lr_schedule"] = schedule
        curve = [{"step": step, "loss": loss, "buckets": [loss]} for step, loss in ((0, 1.0), (20, 0.4), (40, 0.2))]
        made["validation"] = {
            "protocol_hash": "v1",
            "n_clips": 4,
            "draws": 1,
            "edges": [0.0, 1.0],
            "loss": 0.2,
            "buckets": [0.2],
            "curve": curve,
        }
        return Record.from_json(made)

    return build


@pytest.mark.parametrize(("budget", "amount"), SPENT)
def test_spent(make: Make, budget: Budget, amount: float) -> None:
    assert spent(make(), budget) == pytest.approx(amount)


def test_what_is_not_known_is_no_budget(content: dict[str, Any]) -> None:
    record = Record.from_json(content)  # whose step was not timed
    assert spent(record, "seconds") is None
    assert spent(record, "gflops") is None
    assert shared_budgets([record, record]) == ("steps", "params")


def test_shared_budgets_are_equal_within_a_hundredth(make: Make) -> None:
    assert shared_budgets([make(), make(gmacs=9.0, params=1009)]) == ("steps", "seconds", "params")
    assert shared_budgets([make(), make(params=1011)]) == ("steps", "gflops", "seconds")
    assert describe_budgets([make(), make(gmacs=9.0, seconds=1.0, params=2000)]) == "at equal training steps"


@pytest.mark.parametrize(("step", "loss"), [(0, 1.0), (10, 0.7), (20, 0.4), (30, 0.3), (40, 0.2)])
@pytest.mark.parametrize("budget", ["steps", "gflops", "seconds"])
def test_quality_at_less_is_read_off_the_curve(make: Make, budget: Budget, step: int, loss: float) -> None:
    record = make()
    whole = spent(record, budget)
    assert whole
    assert at_budget(record, LOSS, budget, whole * step / 40) == pytest.approx(loss)


def test_beyond_the_curve_there_is_nothing_to_read(make: Make) -> None:
    assert at_budget(make(), LOSS, "steps", 41) is None
    assert at_budget(make(), MEASURES["kvd"], "steps", 20) is None


def test_a_cosine_has_no_shorter_run_in_it(make: Make) -> None:
    cosine = make(schedule="cosine")
    assert at_budget(cosine, LOSS, "steps", 20) is None
    assert at_budget(cosine, LOSS, "steps", 40) == pytest.approx(0.2)

"""What runs at several learning rates say of an arm, and of the order of two."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from stbench.records.learning_rates import OrderCheck, by_rate, check_order, check_orders, tuning_curve
from stbench.records.measures import MEASURES
from stbench.records.schema import Record

FVD = MEASURES["fvd"]
Make = Callable[..., Record]
NOISE = (-0.2, 0.1, 0.0, 0.2, -0.1, 0.0)  # of each seed


@pytest.fixture
def make(content: dict[str, Any]) -> Make:
    def build(rate: float, fvd: float, seed: int = 0, variant: str = "a") -> Record:
        made = copy.deepcopy(content)
        made["config"] |= {"seed": seed, "variant": {"name": variant, "arguments": {}}}
        made["config"]["train"] |= {"lr": rate, "batch_size": 2}
        made["counts"]["gmacs_train_step"] = 0.5
        made["quality"]["fvd"] = fvd
        return Record.from_json(made)

    return build


def runs(make: Make, figures: Mapping[float, float], variant: str = "a") -> dict[float, list[Record]]:
    """Six seeds at each rate, a few tenths about the figure."""
    return {
        rate: [make(rate, figure + noise, seed, variant) for seed, noise in enumerate(NOISE)]
        for rate, figure in figures.items()
    }


def judged_otherwise(record: Record) -> Record:
    """The same figures under another protocol."""
    assert record.quality
    return replace(record, quality=replace(record.quality, protocol_hash="another"))


def test_an_arm_is_everything_but_seed_and_rate(make: Make) -> None:
    records = [make(2e-3, 10), make(1e-3, 10, seed=1), make(1e-3, 10, variant="b"), make(1e-3, 11)]
    first, second = by_rate(records)
    assert list(first) == [1e-3, 2e-3]
    assert [len(each) for each in first.values()] == [2, 1]
    assert list(second) == [1e-3]


@pytest.mark.parametrize(
    ("figures", "best", "on_edge"),
    [((12, 10, 11), 2.0, False), ((10, 11, 12), 1.0, True), ((12, 11, 10), 4.0, True)],
)
def test_the_best_rate_and_whether_it_lies_on_the_edge(
    make: Make, figures: tuple[float, ...], best: float, on_edge: bool
) -> None:
    curve = tuning_curve(runs(make, dict(zip((1.0, 2.0, 4.0), figures, strict=True))), FVD)
    assert curve
    assert (curve.best, curve.on_edge) == (best, on_edge)
    assert curve.points == tuple((rate, pytest.approx(fvd)) for rate, fvd in zip((1.0, 2.0, 4.0), figures, strict=True))
    assert curve.gflops == pytest.approx(18 * 40 * 2 * 2 * 0.5)  # runs, steps, clips, operations of one clip


def test_a_rate_that_fails_beyond_the_best_is_no_edge(make: Make) -> None:
    curve = tuning_curve({**runs(make, {1.0: 12, 2.0: 10}), 4.0: []}, FVD)
    assert curve
    assert (curve.best, curve.on_edge, curve.failed) == (2.0, False, (4.0,))


def test_only_seeds_of_all_rates_make_the_curve(make: Make) -> None:
    curve = tuning_curve({1.0: [make(1.0, 10.0)], 2.0: [make(2.0, 11.0), make(2.0, 5.0, seed=1)]}, FVD)
    assert curve
    assert curve.points == ((1.0, 10.0), (2.0, 11.0))


def test_one_rate_is_no_curve(make: Make) -> None:
    assert tuning_curve(runs(make, {1.0: 10}), FVD) is None


@pytest.fixture
def ask(make: Make) -> Callable[..., OrderCheck]:
    def check(second: Mapping[float, float], seeds_elsewhere: int = 5) -> OrderCheck:
        both = runs(make, {0.5: 10, 1.0: 10, 2.0: 10}), runs(make, second, "b")
        few = [{rate: found[: 6 if rate == 1.0 else seeds_elsewhere] for rate, found in arm.items()} for arm in both]
        return check_order(few[0], few[1], FVD)

    return check


@pytest.mark.parametrize(
    ("second", "seeds_elsewhere", "answer"),
    [
        ({0.5: 14, 1.0: 14, 2.0: 14}, 5, "holds"),
        ({0.5: 14, 1.0: 14, 2.0: 7}, 5, "depends on the learning rate"),
        ({0.5: 14, 1.0: 14, 2.0: 14}, 2, "same order, not decided"),
        ({0.5: 14, 1.0: 14, 2.0: 7}, 2, "open"),
        ({1.0: 14, 2.0: 14}, 5, "not asked"),
    ],
)
def test_an_order_is_asked_for_at_half_and_twice_the_rate(
    ask: Callable[..., OrderCheck], second: Mapping[float, float], seeds_elsewhere: int, answer: str
) -> None:
    found = ask(second, seeds_elsewhere)
    assert found.answer == answer
    assert found.decisions[1.0].verdict == "worse"


def test_each_arm_is_asked_at_its_own_rate(make: Make) -> None:
    first, second = runs(make, {0.5: 10, 1.0: 10, 2.0: 10}), runs(make, {2.0: 14, 4.0: 14, 8.0: 14}, "b")
    second[2.0], second[8.0] = second[2.0][:4], second[8.0][:4]  # so that 4 is the rate with the most seeds
    first[0.5], first[2.0] = first[0.5][:4], first[2.0][:4]
    found = check_order(first, second, FVD)
    assert list(found.decisions) == [0.5, 1.0, 2.0]
    assert found.answer == "same order, not decided"


def test_orders_are_asked_of_the_arms_that_were_run_at_half_and_at_twice_their_rates(make: Make) -> None:
    arms = {
        "good": runs(make, {0.5: 10, 1.0: 9.9, 2.0: 10}),
        "bad": runs(make, {0.5: 14, 1.0: 13.9, 2.0: 14}, "b"),
        "once": runs(make, {1.0: 7, 2.0: 8}, "c"),
    }
    found = check_orders(arms, FVD)
    assert {names: check.answer for names, check in found.items()} == {("good", "bad"): "holds"}
    assert found["good", "bad"] == check_order(arms["good"], arms["bad"], FVD)


def test_orders_are_not_asked_across_protocols(make: Make) -> None:
    arms = {name: runs(make, {0.5: 10, 1.0: 9.9, 2.0: 10}, name) for name in "ab"}
    assert len(check_orders(arms, FVD)) == 1
    for records in arms["b"].values():
        records[:] = [judged_otherwise(each) for each in records]
    assert check_orders(arms, FVD) == {}

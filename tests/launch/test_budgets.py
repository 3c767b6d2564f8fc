"""Arms that are made to spend what the first one does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from stbench.errors import StbenchError
from stbench.launch import budgets
from stbench.launch.arms import Arm, read_arms
from stbench.launch.budgets import (
    STEP_TIMES,
    Planning,
    gflops_of_steps,
    take_planning,
    with_equal_budget,
    with_equal_parameters,
)
from stbench.profiling.flops import count_parameters
from stbench.profiling.variants import Match, Variant
from stbench.run.setup import prepare
from stbench.settings.resolve import resolve
from stbench.storage.files import read_json

SMOKE = ("dataset=shapes", "preset=smoke", "device=cpu", "precision=float32")


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budgets, "call_aside", lambda function, *arguments: function(*arguments))


def arms(*words: str) -> list[Arm]:
    return read_arms([*SMOKE, *words])


def steps(found: Sequence[Arm]) -> list[int]:
    return [resolve(arm.words).settings.train.steps for arm in found]


def test_equal_operations_by_the_counted_step(tmp_path: Path) -> None:
    given = arms("variant=latte1,dit", "train.steps=1000")
    found = with_equal_budget(given, "gflops", tmp_path)
    latte, dit = gflops_of_steps(given)
    assert steps(found) == [1000, round(1000 * latte / dit)]
    assert steps(found)[1] > 1500  # half of the blocks
    assert [arm.label for arm in found] == [arm.label for arm in given]


def test_a_larger_batch_takes_fewer_steps(tmp_path: Path) -> None:
    found = with_equal_budget(arms("variant=latte1", "train.batch_size=4,8", "train.steps=1000"), "gflops", tmp_path)
    assert steps(found) == [1000, 500]


def test_equal_steps_are_those_of_the_words(tmp_path: Path) -> None:
    given = arms("variant=latte1,dit")
    assert steps(with_equal_budget(given, "steps", tmp_path)) == steps(given)
    with pytest.raises(StbenchError, match=r"budget=steps: .* has train\.steps=7, .* 6"):
        with_equal_budget(arms("variant=latte1", "train.steps=6,7"), "steps", tmp_path)


def test_too_few_steps_for_one_in_a_hundred_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StbenchError, match=r"budget=gflops: \d+ steps of dit spend .* raise train\.steps"):
        with_equal_budget(arms("variant=latte1,dit", "train.steps=3"), "gflops", tmp_path)


def test_equal_time_by_steps_that_were_timed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    timed: list[list[str]] = []
    clock = {"latte1": 0.2, "latte2": 0.1, "dit": 0.05}

    def measured(some: Sequence[Arm]) -> list[float]:
        timed.append([arm.label for arm in some])
        return [clock[arm.label] * 1.5 ** (len(timed) - 1) for arm in some]  # each time on a slower machine

    monkeypatch.setattr(budgets, "measured_seconds", measured)
    monkeypatch.setattr(budgets, "this_machine", lambda: "box-1")
    two = arms("variant=latte1,latte2", "train.steps=100")
    assert steps(with_equal_budget(two, "seconds", tmp_path)) == [100, 200]
    assert steps(with_equal_budget(two, "seconds", tmp_path)) == [100, 200]
    assert timed == [["latte1", "latte2"]]
    three = arms("variant=latte1,latte2,dit", "train.steps=100")
    with_equal_budget(three, "seconds", tmp_path, keep=False)  # a plan writes nothing
    assert steps(with_equal_budget(three, "seconds", tmp_path)) == [100, 200, 400]
    assert timed[1:] == [["latte1", "dit"]] * 2  # by the ratio to the first, which is timed beside it
    assert list(read_json(tmp_path / STEP_TIMES)) == ["box-1"]


def test_a_real_step_is_timed() -> None:
    first, second = budgets.measured_seconds(arms("variant=latte1", "train.batch_size=1,2"))
    assert 0 < first < 60
    assert 0 < second < 60


@pytest.mark.parametrize("words", [("variant=dit,latte1",), ("variant=latte1", "variant.hidden_size=32,64")])
def test_equal_parameters_by_the_width(words: tuple[str, ...]) -> None:
    first, second = with_equal_parameters(arms(*words))
    assert "variant.hidden_size=" in " ".join(second.words)
    counts = [count_parameters(prepare(resolve(arm.words)).construct_backbone())[0] for arm in (first, second)]
    assert counts[1] == pytest.approx(counts[0], rel=0.01)


def test_what_no_size_brings_near_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(variant: Variant, wanted: int) -> Match:
        raise StbenchError(f"no size comes within 1% of {wanted}")

    monkeypatch.setattr(Variant, "matched", never)
    with pytest.raises(StbenchError, match=r"budget=params: latte1: no size comes within 1% of \d+"):
        with_equal_parameters(arms("variant=dit,latte1"))


def test_an_unknown_budget_is_answered_with_the_nearest() -> None:
    with pytest.raises(StbenchError, match="gflops"):
        take_planning(["variant=latte1", "budget=gflop"])


def test_words_of_the_whole_sweep_are_taken_out() -> None:
    words = ["variant=latte1,latte2", "budget=steps,gflops", "tune.lr=5", "seed=0,1"]
    assert take_planning(words) == (Planning(("steps", "gflops"), 5), ["variant=latte1,latte2", "seed=0,1"])
    assert take_planning(words[:1]) == (Planning((None,), None), words[:1])
    assert take_planning(["tune.lr=3", "tune.seeds=2"]) == (Planning(tries=3, tried_seeds=2), [])
    with pytest.raises(StbenchError, match=r"tune\.seeds= says how many seeds tune\.lr= tries, which was not given"):
        take_planning(["tune.seeds=2"])

"""What a reproduction would take, from its words."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import Mock

import pytest

from stbench.errors import StbenchError
from stbench.launch import claims_plan
from stbench.launch.arms import Arm
from stbench.launch.claims_plan import print_claims_plan, training_cost
from stbench.launch.outlook import Outlook
from stbench.launch.trained_arms import TrainedArm, trained_arms
from stbench.profiling.counts import count
from stbench.records.claims import load_claims
from stbench.run.setup import prepare
from stbench.settings.resolve import resolve


@pytest.mark.parametrize("variant", ["latte1", "dit"])
def test_the_cost_is_that_of_the_run(variant: str) -> None:
    words = [f"variant={variant}", "dataset=shapes", "preset=smoke", "train.joint_images=2"]
    setup = prepare(resolve(words))
    counts = count(setup.construct_backbone, setup.workload, with_fvcore=False)
    cost = training_cost(setup.config)
    assert counts.gmacs_train_step
    assert cost.gflops == pytest.approx(2 * counts.gmacs_train_step * 4 * 6)  # batch size and steps of the preset
    assert cost.params < counts.params_total < 1.01 * cost.params  # the run's network knows classes


def test_the_published_recipe_needs_no_videos_to_be_counted() -> None:
    """Of one clip and step of latte1: a forward pass of 1862.8 GMACs, and two more for the backward one."""
    arms = trained_arms(load_claims("latte"), "paper", [])
    [latte1] = [arm for arm in arms if arm.name == "latte1"]
    cost = training_cost(resolve(latte1.words))
    assert cost.gflops / (1_000_000 * 40) == pytest.approx(3 * 2 * 1862.8, rel=2e-3)


def latte1_at_demo_scale() -> list[TrainedArm]:
    return [arm for arm in trained_arms(load_claims("latte"), "demo", []) if arm.name == "latte1"]


def test_a_plan_tells_runs_and_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[str] = []

    def ahead(arms: list[Arm], threads: int | None, earlier: object) -> dict[Arm, Outlook]:
        asked.extend(arm.label for arm in arms)
        return {arm: Outlook(60.0, "measured", 500.0, "measured") for arm in arms}

    monkeypatch.setattr(claims_plan, "look_ahead", ahead)
    print_claims_plan(latte1_at_demo_scale(), tmp_path, 2)
    lines = capsys.readouterr().out.splitlines()
    assert asked == ["latte1 on shapes"]  # a run at another learning rate takes as long
    assert [line.split("  ")[0] for line in lines[1:4]] == [
        "latte1 on shapes",
        "latte1 on shapes at 0.5 times the learning rate",
        "latte1 on shapes at 2 times the learning rate",
    ]
    assert {line.split()[-1] for line in lines[1:4]} == {"0:01:00"}
    assert lines[4].startswith("11 runs, ")
    assert lines[5] == "time here: 0:05:30, 2 at once"


def test_a_plan_without_the_videos_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(claims_plan, "look_ahead", Mock(side_effect=StbenchError("no videos")))
    print_claims_plan(latte1_at_demo_scale(), tmp_path, 1)
    assert capsys.readouterr().out.splitlines()[-1] == "time here: not known (no videos)"
    print_claims_plan([], tmp_path, 1)
    assert capsys.readouterr().out == "nothing is trained: counts and identities alone\n"

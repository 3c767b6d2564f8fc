"""What a reproduction would take, from its words."""

from __future__ import annotations

import pytest

from stbench.launch.claims_plan import print_claims_plan, training_cost
from stbench.launch.trained_arms import trained_arms
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


def test_a_plan_counts_the_runs(capsys: pytest.CaptureFixture[str]) -> None:
    arms = [arm for arm in trained_arms(load_claims("latte"), "demo", []) if arm.name == "latte1"]
    print_claims_plan(arms)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines[1:4]] == [
        "latte1 on shapes",
        "latte1 on shapes at 0.5 times the learning rate",
        "latte1 on shapes at 2 times the learning rate",
    ]
    assert lines[-1].startswith("11 runs, ")
    print_claims_plan([])
    assert capsys.readouterr().out == "nothing is trained: counts and identities alone\n"

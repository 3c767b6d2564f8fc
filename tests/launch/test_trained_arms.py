"""Arms of claims as arms of a sweep, and the waves in which they run."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stbench.launch import trained_arms as module
from stbench.launch.arms import Arm
from stbench.launch.cells import Cell, State, state_of
from stbench.launch.trained_arms import run_arms, trained_arms
from stbench.records.claims import Claims, load_claims, parse_claims
from stbench.settings.resolve import resolve
from stbench.settings.schema import Contents, RunConfig

from .conftest import record_of, write_record

CLAIMS: dict[str, Any] = {
    "title": "Mine",
    "arms": {
        "base": "variant=latte1",
        "again": {"words": "variant=latte1", "first_seed": 7},
        "started": {"words": "variant=latte1 train.lr=5e-4", "starts_from": "image"},
        "image": "variant=dit",
    },
    "scales": {
        "tiny": {
            "about": "tiny",
            "datasets": ["shapes", "clouds"],
            "words": "preset=smoke train.steps=4 train.lr=1e-3",
            "seeds": 3,
            "other_rates": {"factors": [0.5, 2], "seeds": 2, "arms": ["base"]},
        }
    },
    "claims": [{"id": "x", "statement": "X.", "arms": ["base", "again", "started"], "relation": "equivalent"}],
}


@pytest.fixture
def claims() -> Claims:
    return parse_claims(CLAIMS)


def prepared(arms: Sequence[Arm]) -> list[RunConfig]:
    """In place of preparing: what a run starts from is all that is told by its contents."""
    found = []
    for arm in arms:
        init = hashlib.sha256(arm.values.get("train.init", "").encode()).hexdigest()
        contents = Contents(videos="0" * 64, detector="1" * 64, init=init)
        found.append(replace(resolve(arm.words), contents=contents))
    return found


Runner = Callable[[Sequence[Cell], int, bool], dict[Cell, State]]


@pytest.fixture
def waves(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The labels of the cells of every wave, whose records are written in place of being run."""
    seen: list[list[str]] = []

    def run(cells: Sequence[Cell], jobs: int, retry: bool) -> dict[Cell, State]:
        seen.append([cell.label for cell in cells])
        for cell in cells:
            write_record(cell, record_of(cell))
        return {cell: state_of(cell) for cell in cells}

    monkeypatch.setattr(module, "call_aside", lambda function, arms: prepared(arms))
    monkeypatch.setattr(module, "run_missing", run)
    return seen


def test_an_arm_is_of_every_dataset_and_at_every_rate(claims: Claims) -> None:
    arms = trained_arms(claims, "tiny", ["device=cpu"])
    assert [(arm.name, arm.dataset, arm.rate) for arm in arms if arm.name in ("base", "image")] == [
        (name, dataset, rate)
        for dataset in ("shapes", "clouds")
        for name, rate in (("base", 1.0), ("base", 0.5), ("base", 2.0), ("image", 1.0))
    ]
    by_name = {(arm.name, arm.rate): arm for arm in arms if arm.dataset == "shapes"}
    assert by_name["base", 1.0].words == (
        *("dataset=shapes", "preset=smoke", "train.steps=4", "train.lr=1e-3", "device=cpu", "variant=latte1"),
    )
    assert by_name["base", 2.0].learning_rate == 0.002
    assert (by_name["base", 2.0].seeds, by_name["again", 1.0].seeds) == ((0, 1), (7, 8, 9))
    assert by_name["started", 1.0].learning_rate == 5e-4  # an arm's own words come above the scale's


def test_what_starts_from_another_runs_after_it(claims: Claims, waves: list[list[str]], tmp_path: Path) -> None:
    arms, states = run_arms(trained_arms(claims, "tiny", []), tmp_path, 1, False)
    assert len(waves) == 2
    assert not [label for label in waves[0] if label.startswith("started")]
    assert sorted(waves[1]) == sorted(
        f"started on {dataset}, seed {seed}" for dataset in ("shapes", "clouds") for seed in range(3)
    )
    assert len(states) == len(waves[0]) + len(waves[1]) == 2 * (3 + 2 + 2 + 3 + 3 + 3)
    by_name = {(arm.name, arm.dataset, arm.rate): arm for arm in arms}
    for before, after in zip(
        by_name["image", "clouds", 1.0].cells, by_name["started", "clouds", 1.0].cells, strict=True
    ):
        assert f"train.init={before.folder}" in after.words
        assert before.config.settings.seed == after.config.settings.seed


def test_two_arms_of_equal_words_share_their_runs(waves: list[list[str]], tmp_path: Path) -> None:
    content = {**CLAIMS, "arms": {**CLAIMS["arms"], "again": "variant=latte1", "started": "variant=latte2"}}
    arms, _ = run_arms(trained_arms(parse_claims(content), "tiny", []), tmp_path, 1, False)
    base, again = (next(arm for arm in arms if arm.name == name) for name in ("base", "again"))
    assert [cell.folder for cell in base.cells] == [cell.folder for cell in again.cells]
    assert len(waves[0]) == len(set(waves[0]))


def test_without_a_run_to_start_from_there_is_none(
    claims: Claims, waves: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "run_missing", lambda cells, jobs, retry: dict.fromkeys(cells, State("failed", "nan")))
    arms, _ = run_arms(trained_arms(claims, "tiny", []), tmp_path, 1, False)
    assert [arm.cells for arm in arms if arm.name == "started"] == [(), ()]


@pytest.mark.parametrize("scale", ["demo", "small", "small-ucf101", "paper"])
def test_every_arm_of_the_latte_findings_is_a_run(scale: str) -> None:
    arms = trained_arms(load_claims("latte"), scale, [])
    assert len({resolve(arm.words).variant.to_dict()["arguments"]["arrangement"] for arm in arms}) == 5
    assert all(arm.learning_rate > 0 for arm in arms)

"""Verdicts of all pairs: those of the one rule, seen from both sides, at every budget that can be read off."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stbench.records.decisions import decide_all
from stbench.records.estimates import Comparison
from stbench.records.measures import MEASURES
from stbench.reports import matrix
from stbench.reports.matrix import Matrix, matrices_of, one_budget_only
from stbench.reports.runs import load_runs

MakeRun = Callable[..., Path]
FVDS = {"a": (100.0, 102.0, 98.0, 101.0, 99.0), "b": (200.0, 203.0, 197.0, 202.0, 198.0), "c": (90.0, 130.0, 70.0)}


def validation(*losses: float) -> dict[str, Any]:
    """The section of a run whose loss was this at steps 0, 20 and 40."""
    points = [{"step": 20 * i, "loss": loss, "buckets": [loss]} for i, loss in enumerate(losses)]
    section = {"protocol_hash": "v", "n_clips": 4, "draws": 1, "edges": [0.0, 1.0]}
    return {**section, "loss": losses[-1], "buckets": [losses[-1]], "curve": points}


def matrices(run: Path) -> list[Matrix]:
    return matrices_of(load_runs([run.parent]))


@pytest.fixture
def fvd_matrix(make_run: MakeRun) -> Matrix:
    """Three configurations, of which one has too few seeds."""
    for name, values in FVDS.items():
        for seed, fvd in enumerate(values):
            run = make_run(name, seed, fvd)
    [made] = matrices(run)
    return made


def test_the_verdicts_are_those_of_the_one_rule(fvd_matrix: Matrix) -> None:
    arms = {name: dict(enumerate(values)) for name, values in FVDS.items()}
    family = [Comparison(arms[second], arms[first], MEASURES["fvd"]) for first, second in ("ab", "ac", "bc")]
    expected = decide_all(family)
    assert [(pair.first, pair.second) for pair in fvd_matrix.pairs] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert [pair.decision.verdict for pair in fvd_matrix.pairs] == ["better", "undecided", "undecided"]
    for pair, decision in zip(fvd_matrix.pairs, expected, strict=True):
        assert (pair.decision.p, pair.decision.interval) == (decision.p, decision.interval)


def test_a_pair_is_seen_from_both_sides(fvd_matrix: Matrix) -> None:
    one, other = fvd_matrix.pair("a", "b"), fvd_matrix.pair("b", "a")
    assert one and other and other.mirrored.decision.verdict == one.decision.verdict == "better"
    assert other.decision.verdict == "worse"
    assert other.decision.effect == pytest.approx(1.0, rel=0.02)  # twice as large
    assert one.decision.effect == pytest.approx(-0.5, rel=0.02)
    assert other.decision.interval is not None and one.decision.interval is not None
    assert other.decision.interval == pytest.approx([1 / (1 + end) - 1 for end in reversed(one.decision.interval)])
    assert fvd_matrix.pair("a", "a") is None


def test_what_a_verdict_rests_on_is_in_words_and_in_a_table(fvd_matrix: Matrix) -> None:
    pair = fvd_matrix.pair("b", "a")
    assert pair is not None
    assert pair.said.startswith("b is worse than a: effect +100.0 %; interval +")
    assert pair.said.endswith("; seeds 5 each")
    undecided = fvd_matrix.pair("a", "c")
    assert undecided is not None and undecided.said.startswith("a cannot be told from c: ")
    table = fvd_matrix.table()
    assert table["against"].tolist() == ["b", "c", "c"]
    assert table["verdict"].tolist() == ["better", "undecided", "undecided"]


def test_a_matrix_says_its_measure_and_budget(fvd_matrix: Matrix) -> None:
    assert fvd_matrix.title == "FVD[shapes3d], at equal training steps and equal training time and equal parameters"


def test_an_advantage_at_one_budget_only_is_said(make_run: MakeRun) -> None:
    """At equal steps the large one is better; at equal operations the small one had twice the steps."""
    no_fvd = {"quality": None, "config.train.lr_schedule": "constant"}
    for seed in range(5):
        jitter = 1 + 0.001 * seed
        losses = validation(1.0, 0.9 * jitter, 0.6 * jitter)
        make_run("small", seed, validation=losses, **no_fvd, **{"counts.gmacs_train_step": 1.0})
        losses = validation(1.0, 0.8 * jitter, 0.5 * jitter)
        run = make_run("large", seed, validation=losses, **no_fvd, **{"counts.gmacs_train_step": 2.0})
    at_steps, at_operations = matrices(run)
    assert at_steps.title.startswith("Validation loss, at equal training steps")
    assert at_operations.title == "Validation loss, at equal training operations"
    assert one_budget_only([at_steps, at_operations]) == [
        f"By validation loss, large is better than small {at_steps.budget}, and is worse than it at equal training "
        "operations."
    ]


def test_one_configuration_has_no_matrix(make_run: MakeRun) -> None:
    make_run("a", 0)
    assert matrices(make_run("a", 1)) == []


def test_of_many_the_best_are_compared_and_it_is_said(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matrix, "MOST_ARMS", 2)
    for name, fvd in (("a", 30.0), ("b", 10.0), ("c", 20.0)):
        run = make_run(name, 0, fvd)
    [made] = matrices(run)
    assert (made.labels, made.note) == (["b", "c"], "The 2 best of 3 configurations.")

"""Verdicts, pairing, and the exit status that CI acts on."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stbench.errors import NotComparable, StbenchError
from stbench.records.noise_card import Noise, NoiseCard, training_of
from stbench.records.store import read_record
from stbench.reports.comparison.cells import Comparison
from stbench.reports.comparison.compare import compare
from stbench.reports.comparison.overlays import Overlay
from stbench.reports.comparison.page import comparison_markdown

MakeRun = Callable[..., Path]
SLOWER = {"timing.forward.median": 0.016}
COSTS = ["forward (ms)", "train step (ms)", "peak memory (MiB)"]
FIGURES = ["parameters (M)", "GMACs", "FVD[shapes3d]", "KVD[shapes3d]", *COSTS]


@pytest.fixture(autouse=True)
def without_pictures(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Leave out what takes long and is tested in test_overlays.py; `.undo()` draws it."""
    monkeypatch.setattr("stbench.reports.comparison.compare.overlay", lambda *_: Overlay([], None, []))
    monkeypatch.setattr("stbench.reports.comparison.compare.ratio_plot", lambda _: None)
    return monkeypatch


@pytest.fixture
def compared(make_run: MakeRun, tmp_path: Path) -> Callable[..., Comparison]:
    """Return a function that compares a run of latte1 with one that differs in what is given."""

    def run(variant: str = "latte1", base: dict[str, Any] | None = None, **changes: Any) -> Comparison:
        before, after = make_run(folder="base", **(base or {})), make_run(variant, folder="new", **changes)
        return compare(before, after, tmp_path / "out")

    return run


def verdicts(comparison: Comparison) -> dict[str, str]:
    return {verdict.metric: verdict.verdict for verdict in comparison.verdicts}


def reason(comparison: Comparison, metric: str) -> str:
    return next(verdict.reason for verdict in comparison.verdicts if verdict.metric == metric)


def test_a_run_compared_with_itself_is_the_same(compared: Callable[..., Comparison]) -> None:
    comparison = compared()
    assert verdicts(comparison) == dict.fromkeys(
        [*FIGURES, "loss curve"],
        "same",
    )
    assert (comparison.exit_status, comparison.headline) == (0, "No regression.")


@pytest.mark.parametrize(
    ("changes", "metric", "verdict", "exit_status"),
    [
        ({"counts.gmacs": 1.5001}, "GMACs", "changed", 1),
        ({"counts.params_total": 1}, "parameters (M)", "changed", 1),
        ({"fvd": 100.001}, "FVD[shapes3d]", "same", 0),
        ({"fvd": 109.0}, "FVD[shapes3d]", "undecided", 0),
        ({"fvd": 300.0}, "FVD[shapes3d]", "undecided", 0),
        ({"fvd": 30.0}, "FVD[shapes3d]", "undecided", 0),
        ({"quality.kvd": 0.4}, "KVD[shapes3d]", "undecided", 0),
        ({"quality.kvd": -0.01}, "KVD[shapes3d]", "undecided", 0),
        ({"timing.forward.median": 0.0101}, "forward (ms)", "undecided", 0),
        ({"timing.forward.median": 0.0149}, "forward (ms)", "undecided", 0),
        (SLOWER, "forward (ms)", "worse", 1),
        ({"timing.train_step.median": 0.019}, "train step (ms)", "better", 0),
        ({"memory.peak_rss_mib": 540.0}, "peak memory (MiB)", "same", 0),
        ({"memory.peak_rss_mib": 560.0}, "peak memory (MiB)", "worse", 1),
        ({"quality.fvd": None, "quality.refused": "too few clips"}, "FVD[shapes3d]", "not comparable", 0),
    ],
)
def test_verdict(
    compared: Callable[..., Comparison], changes: dict[str, Any], metric: str, verdict: str, exit_status: int
) -> None:
    comparison = compared(**changes)
    assert verdicts(comparison)[metric] == verdict
    assert comparison.exit_status == exit_status
    others = {name: found for name, found in verdicts(comparison).items() if name != metric}
    assert set(others.values()) == {"same"}


def test_counts_that_a_side_lacks_are_not_comparable(compared: Callable[..., Comparison]) -> None:
    comparison = compared(counts=None)
    assert {metric: verdict for metric, verdict in verdicts(comparison).items() if verdict != "same"} == {
        "parameters (M)": "not comparable",
        "GMACs": "not comparable",
    }
    assert reason(comparison, "GMACs") == "NEW did not record it"
    assert comparison.exit_status == 0


@pytest.mark.parametrize(
    ("changes", "metrics", "words"),
    [
        (
            {"quality.protocol_hash": "b", "quality.protocol.num_sampling_steps": 50},
            ["FVD[shapes3d]", "KVD[shapes3d]"],
            "the protocols differ: protocol.num_sampling_steps (10 / 50)",
        ),
        ({"quality.protocol_hash": "b"}, ["FVD[shapes3d]", "KVD[shapes3d]"], "the protocols differ: protocol_hash"),
        (
            {"conditions.machine": "box-2", "conditions.threads": 1},
            [*COSTS, "loss curve"],
            "the conditions differ: machine (box-1 / box-2), threads (2 / 1)",
        ),
        (
            {"conditions": None},
            [*COSTS, "loss curve"],
            "the conditions are not recorded",
        ),
    ],
)
def test_not_comparable_names_the_fields(
    compared: Callable[..., Comparison], changes: dict[str, Any], metrics: list[str], words: str
) -> None:
    comparison = compared(**changes)
    found = verdicts(comparison)
    assert [name for name in found if found[name] == "not comparable"] == metrics
    assert reason(comparison, metrics[0]) == words
    assert comparison.exit_status == 0
    assert comparison.headline.endswith(f"; not comparable: {', '.join(metrics)}.")


def test_nothing_comparable_exits_4_and_names_the_fields(compared: Callable[..., Comparison]) -> None:
    changes = {"quality.protocol_hash": "b", "conditions.machine": "box-2", "counts.gmacs": 2.0}
    comparison = compared(**changes, **{"counts.params_total": 1, "config_hash": "other"})
    assert verdicts(comparison)["GMACs"] == "larger"
    assert verdicts(comparison)["parameters (M)"] == "smaller"
    assert comparison.exit_status == 4
    assert comparison.headline == (
        "Not comparable: the protocols differ: protocol_hash; the conditions differ: machine (box-1 / box-2)."
    )


def test_runs_that_diverged_on_both_sides_are_not_compared_by_their_costs(
    compared: Callable[..., Comparison], failed: dict[str, Any]
) -> None:
    comparison = compared(base=failed, **{**failed, "counts.gmacs": 9.0})
    assert verdicts(comparison) == {"runs finished": "not comparable"}
    assert (comparison.exit_status, comparison.headline[:36]) == (4, "Not comparable: latte1-0: oom, out o")


def test_candidate_backbone_that_is_worse_is_no_regression(compared: Callable[..., Comparison]) -> None:
    comparison = compared("mine", fvd=200.0, **SLOWER, **{"counts.gmacs": 3.0})
    assert verdicts(comparison)["forward (ms)"] == "worse"
    assert (verdicts(comparison)["parameters (M)"], verdicts(comparison)["GMACs"]) == ("same", "larger")
    assert comparison.exit_status == 0
    assert comparison.headline == (
        "A candidate against a baseline (no check for regressions): worse in forward (ms); undecided: FVD[shapes3d]."
    )
    assert comparison.cells[0].name == "latte1 → mine / shapes / demo"
    assert comparison.cells[0].differences == ["variant.name: latte1 → mine"]


@pytest.mark.parametrize("variant", ["latte1", "mine"])
def test_run_that_no_longer_finishes_fails(
    compared: Callable[..., Comparison], failed: dict[str, Any], variant: str
) -> None:
    comparison = compared(variant, **failed)
    assert verdicts(comparison)["runs finished"] == "failed"
    assert reason(comparison, "runs finished") == f"{variant}-0: oom, out of memory at step 3"
    assert comparison.exit_status == 3


def test_noise_between_seeds_counts(make_run: MakeRun, tmp_path: Path) -> None:
    for seed, fvd in enumerate([80.0, 90.0, 100.0, 110.0, 120.0]):
        make_run("latte1", seed, fvd, folder="base")
        make_run("latte1", seed, fvd + 20, folder="noisy")
        make_run("latte1", seed, fvd + 200, folder="worse")
    noisy = compare(tmp_path / "base", tmp_path / "noisy", tmp_path / "out")
    worse = compare(tmp_path / "base", tmp_path / "worse", tmp_path / "out")
    assert (verdicts(noisy)["FVD[shapes3d]"], noisy.exit_status) == ("undecided", 0)
    assert (verdicts(worse)["FVD[shapes3d]"], worse.exit_status) == ("worse", 1)
    assert worse.verdicts[2].ratio == pytest.approx(3)


def test_what_one_configuration_would_show_may_be_chance_among_many(make_run: MakeRun, tmp_path: Path) -> None:
    """P is 0.01: enough for one configuration, whose KVDs agree, and not among eight."""
    for number in range(8):
        for seed, fvd in enumerate([80.0, 90.0, 100.0, 110.0, 120.0]):
            for folder in ("one", "many")[number > 0 :]:
                make_run(f"v{number}", seed, fvd, folder=f"base-{folder}")
                make_run(f"v{number}", seed, fvd + (37 if number == 0 else 1), folder=f"new-{folder}")
    one, many = (
        compare(tmp_path / f"base-{each}", tmp_path / f"new-{each}", tmp_path / "out") for each in ("one", "many")
    )
    assert (verdicts(one)["FVD[shapes3d]"], one.exit_status) == ("worse", 1)
    of_one, of_many = one.cells[0].verdicts[2], many.cells[0].verdicts[2]
    assert (of_many.metric, of_many.verdict, many.exit_status) == ("FVD[shapes3d]", "undecided", 0)
    assert of_many.p == pytest.approx(8 * of_one.p)


def test_a_record_that_cannot_be_read_ends_no_comparison_and_is_no_pass(make_run: MakeRun, tmp_path: Path) -> None:
    for seed in (0, 1):
        make_run("latte1", seed, folder="base")
        run = make_run("latte1", seed, folder="new")
    (run / "result.json").write_text("{")
    comparison = compare(tmp_path / "base", tmp_path / "new", tmp_path / "out")
    assert comparison.missing == ["latte1 / shapes / demo seed 1"]
    assert comparison.exit_status == 3
    missing = "latte1 / shapes / demo seed 1: missing"
    assert comparison.headline.startswith(f"2 failures: {missing}; cannot be read: {run}/result.json: not valid JSON")
    assert verdicts(comparison)["FVD[shapes3d]"] == "same"
    with pytest.raises(StbenchError, match="not valid JSON"):
        compare(tmp_path / "base", run, tmp_path / "out")


def test_missing_run_fails_and_an_added_one_does_not(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("latte1", folder="small")
    make_run("latte1", folder="large")
    make_run("latte2", folder="large")
    shrunk = compare(tmp_path / "large", tmp_path / "small", tmp_path / "out")
    assert (shrunk.exit_status, shrunk.missing) == (3, ["latte2 / shapes / demo seed 0"])
    assert shrunk.headline == "1 failure: latte2 / shapes / demo seed 0: missing."
    grown = compare(tmp_path / "small", tmp_path / "large", tmp_path / "out")
    assert (grown.exit_status, grown.added) == (0, ["latte2 / shapes / demo seed 0"])


def test_a_side_without_records_is_wrong_use_and_one_without_a_counterpart_not_comparable(
    make_run: MakeRun, tmp_path: Path
) -> None:
    make_run("latte1", 0, folder="base")
    make_run("latte1", 1, folder="new")
    (tmp_path / "empty").mkdir()
    with pytest.raises(NotComparable, match="nothing to compare"):
        compare(tmp_path / "base", tmp_path / "new", tmp_path / "out")
    for base, new in (("base", "empty"), ("empty", "base"), ("empty", "empty")):
        with pytest.raises(StbenchError, match="holds no record") as raised:
            compare(tmp_path / base, tmp_path / new, tmp_path / "out")
        assert raised.value.exit_status == 2
    assert not (tmp_path / "out").exists()


def test_configurations_of_a_sweep_are_told_apart_by_their_settings(make_run: MakeRun, tmp_path: Path) -> None:
    for lr in (1e-3, 2e-3):
        for side in ("base", "new"):
            make_run(folder=side, run_id=f"{side}-{lr}", **{"config.train.lr": lr})
    comparison = compare(tmp_path / "base", tmp_path / "new", tmp_path / "out")
    assert [cell.name for cell in comparison.cells] == [
        "latte1 / shapes / demo / train.lr=0.001", "latte1 / shapes / demo / train.lr=0.002",
    ]  # fmt: skip


def test_with_a_noise_card_three_seeds_decide(make_run: MakeRun, tmp_path: Path) -> None:
    for seed, fvd in enumerate([99.0, 100.0, 101.0]):
        run = make_run("latte1", seed, fvd, folder="base")
        make_run("latte1", seed, 1.5 * fvd, folder="new")
    noise = Noise(condition="protocol-a", mean=100.0, sd=0.02, freedom=9)
    card = NoiseCard(created="2026-01-01", training=training_of(read_record(run).config), runs=(), noise={"fvd": noise})
    (tmp_path / "cards").mkdir()
    (tmp_path / "cards" / "noise_card.json").write_text(json.dumps(dataclasses.asdict(card)))
    sides = (tmp_path / "base", tmp_path / "new", tmp_path / "out")
    without, with_card = compare(*sides), compare(*sides, noise_cards=tmp_path / "cards")
    assert (verdicts(without)["FVD[shapes3d]"], without.exit_status) == ("undecided", 0)
    assert (verdicts(with_card)["FVD[shapes3d]"], with_card.exit_status) == ("worse", 1)
    assert reason(with_card, "FVD[shapes3d]") == "with a noise card"


def test_files(compared: Callable[..., Comparison], tmp_path: Path, without_pictures: pytest.MonkeyPatch) -> None:
    without_pictures.undo()
    comparison = compared(**SLOWER, run_id="<b>x</b>")
    out = tmp_path / "out"
    assert sorted(path.name for path in out.iterdir()) == [
        "compare.csv", "compare.html", "compare.json", "compare.md", "plots", "ratios.png", "ratios.svg", "samples",
    ]  # fmt: skip
    assert sorted(path.name for path in (out / "plots").glob("*.svg")) == [
        "fvd-shapes3d-16-over-training.svg", "loss.svg",
    ]  # fmt: skip
    assert len(list((out / "samples").glob("*.webp"))) == 3
    content = json.loads((out / "compare.json").read_text())
    assert (content["exit_status"], content["headline"]) == (1, comparison.headline)
    assert content["cells"][0]["verdicts"][4] == {
        "metric": "forward (ms)",
        "kind": "timing",
        "base": 10.0,
        "new": 16.0,
        "verdict": "worse",
        "reason": "of one process a side, but beyond a factor of 1.5",
        "interval": None,
        "interval_of": "ratio",
        "level": 0.95,
        "p": None,
        "ratio": 1.6,
    }
    page = (out / "compare.html").read_text()
    assert "&lt;b&gt;x&lt;/b&gt;" in page and "<b>" not in page
    assert page.count("data:image/webp") == 3  # what moves is in the page: nothing is asked of the network
    assert (out / "compare.csv").read_text().count("\n") == 1 + len(comparison.verdicts)
    assert (out / "compare.md").read_text() == comparison_markdown(comparison)


def test_markdown(compared: Callable[..., Comparison]) -> None:
    only_times: dict[str, Any] = {"counts": None, "memory": None, "quality": None, "training": None}
    text = comparison_markdown(compared(**SLOWER, base=only_times, **only_times), folded=False)
    assert text.startswith(
        "**1 regression: latte1 / shapes / demo: forward (ms) worse.**\n"
        "\n"
        "### latte1 / shapes / demo\n"
        "\n"
        "| metric          | verdict   |   ratio |   base |   new |\n"
        "|:----------------|:----------|--------:|-------:|------:|\n"
        "| forward (ms)    | worse     |   1.600 |     10 |    16 |\n"
        "| train step (ms) | same      |       1 |     30 |    30 |\n"
        "\n"
        "- forward (ms): of one process a side, but beyond a factor of 1.5\n"
        "- train step (ms): equal in every run\n"
        "\n"
        "Counts must be equal, and"
    )

"""What a report says in sentences: who is best, how sure that is, what it costs, what would mislead. Whole texts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from stbench.records.decisions import decide
from stbench.records.measures import MEASURES
from stbench.reports.runs import load_runs
from stbench.reports.summary import findings, warnings

MakeRun = Callable[..., Path]


def sentences(run: Path) -> list[str]:
    return findings(load_runs([run.parent]))


def doubts(run: Path) -> list[str]:
    """The warnings but for that of the detector, which every fabricated run has."""
    *others, internal = warnings(load_runs([run.parent]))
    assert internal == "FVD[shapes3d] is not measured by I3D: its scale is another than that of published figures."
    return others


def test_one_seed_is_no_order(make_run: MakeRun) -> None:
    make_run("latte1", 0, 100.0, **{"quality.fvd_interval": [90.0, 110.5]})
    run = make_run("latte2", 0, 200.0, **{"counts.gmacs": 3.0})
    assert sentences(run) == [
        "Lowest FVD[shapes3d]: latte1 on shapes, 100 (one seed; its clips leave open 90 to 110.5).",
        "Next is latte2 at 200; the order is undecided: 5 seeds an arm are needed without a noise card, 4 "
        "more than there are.",
        "One forward pass takes from 1.500 GMACs per clip (latte1) to 3 (latte2).",
    ]


@pytest.mark.parametrize(
    ("others", "verdict"),
    [
        ((300.0, 310.0, 305.0, 300.0, 310.0), "the difference is beyond the noise of training seeds (p = {p})"),
        ((105.0, 107.0, 103.0, 104.0, 106.0), "they are equivalent within 10 %"),
        ((90.0, 190.0, 120.0, 70.0, 170.0), "the order is undecided: {reason}"),
    ],
)
def test_several_seeds_say_whether_the_order_is_beyond_their_noise(
    make_run: MakeRun, others: tuple[float, ...], verdict: str
) -> None:
    ours = (100.0, 102.0, 104.0, 101.0, 103.0)
    for seed, fvd in enumerate(ours):
        make_run("latte1", seed, fvd)
    for seed, fvd in enumerate(others):
        run = make_run("latte2", seed, fvd)
    first, second, costs = sentences(run)
    # Mean 102, sd 1.581, half width t(0.975, 4) * 1.581 / sqrt(5) = 2.776445 * 0.707107 = 1.963.
    assert first == "Lowest FVD[shapes3d]: latte1 on shapes, 102 (95 % interval 100.0 to 104.0 over 5 seeds)."
    p = stats.ttest_ind(np.log(ours), np.log(others), equal_var=False).pvalue
    by_rule = decide(dict(enumerate(others)), dict(enumerate(ours)), measure=MEASURES["fvd"])
    told = verdict.format(p=f"{p:.2g}", reason=by_rule.reason)
    assert second == f"Next is latte2 at {sum(others) / 5:.0f}; {told}."
    assert costs == "Every configuration costs the same computation: 1.500 GMACs per clip."


def test_the_validation_loss_ranks_before_the_fvd(make_run: MakeRun) -> None:
    validation = {"protocol_hash": "v", "n_clips": 4, "draws": 1, "edges": [0.0, 1.0], "buckets": [0.5]}
    make_run("latte1", 0, 100.0, validation={**validation, "loss": 0.5})
    run = make_run("latte2", 0, 200.0, validation={**validation, "loss": 0.25})
    said = sentences(run)
    assert said[0] == "Lowest validation loss: latte2 on shapes, 0.2500 (one seed, so no interval)."
    assert said[2] == "Lowest FVD[shapes3d]: latte1 on shapes, 100 (one seed, so no interval)."


def test_seeds_that_were_computed_elsewhere_are_no_rivals(make_run: MakeRun) -> None:
    """A variant is never ranked against itself: the device or the batch size of sampling does not make another one."""
    make_run("latte1", 0, 10.0, group_hash="one", **{"config.device": "auto"})
    run = make_run("latte1", 1, 14.0, group_hash="one", **{"config.device": "cpu"})
    (only,) = sentences(run)
    assert only.startswith("Lowest FVD[shapes3d]: latte1 on shapes, 12 (95 % interval ")


def test_where_every_fvd_was_refused_the_kvd_ranks(make_run: MakeRun) -> None:
    refused = {"quality.fvd": None, "quality.refused": "too few clips"}
    run = make_run("latte1", 0, **refused)
    assert sentences(run) == [
        "Lowest KVD[shapes3d]: latte1 on shapes, 0.2500 (one seed; its clips leave open 0.2000 to 0.3000)."
    ]


def test_runs_of_two_protocols_are_not_ranked_together(make_run: MakeRun) -> None:
    make_run("latte1", 0, 100.0)
    run = make_run("latte2", 0, 50.0, **{"quality.protocol_hash": "other-protocol"})
    assert sentences(run)[:2] == [
        "Lowest FVD[shapes3d] under protocol protocol: latte1 on shapes, 100 (one seed, so no interval).",
        "Lowest FVD[shapes3d] under protocol other-pr: latte2 on shapes, 50 (one seed, so no interval).",
    ]


@pytest.mark.parametrize(
    ("change", "budget"),
    [
        ({"config.train.steps": 1200}, "1200 steps of 2 clips"),
        ({"config.train.batch_size": 8}, "40 steps of 8 clips"),
        ({"config.train.joint_images": 3}, "40 steps of 2 clips and 3 images each"),
        ({"config.train.init": "other.pt"}, "40 steps of 2 clips from given weights"),
    ],
)
def test_unequal_training_is_said_and_not_ranked_together(
    make_run: MakeRun, change: dict[str, Any], budget: str
) -> None:
    make_run("uvit", 0, 90.0)
    reported = load_runs([make_run("latte1", 0, 10.0, **change).parent])
    latte1, uvit = (group.label for group in reported.groups)
    said = findings(reported)
    assert said[:2] == [
        f"Lowest FVD[shapes3d] after {budget}: {latte1} on shapes, 10 (one seed, so no interval).",
        f"Lowest FVD[shapes3d] after 40 steps of 2 clips: {uvit} on shapes, 90 (one seed, so no interval).",
    ]
    assert warnings(reported)[0] == (
        f"Not an equal comparison, the training differs: {latte1}: {budget}; {uvit}: 40 steps of 2 clips."
    )


@pytest.mark.parametrize(
    ("interval", "untrained", "worthless"),
    [
        ([90.0, 120.0], 130.0, False),
        ([90.0, 120.0], 119.0, True),
        (None, 101.0, False),
        (None, 99.0, True),
    ],
)
def test_a_figure_no_better_than_the_untrained_network_s_is_warned_of(
    make_run: MakeRun, interval: list[float] | None, untrained: float, worthless: bool
) -> None:
    run = make_run("uvit", 0, 100.0, **{"quality.fvd_interval": interval, "quality.fvd_untrained": untrained})
    warning = (
        "No better than their untrained networks, so that their rank says nothing: "
        f"uvit (FVD[shapes3d] 100 against {untrained:.0f})."
    )
    assert doubts(run) == ([warning] if worthless else [])


@pytest.mark.parametrize(("decay", "held"), [(0.99, "67 %"), (0.9, None)])  # 0.99^40 = 0.669, 0.9^40 = 0.015
def test_an_average_that_still_holds_the_initial_weights_is_warned_of(
    make_run: MakeRun, decay: float, held: str | None
) -> None:
    run = make_run("uvit", 0, **{"config.train.ema_decay": decay})
    warning = (
        "Judged by averaged weights that training has hardly reached, "
        f"{held} of them from before the training (train.ema_decay={decay}, 40 steps): uvit."
    )
    assert doubts(run) == ([warning] if held else [])


def test_times_under_load_and_of_unequal_conditions_are_warned_of(make_run: MakeRun) -> None:
    make_run("latte1", 0, **{"timing.forward.waited_share": 0.4})
    run = make_run("latte2", 0, **{"conditions.threads": 1})
    assert warnings(load_runs([run.parent]))[1:] == [
        "Times of latte1 were taken while other work kept the machine busy: they are not compared.",
        "Times were taken under unequal conditions and are not compared: threads 2; threads 1.",
    ]


def test_i3d_is_not_warned_of(make_run: MakeRun) -> None:
    run = make_run("latte1", 0, **{"quality.detector": "i3d", "quality.label": "standard"})
    assert warnings(load_runs([run.parent])) == []


def test_many_configurations_are_counted(make_run: MakeRun) -> None:
    for variant in "abcdefghi":
        run = make_run(variant, 0, **{"quality.fvd_untrained": 1.0})
    assert doubts(run)[0].endswith("; f (FVD[shapes3d] 100 against 1); 3 more.")


def test_what_did_not_finish_or_cannot_be_read(make_run: MakeRun, failed: dict[str, Any]) -> None:
    run = make_run("latte1", 0, **failed, counts=None)
    (run.parent / "damaged").mkdir()
    (run.parent / "damaged" / "result.json").write_text("{")
    (run.parent / "killed").mkdir()
    (run.parent / "killed" / "config.json").write_text('{"variant": {"name": "uvit"}}')
    assert sentences(run) == [
        "2 of 2 runs did not finish; their reasons are below.",
        "1 record cannot be read; why is below.",
    ]


def test_a_damaged_run_stops_no_report_of_others_even_where_all_are_named(make_run: MakeRun) -> None:
    """As `stbench report runs/*` does."""
    runs = [make_run("a"), make_run("b")]
    (runs[0] / "result.json").write_text("{")
    assert findings(load_runs(runs))[-1] == "1 record cannot be read; why is below."


def test_nothing_recorded(make_run: MakeRun) -> None:
    assert sentences(make_run("latte1", 0, quality=None, counts=None)) == ["These runs recorded no result yet."]

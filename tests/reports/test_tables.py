"""The tables of a report, compared as whole texts, and what they may not mislead about."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from stbench.reports import tables
from stbench.reports.formats import to_csv
from stbench.reports.runs import ReportedRuns, load_runs

MakeRun = Callable[..., Path]
JUDGED = {
    "quality.fvd_interval": [90.0, 120.0],
    "quality.fvd_untrained": 900.0,
    "quality.fvd_real_vs_real": 2.5,
    "quality.n_real_vs_real": 32,
}


@pytest.fixture
def reported(make_run: MakeRun, failed: dict[str, Any]) -> ReportedRuns:
    """Two finished seeds of latte1, one of latte2, and one that ran out of memory."""
    make_run("latte1", 0, 100.0, **JUDGED)
    make_run("latte1", 1, 110.0, **JUDGED)
    make_run("latte2", 0, 12345.6, **JUDGED | {"quality.fvd_untrained": 901.0})
    return load_runs([make_run("latte2", 1, **failed).parent])


def rows(frame: pd.DataFrame) -> list[str]:
    """A table as lines, its headings first."""
    return [" | ".join(row) for row in [list(frame.columns), *frame.to_numpy().tolist()]]


def test_results(reported: ReportedRuns) -> None:
    # Mean 105, sd sqrt(50), half width t(0.975, 1) * sd / sqrt(2) = 12.7062 * 5 = 63.53.
    assert rows(tables.results_table(reported.groups)) == [
        "configuration | FVD[shapes3d] | params (M) | GMACs per clip | train step (ms, 2 clips) | seeds",
        "latte1 | 105 [41.47, 168.5] | 32.48 | 1.500 | 30 | 2 (seeds 0, 1)",
        "latte2 | 12,346 [90, 120]† | 32.48 | 1.500 | 30 | 1 (seed 0)",
        "real clips, 32 against others | 2.500 |  |  |  | ",
        "untrained networks | 900 to 901 |  |  |  | ",
    ]


def validation(loss: float, protocol_hash: str = "v" * 64) -> dict[str, Any]:
    """A record's section of two buckets."""
    point = {"loss": loss, "buckets": [loss - 0.05, loss + 0.05]}
    fixed = {"protocol_hash": protocol_hash, "n_clips": 8, "draws": 5, "edges": [0.0, 0.5, 1.0]}
    return {"validation": {**fixed, **point, "curve": [{"step": 40, **point}]}}


def test_the_validation_loss_comes_first_and_in_buckets(make_run: MakeRun) -> None:
    make_run("latte1", 0, **validation(0.2))
    make_run("latte1", 1, **validation(0.3))
    groups = load_runs([make_run("latte2", 0, **validation(0.5)).parent]).groups
    assert [row.split(" | ")[:2] for row in rows(tables.results_table(groups))] == [
        ["configuration", "validation loss"],
        ["latte1", "0.2500 [-0.3853, 0.8853]"],  # half width 12.7062 * 0.05
        ["latte2", "0.5000"],
    ]
    assert rows(tables.validation_table(groups)) == [
        "configuration | 0 to 0.5 | 0.5 to 1 | held-out clips | timesteps of each | protocol",
        "latte1 | 0.2000 | 0.3000 | 8 | 5 | vvvvvvvv",
        "latte2 | 0.4500 | 0.5500 | 8 | 5 | vvvvvvvv",
    ]
    (first, _) = tables.figures_frame(groups).to_dict("records")
    assert first["validation_loss"] == pytest.approx(0.25)
    assert (first["validation_loss_seeds"], first["validation_hash"]) == (2, "v" * 64)


def test_validation_losses_of_two_protocols_share_no_column(make_run: MakeRun) -> None:
    make_run("latte1", 0, **validation(0.2))
    groups = load_runs([make_run("latte2", 0, **validation(0.9, "w" * 64)).parent]).groups
    assert [row.split(" | ")[1:3] for row in rows(tables.results_table(groups))] == [
        ["validation loss (vvvvvvvv)", "validation loss (wwwwwwww)"], ["0.2000", ""], ["", "0.9000"],
    ]  # fmt: skip


def test_where_every_fvd_was_refused_the_results_show_the_kvd(make_run: MakeRun) -> None:
    run = make_run(**{"quality.fvd": None, "quality.refused": "too few clips", "quality.fvd_untrained": 900.0})
    shown = tables.results_table(load_runs([run]).groups)
    assert rows(shown)[1].startswith("latte1 | 0.2500 [0.2000, 0.3000]† | ") and len(shown) == 1
    assert shown.columns[1] == "KVD[shapes3d]"


def test_references_of_two_protocols_are_told_apart(make_run: MakeRun) -> None:
    make_run("latte1", 0, **JUDGED)
    run = make_run("latte2", 0, **JUDGED | {"quality.protocol_hash": "other", "quality.fvd_untrained": 50.0})
    shown = tables.results_table(load_runs([run.parent]).groups)
    assert shown["configuration"].tolist()[3:] == [
        "untrained networks (protocol)",
        "real clips, 32 against others (other)",
        "untrained networks (other)",
    ]
    assert shown["FVD[shapes3d]"].tolist()[3::2] == ["900", "50"]


def test_quality_in_detail(make_run: MakeRun) -> None:
    shares = {"quality.precision": 0.5123, "quality.recall": 0.0, "quality.coverage": 0.9}
    run = make_run(**shares, **{"quality.inception_score": 60.5, "quality.fvd_inf": 95.0})
    assert rows(tables.quality_table(load_runs([run]).groups)) == [
        "configuration | FVD[shapes3d] | FVD∞[shapes3d] | KVD[shapes3d] | IS[shapes3d] | precision | "
        "recall | coverage | real clips | sampled clips | protocol",
        "latte1 | 100 | 95 | 0.2500 [0.2000, 0.3000]† | 60.50 | 0.51 | 0.00 | 0.90 | 64 | 64 | protocol",
    ]


def test_scores_of_motion_stand_beside_those_of_real_clips(make_run: MakeRun) -> None:
    scores = {"n_clips": 64, "direction": 0.25, "speed": 0.5, "color": 1.0, "shape": 0.75, "all": 0.125}
    real = dict.fromkeys(scores, 1.0) | {"n_clips": 64}
    agreement = {"quality.class_agreement": 0.5, "quality.class_agreement_real": 0.99}
    run = make_run(**agreement, **{"quality.motion": scores, "quality.motion_real": real})
    groups = load_runs([run]).groups
    assert tables.results_table(groups)["class agreement"].tolist() == ["0.50 (real 0.99)"]
    assert tables.results_table(groups)["direction of motion"].tolist() == ["0.25 (real 1.00)"]
    shown = tables.quality_table(groups).iloc[0]
    assert shown["constancy of colour"] == "1.00 (real 1.00)"
    assert shown["motion score"] == "0.12 (real 1.00)"
    assert tables.figures_frame(groups)["motion_all"].tolist() == [0.125]


def test_costs_say_of_what_they_are_and_what_they_were_measured_under(reported: ReportedRuns) -> None:
    """A step in training takes 4 s / 40 = 100 ms: it does more than the step that is timed alone."""
    assert rows(tables.cost_table(reported.groups))[:2] == [
        "configuration | params (M) | trainable (M) | GMACs per clip | forward (ms, 2 clips) | "
        "train step (ms, 2 clips) | step in training (ms) | peak RSS (MiB) | measured under",
        "latte1 | 32.48 | 32 | 1.500 | 10 | 30 | 100 | 500 | float32, cpu, 2 threads",
    ]


def test_times_under_load_of_other_threads_and_of_other_batches_are_marked(make_run: MakeRun) -> None:
    make_run("a", **{"timing.train_step.waited_share": 0.5, "timing.train_step.batch_size": 4})
    run = make_run("b", **{"conditions.threads": 1})
    shown = tables.results_table(load_runs([run.parent]).groups)
    assert shown["train step (ms)"].tolist() == ["30 (4 clips, busy, threads 2)", "30 (2 clips, threads 1)"]


def test_training(reported: ReportedRuns) -> None:
    assert rows(tables.training_table(reported.groups)) == [
        "configuration | steps | clips per step | clips seen | precision | attention | final loss | time (s) | runs",
        "latte1 | 40 | 2 | 80 | float32 | math | 0.5000 | 4 | 2 finished",
        "latte2 | 40 | 2 | 80 | float32 | math | 0.5000 | 4 | 1 finished, 1 oom",
    ]


def test_settings_that_differ(make_run: MakeRun) -> None:
    assert "Settings that differ" not in tables.shown_tables(load_runs([make_run("latte1").parent]))
    run = make_run("latte1", **{"config.train.lr": 0.1, "config.train.steps": 3})
    assert rows(tables.shown_tables(load_runs([run.parent]))["Settings that differ"]) == [
        "configuration | settings",
        "latte1 steps=3 lr=0.1 | train.steps=3, train.lr=0.1",
        "latte1 steps=40 | train.steps=40",
    ]


def test_every_run(reported: ReportedRuns) -> None:
    shown = tables.shown_tables(reported)["Runs"]
    assert rows(shown) == [
        "configuration | seed | status | final loss | FVD[shapes3d] | KVD[shapes3d] | run",
        "latte1 | 0 | finished | 0.5000 | 100 | 0.2500 | latte1-0",
        "latte1 | 1 | finished | 0.5000 | 110 | 0.2500 | latte1-1",
        "latte2 | 0 | finished | 0.5000 | 12,346 | 0.2500 | latte2-0",
        "latte2 | 1 | oom: out of memory at step 3 | 0.5000 |  |  | latte2-1",
    ]


def test_every_table_has_a_note(reported: ReportedRuns) -> None:
    assert set(tables.shown_tables(reported)) <= set(tables.NOTES)


def test_figures_for_programs(reported: ReportedRuns) -> None:
    columns = ["label", "seeds", "forward_ms", "fvd_shapes3d", "fvd_shapes3d_seeds", "fvd_shapes3d_interval_of"]
    columns += ["fvd_untrained_shapes3d", "clips_seen", "protocol_hash"]
    assert to_csv(tables.figures_frame(reported.groups)[columns]) == (
        ",".join(columns) + "\n"
        'latte1,"0, 1",10.0,105.0,2,seeds,900.0,80.0,protocol-a\n'
        "latte2,0,10.0,12345.6,1,clips,901.0,80.0,protocol-a\n"
    )


def test_a_configuration_of_runs_that_failed_early_is_a_row(make_run: MakeRun, failed: dict[str, Any]) -> None:
    reported = load_runs([make_run(**failed, counts=None, training=None, conditions=None).parent])
    text = to_csv(tables.figures_frame(reported.groups))
    [row] = csv.DictReader(io.StringIO(text))
    assert (row["label"], row["status"], row["gmacs"], row["clips_seen"]) == ("latte1", "1 oom", "", "")
    assert rows(tables.results_table(reported.groups)) == ["configuration | seeds", "latte1 | 1 (seed 0)"]


@pytest.mark.parametrize(
    ("seeds", "said"),
    [
        ([], ""),
        ([0], "1 (seed 0)"),
        ([1, 2], "2 (seeds 1, 2)"),
        ([0, 1, 2], "3 (seeds 0-2)"),
        ([0, 2, 3], "3 (seeds 0, 2, 3)"),
    ],
)
def test_seeds_are_counted_and_named(seeds: list[int], said: str) -> None:
    assert tables.describe_seeds(seeds) == said

"""What the seeds of one configuration say together."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stbench.records.measures import MEASURES
from stbench.reports.comparison.judging import judge, settle
from stbench.reports.groups import Estimate, Group, conditions_apart
from stbench.reports.runs import load_runs

MakeRun = Callable[..., Path]


def groups(run: Path) -> list[Group]:
    return load_runs([run.parent]).groups


def test_several_seeds_have_a_t_interval_of_their_mean(make_run: MakeRun) -> None:
    for seed, fvd in enumerate((100.0, 102.0, 104.0)):
        run = make_run("latte1", seed, fvd, **{"quality.fvd_interval": [90.0, 120.0]})
    [group] = groups(run)
    score = group.score("fvd")
    # Mean 102, sd 2, half width t(0.975, 2) * 2 / sqrt(3) = 4.302653 * 1.154701 = 4.97.
    assert score is not None and score.interval == pytest.approx((97.032, 106.968), abs=1e-3)
    assert (score.values, score.mean, score.sd, score.interval_of) == ((100, 102, 104), 102, 2, "seeds")
    assert group.seeds == [0, 1, 2]


def test_one_seed_has_the_interval_of_its_clips(make_run: MakeRun) -> None:
    [group] = groups(make_run(**{"quality.fvd_interval": [90.0, 120.0]}))
    assert group.score("fvd") == Estimate((100.0,), 100.0, None, (90.0, 120.0), "clips")
    assert group.score("inception_score") is None


def test_a_seed_that_was_run_twice_is_one_seed(make_run: MakeRun) -> None:
    make_run("latte1", 0, 100.0, created="2026-01-01T00:00:00Z", **{"quality.fvd_interval": [90.0, 120.0]})
    run = make_run("latte1", 0, 110.0, **{"quality.fvd_interval": [90.0, 120.0]})
    [group] = groups(run)
    assert (group.seeds, group.status) == ([0], "2 finished")
    assert group.score("fvd") == Estimate((105.0,), 105.0)


def test_a_protocol_is_a_group_of_its_own_and_a_failed_run_joins_its_configuration(
    make_run: MakeRun, failed: dict[str, Any]
) -> None:
    make_run("latte1", 0, 100.0)
    make_run("latte1", 1, **failed)
    run = make_run("latte1", 2, 300.0, **{"quality.protocol_hash": "protocol-b"})
    first, second = groups(run)
    assert (first.status, first.seeds, first.protocol_hash) == ("1 finished, 1 oom", [0], "protocol-a")
    assert (second.status, second.seeds, second.protocol_hash) == ("1 finished", [2], "protocol-b")


def test_a_validation_protocol_is_a_group_of_its_own(make_run: MakeRun, failed: dict[str, Any]) -> None:
    point = {"loss": 0.5, "buckets": [0.5]}
    fixed = {"n_clips": 8, "draws": 5, "edges": [0.0, 1.0], "curve": [], **point}
    for seed, protocol in enumerate("vvw"):
        make_run("latte1", seed, validation={**fixed, "protocol_hash": protocol})
    groups = load_runs([make_run("latte1", 3, **failed).parent]).groups
    assert [group.condition(MEASURES["validation_loss"]) for group in groups] == ["v", "w"]
    assert [len(group.records) for group in groups] == [3, 1]


def test_a_group_that_nobody_judged_names_all_its_seeds(make_run: MakeRun, failed: dict[str, Any]) -> None:
    [group] = groups(make_run("latte1", 1, **failed))
    assert (group.seeds, group.protocol_hash, group.detector) == ([1], None, None)


def test_a_time_is_the_mean_of_the_medians_on_a_quiet_machine_as_in_a_comparison(make_run: MakeRun) -> None:
    make_run("latte1", 0, **{"timing.forward.median": 0.010, "timing.forward.waited_share": 0.0})
    make_run("latte1", 1, **{"timing.forward.median": 0.030, "timing.forward.waited_share": 0.04})
    run = make_run("latte1", 2, **{"timing.forward.median": 9.0, "timing.forward.waited_share": 0.6})
    [group] = groups(run)
    time = group.time("forward")
    assert time is not None and (time.ms, time.clips, time.waited_share) == (20, 2, 0.04)
    assert not time.under_load
    verdicts = settle(judge(group.records, group.records))
    assert [each.base for each in verdicts if each.metric == "forward (ms)"] == [20]


def test_a_time_that_was_only_taken_under_load_says_so(make_run: MakeRun) -> None:
    [group] = groups(make_run(**{"timing.forward.waited_share": 0.6}))
    time = group.time("forward")
    assert time is not None and time.under_load


def test_costs_of_unequal_conditions_have_no_common_figure(make_run: MakeRun) -> None:
    make_run("latte1", 0)
    run = make_run("latte1", 1, **{"conditions.threads": 1, "conditions.load_average": 3.0})
    [group] = groups(run)
    assert group.time("forward") is None and group.cost("memory.peak_rss_mib") is None
    assert group.figure("counts.gmacs") == 1.5
    assert list(conditions_apart([group]).values()) == ["threads 2", "threads 1"]


def test_load_alone_does_not_set_conditions_apart(make_run: MakeRun) -> None:
    make_run("latte1", 0)
    [group] = groups(make_run("latte1", 1, **{"conditions.load_average": 3.0}))
    assert list(conditions_apart([group]).values()) == [""]


def test_a_run_whose_seed_is_not_recorded_is_none_of_the_seeds(make_run: MakeRun) -> None:
    [group] = groups(make_run(**{"config.seed": None}))
    assert group.seeds == []
    assert group.score("fvd") == Estimate((100.0,), 100.0)

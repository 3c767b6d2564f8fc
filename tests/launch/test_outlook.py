"""What a run would take is told by an earlier run of its network here, else by steps timed now, else by counting."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stbench.launch.arms import read_arms
from stbench.launch.outlook import AT_LEAST, BESIDES_S, MEASURED, STEPS, TIMED_NOW, earlier_records, forecasts, outlook
from stbench.profiling.footprint import Footprint
from stbench.records.schema import Record
from stbench.records.sections import CostConditions, Counts, Memory, Timing, Training
from stbench.run.preview import Forecast
from stbench.settings.schema import RunConfig

from .conftest import MakeCell, record_of, write_record


def timing(seconds: float, waited_share: float | None = None) -> Timing:
    return Timing(
        what="step", samples=(seconds,), median=seconds, spread=0, batch_size=4, clips_per_s=4 / seconds,
        waited_share=waited_share,
    )  # fmt: skip


@pytest.fixture
def forecast(config: RunConfig, conditions: CostConditions) -> Forecast:
    """Of 6 steps of 4 clips, and 100 evaluations of the network on a clip."""
    return Forecast(
        config=config,
        latent_shape=(3, 8, 16, 16),
        num_classes=4,
        num_tokens=None,
        counts=Counts(params_total=1, params_trainable=1, gmacs=2.0, gflops=4.0),
        memory=Footprint(30.0, 70.0),
        training_gmacs=600.0,
        no_validation=None,
        network_evaluations=100,
        ceiling_gflops_per_s=80.0,
        conditions=conditions,
        judged_by={},
    )


@pytest.fixture
def earlier(make_cell: MakeCell, conditions: CostConditions) -> Record:
    """A run of the same network, made under another load; a step took 3 s, and 2 s when timed alone."""
    cell = make_cell(seed=5)
    training = Training(
        steps=6, loss_curve="loss.csv", wall_s=18.0, precision="float32", attention="math", device="cpu",
        freed_memory="kept",
    )  # fmt: skip
    return replace(
        Record.from_json(record_of(cell)),
        conditions=replace(conditions, load_average=7.0),
        timing={"train_step": timing(2.0), "sampling_step": timing(0.5)},
        memory=Memory(peak_rss_mib=500.0),
        training=training,
    )


def test_an_earlier_run_of_the_network_tells_best(forecast: Forecast, earlier: Record) -> None:
    """6 steps of 3 s, and 100 evaluations at 8 clips a second."""
    busy = replace(earlier, timing={"train_step": timing(9.0, waited_share=0.5), "sampling_step": timing(9.0)})
    ahead = outlook(forecast, {}, [busy, earlier])
    assert ahead.seconds == pytest.approx(BESIDES_S + 6 * 3 + 100 / 8)
    assert (ahead.seconds_by, ahead.memory_mib, ahead.memory_by) == (MEASURED, 500, MEASURED)


@pytest.mark.parametrize("other", ["machine", "threads", "network"])
def test_a_run_of_other_costs_tells_nothing(other: str, forecast: Forecast, earlier: Record) -> None:
    assert earlier.conditions
    others: dict[str, dict[str, Any]] = {
        "machine": {"conditions": replace(earlier.conditions, machine="box-2")},
        "threads": {"conditions": replace(earlier.conditions, threads=1)},
        "network": {"config": {**earlier.config, "variant": {"name": "latte1", "arguments": {"size": "XL"}}}},
    }
    ahead = outlook(forecast, {}, [replace(earlier, **others[other])])
    assert ahead.seconds == pytest.approx(2 * (600 + 2 * 100) / 80)
    assert (ahead.seconds_by, ahead.memory_mib, ahead.memory_by) == (AT_LEAST, 100, AT_LEAST)


def test_steps_timed_now_tell_better_than_counting(forecast: Forecast) -> None:
    ahead = outlook(forecast, {"train_step": timing(2.0), "sampling_step": timing(0.5)}, [])
    assert (ahead.seconds, ahead.seconds_by) == (pytest.approx(BESIDES_S + 6 * 2 + 100 / 8), TIMED_NOW)


def test_what_cannot_be_counted_is_not_known(forecast: Forecast) -> None:
    assert outlook(replace(forecast, training_gmacs=None), {}, []).seconds is None


def test_a_small_network_is_timed() -> None:
    words = ["variant=latte1", "variant.size=tiny", "dataset=shapes", "preset=smoke", "device=cpu", "compile=default"]
    [(ahead, timed)] = forecasts(read_arms(words), threads=1)
    assert timed.keys() == set(STEPS)
    assert ahead.conditions.threads == 1
    assert ahead.config.settings.compile == "default"
    assert ahead.judged_by.keys() == {"quality", "validation"}


def test_earlier_records_are_those_that_finished(make_cell: MakeCell, tmp_path: Path) -> None:
    cells = [make_cell(seed=seed) for seed in range(3)]
    assert earlier_records([cells[0].out]) == []
    write_record(cells[0], record_of(cells[0], "oom"))
    write_record(cells[1], {"schema": 1})
    write_record(cells[2], record_of(cells[2]))
    found = earlier_records([cells[0].out, cells[0].out, tmp_path / "nowhere"])
    assert [each.config["seed"] for each in found] == [2]

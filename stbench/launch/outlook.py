"""What one run of each arm would take: by an earlier run of its network here, by a few steps timed now, or by counting.

Imports no torch: what builds networks and times them does so in a process of its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from stbench.errors import StbenchError
from stbench.launch.arms import Arm
from stbench.launch.aside import call_aside
from stbench.records.measures import Kind
from stbench.records.schema import Record, value_at
from stbench.records.sections import Timing
from stbench.records.statistics import under_load
from stbench.records.store import RECORD_NAME, find_records

if TYPE_CHECKING:
    from stbench.run.preview import Forecast

MEASURED, TIMED_NOW, AT_LEAST = "measured", "timed now", "at least"
QUICK_S = 0.5  # a training step that would take longer at the speed of a matrix product is not timed now
# What a run of any length takes besides, on two cores: it starts, counts and times its network, judges its samples.
BESIDES_S = 10.0
STEPS = ("train_step", "sampling_step")


@dataclass(frozen=True)
class Outlook:
    """What one run of an arm takes.

    Attributes:
        seconds: of all of it; None where the operations of a training step are not known.
        seconds_by: `MEASURED` in a run of the same network under the same conditions, `TIMED_NOW` without compilation,
            or `AT_LEAST`: its operations at the speed of a large matrix product.
        memory_mib: the peak.
        memory_by: `MEASURED`, or `AT_LEAST`: weights, optimizer and activations, without what libraries take.
        config: of the run.
        judged_by: by kind of measure, the hash of what its figures will be measured under.
    """

    seconds: float | None
    seconds_by: str
    memory_mib: float
    memory_by: str
    config: Mapping[str, Any] = field(default_factory=dict, repr=False)
    judged_by: Mapping[Kind, str] = field(default_factory=dict)


def look_ahead(arms: Sequence[Arm], threads: int | None, earlier: Sequence[Record]) -> dict[Arm, Outlook]:
    """Say what a run of each arm would take.

    Args:
        arms: what would run.
        threads: of each run; None for as many as torch takes.
        earlier: records among which those of the same network, machine and conditions are looked for.

    Raises:
        StbenchError: naming the arm, for whatever a run would refuse before its first step.
    """
    seen = call_aside(forecasts, list(arms), threads)
    return {arm: outlook(*own, earlier) for arm, own in zip(arms, seen, strict=True)}


def earlier_records(folders: Sequence[Path]) -> list[Record]:
    """The finished runs in folders, as far as there are any and they can be read."""
    there = [folder for folder in dict.fromkeys(folders) if next(folder.rglob(RECORD_NAME), None)]
    try:
        return [each.record for each in find_records(there).stored if each.record.finished]
    except StbenchError:  # none of them can be read, which costs no more than an estimate
        return []


def outlook(forecast: Forecast, timed: Mapping[str, Timing], earlier: Sequence[Record]) -> Outlook:
    """What a run takes, by the best that there is to tell it by."""
    own = [record for record in earlier if _has_costs_of(record, forecast)]
    quiet = [record for record in own if not under_load(record.timing["train_step"].waited_share)] or own
    counted, gmacs = forecast.memory.state_mib + forecast.memory.activations_mib, forecast.training_gmacs
    peaks = [record.memory.peak_mib for record in own if record.memory and record.memory.peak_mib]
    memory = (max(peaks), MEASURED) if peaks else (counted, AT_LEAST)
    known = (*memory, forecast.config.to_dict(), forecast.judged_by)
    if quiet:
        return Outlook(median(_seconds(forecast, _step_s(each), each.timing) for each in quiet), MEASURED, *known)
    if timed:
        return Outlook(_seconds(forecast, timed["train_step"].median, timed), TIMED_NOW, *known)
    seconds = None if gmacs is None else forecast.least_seconds(gmacs + forecast.sampling_gmacs)
    return Outlook(seconds, AT_LEAST, *known)


def forecasts(arms: Sequence[Arm], threads: int | None) -> list[tuple[Forecast, dict[str, Timing]]]:
    """What is known of a run of each arm without an earlier one; as of `look_ahead`."""
    import torch

    from stbench.run.preview import forecast, timed_steps
    from stbench.run.setup import Parts, prepare
    from stbench.settings.resolve import resolve

    torch.set_num_threads(threads or torch.get_num_threads())
    parts, seen = Parts(), []
    for arm in arms:
        try:
            setup = prepare(resolve(arm.words), parts)
            ahead = forecast(setup)
        except StbenchError as error:
            raise StbenchError(f"{arm.label}: {error}") from error
        steps, gmacs = setup.config.settings.train.steps, ahead.training_gmacs or math.inf
        seen.append((ahead, timed_steps(setup, STEPS) if ahead.least_seconds(gmacs) < QUICK_S * steps else {}))
    return seen


def _has_costs_of(record: Record, forecast: Forecast) -> bool:
    """Whether a record has the costs that a run will have: of one network, under equal conditions."""
    components = forecast.config.to_dict()
    return (
        record.conditions is not None
        and record.conditions.but_load == forecast.conditions.but_load
        and record.timing.keys() >= set(STEPS)
        and all(value_at(record.config, kind) == components[kind] for kind in ("variant", "dataset"))
    )


def _step_s(record: Record) -> float:
    """How long a step of a training took, with its clips and the averaging of weights."""
    training = record.training
    return training.wall_s / training.steps if training and training.steps else record.timing["train_step"].median


def _seconds(forecast: Forecast, step_s: float, timing: Mapping[str, Timing]) -> float:
    """How long a run takes with steps of such times."""
    training = forecast.config.settings.train.steps * step_s
    return BESIDES_S + training + forecast.network_evaluations / timing["sampling_step"].clips_per_s

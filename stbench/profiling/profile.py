"""The cost of backbones: parameters, operations, times of a forward pass, a training and a sampling step, peak memory.

Operations are those of one clip. Times and memory are measured with the run's batch size, precision and attention
backend, on random latents: what a step costs does not depend on the values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
from torch import nn

from stbench.errors import first_line
from stbench.profiling.counts import count
from stbench.profiling.workbench import Conditions, Subject, Workbench
from stbench.profiling.workload import Workload
from stbench.records.sections import Cost, Timing
from stbench.runtime.compilation import compile_in_place
from stbench.runtime.device import Runtime
from stbench.runtime.machine import is_out_of_memory
from stbench.runtime.timing import keeping_failure, measure_interleaved

__all__ = ["Workload", "compile_in_place", "failure", "profile_backbone", "profile_together"]

STEPS = ("forward", "train_step", "sampling_step")
MIN_SAMPLES = 5
MAX_SECONDS = 2.0  # of sampling, for each piece of work of each backbone


def profile_backbone(
    construct: Callable[[], nn.Module],
    runtime: Runtime,
    workload: Workload,
    *,
    objective: str,
    batch_size: int,
    compile_mode: str = "off",
) -> Cost:
    """Count and measure a backbone on weights of its own, which are thrown away.

    Args:
        construct: builds the backbone on torch's current default device.
        runtime: device, precision and attention backend.
        workload: the input.
        objective: of the training and the sampling step.
        batch_size: clips of every step.
        compile_mode: "off", "default" or "max-autotune".
    """
    subject = Subject(construct, workload)
    conditions = Conditions(runtime, objective, batch_size, compile_mode)
    return profile_together({"": subject}, conditions)[""]


def profile_together(
    subjects: Mapping[str, Subject], conditions: Conditions, failures: dict[str, Exception] | None = None
) -> dict[str, Cost]:
    """Count and measure several backbones, timed in turn, so that a drift of the machine meets all of them alike.

    All of them are on the device while they are timed; memory and energy are measured on each alone, afterwards. (On a
    CPU the resident set of a process that measured several still holds what earlier ones left.)

    Args:
        subjects: what to measure, by name.
        conditions: under what.
        failures: gets the exception of each backbone that cannot be built, compiled or held in memory, which is then
            left out; without it, the first exception goes up.

    Returns:
        A profile for each that did not fail, by name.
    """
    counts, workbenches = {}, {}
    for name, subject in subjects.items():
        with keeping_failure(name, failures):
            counts[name] = count(subject.construct, subject.workload)
            workbenches[name] = Workbench(subject, conditions)
    timing = _time_in_turn(workbenches, conditions, failures)
    alone = len(workbenches) == 1
    profiles: dict[str, Cost] = {}
    for name in timing:
        workbench = workbenches[name] if alone else None
        workbenches.clear()
        _free_unused(conditions.runtime.device)
        with keeping_failure(name, failures):
            workbench = workbench or Workbench(subjects[name], conditions)
            profiles[name] = Cost(
                counts=counts[name], timing=timing[name], memory=workbench.peaks(), energy=workbench.energy()
            )
    return profiles


def failure(error: Exception) -> dict[str, str]:
    """The status and the reason, in one line, of what could not be measured."""
    return {"status": "oom" if is_out_of_memory(error) else "failed", "reason": first_line(error)}


def _time_in_turn(
    workbenches: dict[str, Workbench], conditions: Conditions, failures: dict[str, Exception] | None
) -> dict[str, dict[str, Timing]]:
    """Time each step of all workbenches in turn; workbenches that fail are dropped."""
    timing: dict[str, dict[str, Timing]] = {name: {} for name in workbenches}
    for step in STEPS:
        works = {}
        for name, workbench in workbenches.items():
            with keeping_failure(name, failures):
                works[name] = workbench.work(step)
        taken = measure_interleaved(
            works, conditions.runtime.device, min_samples=MIN_SAMPLES, max_seconds=MAX_SECONDS * max(1, len(works)),
            batch_size=conditions.batch_size, failures=failures,
        )  # fmt: skip
        for name in set(workbenches) - set(taken):
            del workbenches[name], timing[name]
        for name, one in taken.items():
            timing[name][step] = replace(one, what=step)
    return timing


def _free_unused(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.empty_cache()

"""The cost of backbones: parameters, operations, times of a forward pass, a training and a sampling step, peak memory.

Operations are those of one clip. Times and memory are measured with the run's batch size, precision and attention
backend, on random latents: what a step costs does not depend on the values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from stbench.profiling.counts import count
from stbench.profiling.workbench import Conditions, Subject, Workbench
from stbench.records.sections import Cost, CostConditions, Timing
from stbench.runtime.failure import Failure, attempt
from stbench.runtime.load import load_average
from stbench.runtime.machine import describe_machine
from stbench.runtime.timing import attempt_interleaved

STEPS = ("forward", "train_step", "sampling_step")
MIN_SAMPLES = 5
MAX_SECONDS = 2.0  # of sampling, for each piece of work of each backbone


def measure_costs(subjects: Sequence[Subject], conditions: Conditions) -> list[Cost | Failure]:
    """Count and measure backbones, timed in turn, so that a drift of the machine meets all of them alike.

    All of them are on the device while they are timed; memory and energy are measured on each alone, afterwards. (On a
    CPU the resident set of a process that measured several still holds what earlier ones left.)

    Args:
        subjects: what to measure; each has weights of its own, which are thrown away.
        conditions: under what.

    Returns:
        For each subject its cost, or why it could not be built, compiled, run or held in memory.
    """
    load_before = load_average()
    counts = [attempt(count, subject.construct, subject.workload) for subject in subjects]
    workbenches = [
        counted if isinstance(counted, Failure) else attempt(Workbench, subject, conditions)
        for subject, counted in zip(subjects, counts, strict=True)
    ]
    timings = _time_in_turn(workbenches, conditions)
    # What is measured next wants the device for itself: of several workbenches none stays on it.
    alone = sum(isinstance(each, Workbench) for each in workbenches) == 1
    kept = [each if alone or isinstance(each, Failure) else None for each in workbenches]
    del workbenches
    outcomes: list[Cost | Failure] = []
    for subject, counted, workbench, timing in zip(subjects, counts, kept, timings, strict=True):
        if isinstance(counted, Failure):
            outcomes.append(counted)
        elif isinstance(workbench, Failure):
            outcomes.append(workbench)
        else:
            timed = Cost(counts=counted, conditions=recorded(subject, conditions, load_before), timing=timing)
            outcomes.append(attempt(_finish, subject, conditions, workbench, timed))
    return outcomes


def recorded(subject: Subject, conditions: Conditions, load_before: float | None = None) -> CostConditions:
    """What a subject is measured under, as a record tells it."""
    runtime, workload = conditions.runtime, subject.workload
    return CostConditions(
        machine=describe_machine().fingerprint,
        torch=torch.__version__,
        device=runtime.device.type,
        threads=torch.get_num_threads(),
        precision=runtime.precision,
        attention=runtime.attention,
        compile=conditions.compile_mode,
        freed_memory=runtime.freed_memory,
        objective=conditions.objective,
        latents=workload.latent_shape,
        batch_size=conditions.batch_size,
        joint_images=workload.joint_images,
        load_average=load_before,
    )


def _time_in_turn(workbenches: list[Workbench | Failure], conditions: Conditions) -> list[dict[str, Timing]]:
    """Time each step of all workbenches in turn. Failures take the places of workbenches that fail on the way."""
    timings: list[dict[str, Timing]] = [{} for _ in workbenches]
    for step in STEPS:
        works = {
            index: attempt(workbench.work, step)
            for index, workbench in enumerate(workbenches)
            if isinstance(workbench, Workbench)
        }
        ready = {str(index): work for index, work in works.items() if not isinstance(work, Failure)}
        taken = attempt_interleaved(
            ready,
            conditions.runtime.device,
            min_samples=MIN_SAMPLES,
            max_seconds=MAX_SECONDS * max(1, len(ready)),
            batch_size=conditions.batch_size,
        )
        for index, work in works.items():
            outcome = work if isinstance(work, Failure) else taken[str(index)]
            if isinstance(outcome, Failure):
                workbenches[index] = outcome
            else:
                timings[index][step] = replace(outcome, what=step)
    return timings


def _finish(subject: Subject, conditions: Conditions, workbench: Workbench | None, timed: Cost) -> Cost:
    """Measure what wants a device for itself, on the workbench that is left or on a new one."""
    if conditions.runtime.device.type == "cuda":
        torch.cuda.empty_cache()
    workbench = workbench or Workbench(subject, conditions)
    return replace(timed, memory=workbench.peaks(), energy=workbench.energy())

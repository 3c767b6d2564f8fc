"""The largest batch of a training step that memory holds: doubled until it runs out."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace

import torch

from stbench.profiling.memory import MIB
from stbench.profiling.workbench import Conditions, Subject, Workbench
from stbench.records.costs import BatchSizeSearch, Trial
from stbench.runtime.failure import Failure, attempt
from stbench.runtime.machine import read_text


def search_batch_size(subject: Subject, conditions: Conditions, limit: int) -> BatchSizeSearch:
    """Search the largest batch of a training step of a subject; see `find_batch_size`."""
    on_cpu = conditions.runtime.device.type == "cpu"
    return find_batch_size(
        lambda batch_size: peak_of_training_step(subject, replace(conditions, batch_size=batch_size)),
        limit,
        host_memory_mib() if on_cpu else None,
    )


def find_batch_size(
    peak_mib_of: Callable[[int], float], limit: int, available_mib: float | None = None
) -> BatchSizeSearch:
    """Double the batch until memory runs out.

    Args:
        peak_mib_of: runs a training step with that many clips and returns its peak memory.
        limit: the largest batch that is tried.
        available_mib: memory that a step may take, where exceeding it cannot be survived; twice the clips are taken to
            need twice the memory.
    """
    trials: list[Trial] = []
    largest, batch_size, expected_mib = None, 1, 0.0
    while batch_size <= limit:
        if available_mib is not None and expected_mib > available_mib:
            reason = f"about {expected_mib:.0f} MiB expected, {available_mib:.0f} MiB there"
            trials.append(Trial(batch_size=batch_size, status="refused", reason=reason))
            break
        peak_mib = attempt(peak_mib_of, batch_size)
        if isinstance(peak_mib, Failure):
            if peak_mib.status != "oom":
                raise peak_mib.error
            trials.append(Trial(batch_size=batch_size, status="oom", reason=peak_mib.reason))
            break
        trials.append(Trial(batch_size=batch_size, status="fits", peak_mib=peak_mib))
        largest, batch_size, expected_mib = batch_size, 2 * batch_size, 2 * peak_mib
    return BatchSizeSearch(largest_batch_size=largest, trials=tuple(trials))


def peak_of_training_step(subject: Subject, conditions: Conditions) -> float:
    """Peak memory of a training step in MiB: allocated on a GPU, resident on a CPU."""
    if conditions.runtime.device.type == "cuda":
        torch.cuda.empty_cache()
    peak = Workbench(subject, conditions).peaks().peak_mib
    assert peak is not None  # the process's is always there
    return peak


def host_memory_mib() -> float:
    """Memory that this process may use: the machine's, or less where its control group says so."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    group = read_text("/sys/fs/cgroup/memory.max").strip()
    return min([machine, *([int(group)] if group.isdecimal() else [])]) / MIB

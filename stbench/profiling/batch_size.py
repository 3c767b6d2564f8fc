"""The largest batch of a training step that memory holds: doubled until it runs out."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from stbench.errors import first_line
from stbench.profiling.memory import MIB
from stbench.profiling.workbench import Conditions, Subject, Workbench
from stbench.runtime.machine import is_out_of_memory, read_text


@dataclass(frozen=True)
class Trial:
    """One batch size that was tried.

    Attributes:
        batch_size: clips of the step.
        status: "fits"; "oom"; or "refused", on a CPU, where the kernel would end the process instead of telling it.
        peak_mib: peak memory of a step that fits: allocated on a GPU, resident on a CPU.
        reason: why it does not fit.
    """

    batch_size: int
    status: str
    peak_mib: float | None = None
    reason: str | None = None


@dataclass(frozen=True)
class BatchSizeSearch:
    """Every batch size that was tried, in rising order."""

    trials: list[Trial]

    @property
    def largest(self) -> int | None:
        """The largest batch that fits; None when not even one clip does."""
        return max((trial.batch_size for trial in self.trials if trial.status == "fits"), default=None)

    def to_json(self) -> dict[str, Any]:
        """The search as `stbench profile` writes it."""
        return {"largest_batch_size": self.largest, "trials": [vars(trial) for trial in self.trials]}


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
    batch_size, expected_mib = 1, 0.0
    while batch_size <= limit:
        if available_mib is not None and expected_mib > available_mib:
            reason = f"about {expected_mib:.0f} MiB expected, {available_mib:.0f} MiB there"
            trials.append(Trial(batch_size, "refused", reason=reason))
            break
        trials.append(_try(peak_mib_of, batch_size))
        if trials[-1].peak_mib is None:
            break
        batch_size, expected_mib = 2 * batch_size, 2 * trials[-1].peak_mib
    return BatchSizeSearch(trials)


def peak_of_training_step(subject: Subject, conditions: Conditions) -> float:
    """Peak memory of a training step in MiB: allocated on a GPU, resident on a CPU."""
    device = conditions.runtime.device
    if device.type == "cuda":
        torch.cuda.empty_cache()
    peak = Workbench(subject, conditions).peaks().peak_mib
    assert peak is not None  # the process's is always there
    return peak


def host_memory_mib() -> float:
    """Memory that this process may use: the machine's, or less where its control group says so."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    group = read_text("/sys/fs/cgroup/memory.max").strip()
    return min([machine, *([int(group)] if group.isdecimal() else [])]) / MIB


def _try(peak_mib_of: Callable[[int], float], batch_size: int) -> Trial:
    try:
        return Trial(batch_size, "fits", peak_mib=peak_mib_of(batch_size))
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        return Trial(batch_size, "oom", reason=first_line(error))

"""A training step of Latte-S/2: stbench against the authors' pattern of computation, in float32 and in bfloat16.

The authors' pattern runs twice: in a process whose memory allocator nobody has touched, which is how a training script
runs, and with freed memory kept, which separates what the allocator gains from what the computation gains.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from stbench.backbones.latte import Latte
from stbench.bench.own_process import own_process
from stbench.bench.released_pattern import ReleasedPattern
from stbench.profiling.ceilings import matmul_ceiling
from stbench.profiling.counts import count
from stbench.profiling.workbench import Conditions, Subject, Workbench
from stbench.profiling.workload import Workload
from stbench.records.sections import Timing
from stbench.runtime.allocator import keep_freed_memory
from stbench.runtime.attention.choice import AttentionChoices
from stbench.runtime.device import PRECISIONS, Runtime
from stbench.runtime.timing import Work, measure_interleaved

# (size, batch size): what two cores can do in seconds, and what a GPU can hold once for each candidate.
SUBJECTS = {"cpu": ("S", 2), "cuda": ("B", 16)}
WORKLOAD = Workload((4, 16, 32, 32))
MIN_SAMPLES = 9


@dataclass(frozen=True)
class Candidate:
    """One way to compute the step."""

    computation: str  # "released" or "stbench"
    precision: str
    compile_mode: str = "off"
    freed_memory: str = "kept"

    @property
    def name(self) -> str:
        """In tables and figures."""
        compiled = "" if self.compile_mode == "off" else ", compiled"
        memory = "" if self.computation == "stbench" or self.freed_memory == "returned" else ", freed memory kept"
        return f"{self.computation}, {self.precision}{compiled}{memory}"


CANDIDATES = tuple(
    Candidate(computation, precision, compile_mode, freed_memory)
    for precision in PRECISIONS
    for computation, compile_mode, freed_memory in (
        ("released", "off", "returned"),
        ("released", "off", "kept"),
        ("stbench", "off", "kept"),
        ("stbench", "default", "kept"),
    )
)


def measure_training_steps(device: torch.device, min_samples: int = MIN_SAMPLES) -> dict[str, Any]:
    """Time all candidates in turn, and the ceiling of matrix products beside them.

    Returns:
        size, batch_size, gflop (of a step's forward and backward pass), ceiling_gflop_per_s by precision, rows (one a
        candidate: samples and median in seconds, gflop_per_s, share_of_ceiling, and the speed as a multiple of the
        released pattern's in the same precision and in float32), attention (what `auto` chose).
    """
    size, batch_size = SUBJECTS[device.type]
    choices = AttentionChoices()
    with ExitStack() as stack:
        works: dict[str, Work] = {}
        for each in CANDIDATES:
            arguments = (each, device, size, batch_size, choices)
            alone = each.freed_memory == "returned" and device.type == "cpu"
            works[each.name] = stack.enter_context(own_process(_work, *arguments)) if alone else _work(*arguments)
        keep_freed_memory()
        ceilings = _ceilings(device)
        timings = measure_interleaved(works, device, min_samples=min_samples, max_seconds=0, batch_size=batch_size)
        ceilings = {precision: max(value, ceilings[precision]) for precision, value in _ceilings(device).items()}
    gmacs = count(lambda: Latte(size=size), WORKLOAD, with_fvcore=False).gmacs_train_step
    assert gmacs is not None  # a Latte can be counted
    gflop = 2 * gmacs * batch_size
    return {
        "size": size,
        "batch_size": batch_size,
        "latents": list(WORKLOAD.latent_shape),
        "gflop": gflop,
        "ceiling_gflop_per_s": ceilings,
        "rows": rows_of(timings, gflop, ceilings),
        "attention": [asdict(choice) for choice in choices.rows()],
    }


def _work(candidate: Candidate, device: torch.device, size: str, batch_size: int, choices: AttentionChoices) -> Work:
    """The training step of a candidate, on weights of its own."""

    def construct() -> nn.Module:
        latte = Latte(size=size)
        return ReleasedPattern(latte) if candidate.computation == "released" else latte

    runtime = Runtime(device, candidate.precision, "auto", attention_choices=choices)
    conditions = Conditions(runtime, "ddpm", batch_size, candidate.compile_mode)
    return Workbench(Subject(construct, WORKLOAD), conditions).work("train_step")


def _ceilings(device: torch.device) -> dict[str, float]:
    return {precision: matmul_ceiling(device, dtype) for precision, dtype in PRECISIONS.items()}


def rows_of(timings: Mapping[str, Timing], gflop: float, ceilings: Mapping[str, float]) -> list[dict[str, Any]]:
    """A row for each candidate; see `measure_training_steps`."""
    released = {
        each.precision: timings[each.name].median
        for each in CANDIDATES
        if (each.computation, each.freed_memory) == ("released", "returned")
    }
    rows = []
    for each in CANDIDATES:
        timing = timings[each.name]
        rows.append(
            {
                **asdict(each),
                "name": each.name,
                "samples": list(timing.samples),
                "median_s": timing.median,
                "gflop_per_s": gflop / timing.median,
                "share_of_ceiling": gflop / timing.median / ceilings[each.precision],
                "speedup_same_precision": released[each.precision] / timing.median,
                "speedup_over_released_float32": released["float32"] / timing.median,
                "compile_s": timing.compile_s if each.compile_mode != "off" else None,
            }
        )
    return rows

"""Parameters and operations of a backbone, by every counter that can be asked: the record's `counts`."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from stbench.errors import StbenchError, first_line
from stbench.profiling.conventions import NOTES, published_conventions
from stbench.profiling.flops import OperationCounts, agree, count_operations, count_parameters
from stbench.profiling.fvcore_counter import FvcoreCount, count_with_fvcore
from stbench.profiling.workload import Workload
from stbench.records.sections import Counts
from stbench.runtime.attention.attend import set_attention_backend

# fvcore runs a real forward pass on the CPU; beyond these it would take longer than a few seconds.
FVCORE_MAX_PARAMETERS = 50_000_000
FVCORE_MAX_GMACS = 150.0


def count(construct: Callable[[], nn.Module], workload: Workload, with_fvcore: bool = True) -> Counts:
    """Parameters and the operations of one clip; those of a training step with the images that are appended to it.

    `gmacs_by_counter` has "fvcore" for networks below `FVCORE_MAX_PARAMETERS` and `FVCORE_MAX_GMACS` only. Where
    counters differ by more than a thousandth, or no formula knows an operator, `incomplete` says so, and what to do.

    Args:
        construct: builds the backbone on torch's current default device.
        workload: the input.
        with_fvcore: ask fvcore as well, where it can be afforded; nothing is run without it.
    """
    forward = count_operations(construct, lambda: workload.inputs(1))
    with torch.device("meta"):
        backbone = construct()
    total, trainable = count_parameters(backbone)
    by_counter, incomplete = dict(forward.gmacs_by_counter), list(forward.incomplete)
    if with_fvcore and total < FVCORE_MAX_PARAMETERS and forward.gmacs < FVCORE_MAX_GMACS:
        by_fvcore, complaints = _ask_fvcore(construct, workload, forward)
        by_counter |= by_fvcore
        incomplete += complaints
    gmacs_train_step = None
    try:
        step = count_operations(construct, lambda: workload.inputs(1, training=True), training=True)
        gmacs_train_step = step.gmacs
        incomplete += [f"training step: {each}" for each in step.incomplete if each not in incomplete]
    except StbenchError as error:  # a network that can be run, and not trained
        incomplete.append(f"training step: {error}")
    conventions = published_conventions(backbone)
    return Counts(
        params_total=total,
        params_trainable=trainable,
        gmacs=forward.gmacs,
        gflops=forward.gflops,
        gmacs_train_step=gmacs_train_step,
        gmacs_by_counter=by_counter,
        gmacs_by_operator=forward.gmacs_by_operator,
        gmacs_by_module=forward.gmacs_by_module,
        gmacs_by_part=forward.gmacs_by_part,
        attention_modules=set_attention_backend(backbone, "math"),
        conventions=conventions,
        convention_notes=tuple(NOTES[name] for name in conventions),
        incomplete=tuple(incomplete),
    )


def _ask_fvcore(
    construct: Callable[[], nn.Module], workload: Workload, forward: OperationCounts
) -> tuple[dict[str, float], list[str]]:
    """The count of fvcore, if it can trace the network, and what is wrong with it."""
    try:
        counted = count_with_fvcore(construct, lambda: workload.inputs(1))
    except Exception as error:  # a trace of somebody's network fails in as many ways as there are networks
        return {}, [f"fvcore cannot trace the network, gmacs is torch's: {first_line(error)}"]
    return {"fvcore": counted.gmacs}, _disagreement(counted, forward)


def _disagreement(by_fvcore: FvcoreCount, by_torch: OperationCounts) -> list[str]:
    """In what fvcore differs from torch, and what that means."""
    if agree(by_fvcore.gmacs, by_torch.gmacs):
        return []
    without = f" without {', '.join(by_fvcore.unknown)}, which it does not know" if by_fvcore.unknown else ""
    fewer = by_fvcore.gmacs < by_torch.gmacs
    meaning = "nothing to do, gmacs is torch's" if fewer else "gmacs is torch's, which may miss a product"
    return [f"fvcore counts {by_fvcore.gmacs:.6g} GMACs{without}, torch {by_torch.gmacs:.6g}: {meaning}"]

"""How far a network is from what its device can do: model FLOPs utilisation (MFU) and the roofline.

MFU is the model's FLOPs of a step over the step's time and the peak (arXiv 2204.02311, appendix B); model FLOPs leave
out recomputation. The peak is measured in the same process by a large matrix product, and beside it taken from a data
sheet. The roofline (Williams, Waterman and Patterson, CACM 52(4), 2009) bounds the speed of work that does I FLOPs for
each byte it moves by min(peak FLOP/s, I * bandwidth).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from stbench.profiling.ceilings import copy_ceiling, matmul_ceiling
from stbench.profiling.peaks import PEAKS
from stbench.profiling.workbench import Subject
from stbench.records.costs import Ceilings, Utilisation
from stbench.records.sections import Cost
from stbench.runtime.device import PRECISIONS, Runtime
from stbench.runtime.load import WaitedShare


def measure_ceilings(runtime: Runtime) -> Ceilings:
    """Measure the ceilings of a device, and look up its data sheet; an unknown device has none."""
    device, precision = runtime.device, runtime.precision
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    peak = PEAKS.get(name)
    with WaitedShare() as waited:
        speeds = {name: matmul_ceiling(device, dtype) for name, dtype in PRECISIONS.items()}
        copied = copy_ceiling(device)
    return Ceilings(
        device_name=name,
        precision=precision,
        matmul_gflops_per_s=speeds,
        copy_gb_per_s=copied,
        datasheet_gflops_per_s=peak.tflops[precision] * 1e3 if peak else None,
        datasheet_gb_per_s=peak.memory_gb_per_s if peak else None,
        datasheet=peak.source if peak else f"peak FLOPs unknown for {name}",
        waited_share=waited.value,
    )


def utilisation(subject: Subject, cost: Cost, ceilings: Ceilings) -> dict[str, Utilisation]:
    """MFU of each step that was timed and whose operations are known, and the forward pass's place on the roofline."""
    gmacs: dict[str, float | None] = dict.fromkeys(cost.timing, cost.counts.gmacs)
    gmacs["train_step"] = cost.counts.gmacs_train_step
    peak, promised = ceilings.matmul_gflops_per_s[ceilings.precision], ceilings.datasheet_gflops_per_s
    used = {}
    for step, timing in cost.timing.items():
        macs = gmacs[step]
        if macs is None:
            continue
        model_gflops = 2 * macs * timing.batch_size
        speed = model_gflops / timing.median
        used[step] = Utilisation(
            model_gflops=model_gflops,
            gflops_per_s=speed,
            mfu_of_measured_ceiling=speed / peak,
            mfu_of_datasheet=None if promised is None else speed / promised,
        )
    if "forward" in used:
        traffic_gb = forward_traffic_gb(subject, cost.timing["forward"].batch_size, ceilings.precision)
        intensity = used["forward"].model_gflops / traffic_gb
        used["forward"] = replace(used["forward"], traffic_gb_estimate=traffic_gb, flop_per_byte_estimate=intensity)
    return used


def forward_traffic_gb(subject: Subject, batch_size: int, precision: str) -> float:
    """Estimate the memory traffic of a forward pass in 10^9 bytes.

    Every parameter is read once, and every leaf module's inputs are read and its output is written once, in the given
    precision. Caches and fused operators move less, work between the modules moves more.
    """
    elements = 0

    def add(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        nonlocal elements
        elements += sum(value.numel() for value in (*inputs, output) if isinstance(value, Tensor))

    with torch.device("meta"), torch.no_grad():
        network, inputs = subject.construct().eval(), subject.workload.inputs(batch_size)
        for module in network.modules():
            if not any(True for _ in module.children()):
                module.register_forward_hook(add)
        network(*inputs)
    elements += sum(p.numel() for p in network.parameters())
    return elements * PRECISIONS[precision].itemsize / 1e9

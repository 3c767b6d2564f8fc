"""How far a network is from what its device can do: model FLOPs utilisation (MFU) and the roofline.

MFU is the model's FLOPs of a step over the step's time and the peak (arXiv 2204.02311, appendix B); model FLOPs leave
out recomputation. The peak is measured in the same process by a large matrix product, and beside it taken from a data
sheet. The roofline (Williams, Waterman and Patterson, CACM 52(4), 2009) bounds the speed of work that does I FLOPs for
each byte it moves by min(peak FLOP/s, I * bandwidth).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from stbench.profiling.ceilings import copy_ceiling, matmul_ceiling
from stbench.profiling.peaks import PEAKS, Peak
from stbench.profiling.workbench import Subject
from stbench.records.sections import Counts, Timing
from stbench.runtime.device import PRECISIONS, Runtime


@dataclass(frozen=True)
class Ceilings:
    """What a device does at most.

    Attributes:
        device_name: the GPU's, or "cpu".
        precision: of the network's products.
        matmul_gflops_per_s: measured speed of a large matrix product, by precision.
        copy_gb_per_s: measured speed of copying memory, bytes read and written.
        peak: from the data sheet; None for a device that is not in the table.
    """

    device_name: str
    precision: str
    matmul_gflops_per_s: dict[str, float]
    copy_gb_per_s: float
    peak: Peak | None

    def to_json(self) -> dict[str, Any]:
        """The ceilings as `stbench profile` writes them."""
        return {
            "device_name": self.device_name,
            "precision": self.precision,
            "matmul_gflops_per_s": self.matmul_gflops_per_s,
            "copy_gb_per_s": self.copy_gb_per_s,
            "datasheet_gflops_per_s": self.peak.tflops[self.precision] * 1e3 if self.peak else None,
            "datasheet_gb_per_s": self.peak.memory_gb_per_s if self.peak else None,
            "datasheet": self.peak.source if self.peak else f"peak FLOPs unknown for {self.device_name}",
        }


def measure_ceilings(runtime: Runtime) -> Ceilings:
    """Measure the ceilings of a device, and look up its data sheet."""
    name = torch.cuda.get_device_name(runtime.device) if runtime.device.type == "cuda" else runtime.device.type
    speeds = {precision: matmul_ceiling(runtime.device, dtype) for precision, dtype in PRECISIONS.items()}
    return Ceilings(name, runtime.precision, speeds, copy_ceiling(runtime.device), PEAKS.get(name))


def utilisation(counts: Counts, timing: dict[str, Timing], ceilings: Ceilings) -> dict[str, Any]:
    """MFU of each step that was timed.

    Args:
        counts: of one clip, as in the record.
        timing: by step.
        ceilings: of the device.

    Returns:
        For each step: model_gflops (of the batch), gflops_per_s, mfu_of_measured_ceiling, and mfu_of_datasheet, which
        is None for an unknown device.
    """
    gmacs: dict[str, float | None] = {**dict.fromkeys(timing, counts.gmacs), "train_step": counts.gmacs_train_step}
    return {
        step: _step_utilisation(2 * macs * one.batch_size, one.median, ceilings)
        for step, one in timing.items()
        if (macs := gmacs[step]) is not None
    }


def _step_utilisation(model_gflops: float, seconds: float, ceilings: Ceilings) -> dict[str, Any]:
    speed = model_gflops / seconds
    datasheet = ceilings.peak.tflops[ceilings.precision] * 1e3 if ceilings.peak else None
    return {
        "model_gflops": model_gflops,
        "gflops_per_s": speed,
        "mfu_of_measured_ceiling": speed / ceilings.matmul_gflops_per_s[ceilings.precision],
        "mfu_of_datasheet": None if datasheet is None else speed / datasheet,
    }


def forward_traffic_gb(subject: Subject, batch_size: int, precision: str) -> float:
    """Estimate the memory traffic of a forward pass in 10^9 bytes.

    Every parameter is read once, and every leaf module's inputs are read and its output is written once, in the given
    precision. Caches and fused operators move less, work between the modules moves more.
    """
    traffic = _LeafTraffic()
    with torch.device("meta"), torch.no_grad():
        network, inputs = subject.construct().eval(), subject.workload.inputs(batch_size)
        leaves = [module for module in network.modules() if not any(True for _ in module.children())]
        handles = [leaf.register_forward_hook(traffic.add) for leaf in leaves]
        network(*inputs)
    for handle in handles:
        handle.remove()
    elements = traffic.elements + sum(p.numel() for p in network.parameters())
    return elements * PRECISIONS[precision].itemsize / 1e9


class _LeafTraffic:
    """Counts the elements that go into and out of modules."""

    def __init__(self) -> None:
        self.elements = 0

    def add(self, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        self.elements += sum(value.numel() for value in (*inputs, output) if isinstance(value, Tensor))

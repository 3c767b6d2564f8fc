"""Energy and clocks, where the device tells them: NVML on NVIDIA GPUs (package nvidia-ml-py), the kernel for a CPU.

NVML counts a whole GPU's energy in millijoules since the driver was loaded (Volta and newer), so other work on the same
GPU is in the figure as well.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from typing import Any

import torch

from stbench.runtime.machine import read_text
from stbench.runtime.timing import Stopwatch


class EnergyMeter:
    """Reads the energy counter of a device.

    Attributes:
        source: where readings come from; None when the device gives none.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._nvml, self._handle = _nvml_handle(device)
        self.source = "NVML total energy of the GPU" if self._read() is not None else None

    def joules_per_call(self, work: Callable[[], object], calls: int) -> float | None:
        """Mean energy of a call over some calls, in joules; None, and nothing is called, without a counter."""
        if self.source is None:
            return None
        with Stopwatch(self.device):  # the device is idle at both readings
            before = self._read()
            for _ in range(calls):
                work()
        after = self._read()
        return None if before is None or after is None else (after - before) / calls

    def _read(self) -> float | None:
        if self._nvml is None:
            return None
        try:
            return self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle) / 1e3  # mJ
        except self._nvml.NVMLError:
            return None


def clocks(device: torch.device) -> dict[str, float | None]:
    """Clock rates at this moment, as information: they move all the time and are no part of the fingerprint.

    Returns:
        cpu_mhz (mean of the cores), gpu_sm_mhz, gpu_memory_mhz; None for what is not told.
    """
    rates = [float(rate) for rate in re.findall(r"^cpu MHz\s*: ([\d.]+)$", read_text("/proc/cpuinfo"), re.MULTILINE)]
    told: dict[str, float | None] = {
        "cpu_mhz": sum(rates) / len(rates) if rates else None,
        "gpu_sm_mhz": None,
        "gpu_memory_mhz": None,
    }
    nvml, handle = _nvml_handle(device)
    if nvml is None:
        return told
    try:
        for name, kind in (("gpu_sm_mhz", nvml.NVML_CLOCK_SM), ("gpu_memory_mhz", nvml.NVML_CLOCK_MEM)):
            told[name] = float(nvml.nvmlDeviceGetClockInfo(handle, kind))
    except nvml.NVMLError:
        pass  # some virtual GPUs keep their clocks to themselves: null in the result says so
    return told


def _nvml_handle(device: torch.device) -> tuple[Any, Any]:
    """The NVML module and its handle of a CUDA device; (None, None) for other devices, or without the package."""
    if device.type != "cuda":
        return None, None
    try:
        nvml = importlib.import_module("pynvml")
    except ImportError:
        return None, None
    try:
        nvml.nvmlInit()
        # By UUID: CUDA_VISIBLE_DEVICES numbers the GPUs anew for torch, but not for NVML.
        uuid = str(torch.cuda.get_device_properties(device).uuid)
        return nvml, nvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}".encode())
    except nvml.NVMLError:
        return None, None

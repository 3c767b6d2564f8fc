"""Energy and clocks with a driver that the test plays, and without one."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from stbench.profiling import energy
from stbench.profiling.energy import EnergyMeter, clocks

CPU, GPU = torch.device("cpu"), torch.device("cuda")


class NvmlError(Exception):
    """What NVML raises."""


class Driver(SimpleNamespace):
    """A stand-in of the module `pynvml`, whose energy counter stands at `millijoules`."""

    NVMLError = NvmlError
    NVML_CLOCK_SM, NVML_CLOCK_MEM = 1, 2
    millijoules = 5_000

    def nvmlInit(self) -> None:  # noqa: N802
        pass

    def nvmlDeviceGetHandleByUUID(self, uuid: bytes) -> bytes:  # noqa: N802
        return uuid

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: bytes) -> int:  # noqa: N802
        assert handle == b"GPU-1234"
        return self.millijoules

    def nvmlDeviceGetClockInfo(self, handle: bytes, kind: int) -> int:  # noqa: N802
        return {1: 1980, 2: 2619}[kind]


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Driver:
    driver = Driver()
    monkeypatch.setitem(sys.modules, "pynvml", driver)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid="1234"))
    monkeypatch.setattr(torch.accelerator, "synchronize", lambda device: None)
    return driver


def test_energy_is_the_counters_rise_over_the_calls(driver: Driver) -> None:
    def work() -> None:
        driver.millijoules += 2_500

    meter = EnergyMeter(GPU)
    assert meter.source == "NVML total energy of the GPU"
    assert meter.joules_per_call(work, calls=4) == 2.5


def refuse(*arguments: Any) -> None:
    raise NvmlError


def test_a_gpu_that_does_not_tell(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Driver, "nvmlDeviceGetTotalEnergyConsumption", refuse)
    monkeypatch.setattr(Driver, "nvmlDeviceGetClockInfo", refuse)
    assert EnergyMeter(GPU).source is None
    assert clocks(GPU)["gpu_sm_mhz"] is None


@pytest.mark.parametrize("missing", ["package", "driver", "gpu"])
def test_without_a_counter_nothing_is_called(missing: str, driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[None] = []
    if missing == "package":
        monkeypatch.setitem(sys.modules, "pynvml", None)
    elif missing == "driver":
        monkeypatch.setattr(Driver, "nvmlInit", refuse)
    meter = EnergyMeter(CPU if missing == "gpu" else GPU)
    assert meter.source is None
    assert meter.joules_per_call(lambda: calls.append(None), calls=4) is None
    assert calls == []


def test_clocks_of_processor_and_gpu(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(energy, "read_text", lambda path: "cpu MHz\t\t: 2400.000\nflags: x\ncpu MHz\t\t: 3000.500\n")
    assert clocks(GPU) == {"cpu_mhz": 2700.25, "gpu_sm_mhz": 1980.0, "gpu_memory_mhz": 2619.0}


def test_clocks_where_nobody_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(energy, "read_text", lambda path: "")
    assert clocks(CPU) == {"cpu_mhz": None, "gpu_sm_mhz": None, "gpu_memory_mhz": None}

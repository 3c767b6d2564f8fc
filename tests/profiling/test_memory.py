"""Peak memory of known allocations, and the many faces of running out."""

from __future__ import annotations

import mmap
import resource
import sys
from typing import Any

import pytest
import torch

from stbench.profiling import memory
from stbench.profiling.memory import PeakMemory

CPU = torch.device("cpu")
ALLOCATED_MIB = 64


def allocate_and_free() -> None:
    """Take pages from the kernel and give them back: an allocator may hold freed memory, and hand that out again."""
    with mmap.mmap(-1, ALLOCATED_MIB * memory.MIB) as pages:
        for page in range(0, len(pages), mmap.PAGESIZE):
            pages[page] = 1


def test_peak_contains_what_was_freed_inside() -> None:
    with PeakMemory(CPU) as base:
        pass
    with PeakMemory(CPU) as peak:
        allocate_and_free()
    assert base.memory.peak_rss_mib is not None and peak.memory.peak_rss_mib is not None
    if peak.memory.peak_rss_source == "ru_maxrss":
        assert peak.memory.peak_rss_mib >= max(base.memory.peak_rss_mib, ALLOCATED_MIB)
    else:
        assert peak.memory.peak_rss_mib == pytest.approx(base.memory.peak_rss_mib + ALLOCATED_MIB, abs=16)
    assert peak.memory.peak_allocated_mib is None
    assert peak.memory.peak_reserved_mib is None


def test_a_later_block_does_not_inherit_an_earlier_peak() -> None:
    with PeakMemory(CPU) as large:
        allocate_and_free()
    with PeakMemory(CPU) as small:
        pass
    if small.memory.peak_rss_source == "ru_maxrss":
        pytest.skip("this kernel does not reset a process's peak")
    assert small.memory.peak_rss_mib < large.memory.peak_rss_mib - ALLOCATED_MIB / 2


def test_peak_since_start_where_the_kernel_cannot_reset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_high_water_mark", lambda: 0)
    with PeakMemory(CPU) as peak:
        pass
    assert peak.memory.peak_rss_source == "ru_maxrss"
    unit = 1 if sys.platform == "darwin" else 1024
    peak_since_start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    assert peak.memory.peak_rss_mib * memory.MIB == peak_since_start


def test_gpu_peaks_are_reset_at_entry_and_read_at_exit(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def record(name: str, result: Any = None) -> None:
        def call(device: torch.device) -> Any:
            calls.append(name)
            return result

        monkeypatch.setattr(torch.cuda, name, call)

    record("synchronize")
    record("reset_peak_memory_stats")
    record("max_memory_allocated", 3 * memory.MIB)
    record("max_memory_reserved", 5 * memory.MIB)
    with PeakMemory(torch.device("cuda")) as peak:
        calls.append("work")
    assert calls == ["synchronize", "reset_peak_memory_stats", "work", "max_memory_allocated", "max_memory_reserved"]
    assert (peak.memory.peak_allocated_mib, peak.memory.peak_reserved_mib) == (3.0, 5.0)
    assert peak.memory.peak_mib == 3.0


def test_peaks_are_there_after_an_exception() -> None:
    peak = PeakMemory(CPU)
    with pytest.raises(MemoryError), peak:
        raise MemoryError
    assert peak.memory.peak_rss_mib > 0

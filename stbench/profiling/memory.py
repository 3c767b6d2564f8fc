"""Peak memory of a block of code, and whether an exception means that memory ran out."""

from __future__ import annotations

import re
import resource
import sys
from pathlib import Path

import torch

from stbench.runtime.allocator import give_back_unused

MIB = 2**20
_SELF = Path("/proc/self")
_RESET_PEAK = "5"  # proc(5), clear_refs: resets VmHWM to the current resident set


class PeakMemory:
    """Context manager that measures the peak memory of what runs inside it.

    On a GPU the caching allocator's peaks are reset at entry; on Linux so is the process's peak resident set, where the
    kernel permits it, after memory that is free but still held has been given back. Blocks must not be nested: the
    inner one would reset the outer one's peaks.

    Attributes:
        allocated_mib: peak of tensors alive on the GPU; None on a CPU.
        reserved_mib: peak of what the allocator held on the GPU; None on a CPU.
        rss_mib: peak resident set of the process.
        rss_source: "VmHWM" when that is the peak inside the block, "ru_maxrss" when it is the peak since the process
            started, which is at least as much.
    """

    allocated_mib: float | None = None
    reserved_mib: float | None = None
    rss_mib: float
    rss_source: str

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def __enter__(self) -> PeakMemory:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
            torch.cuda.reset_peak_memory_stats(self.device)
        give_back_unused()
        self.rss_source = "VmHWM" if _reset_high_water_mark() else "ru_maxrss"
        return self

    def __exit__(self, *exception: object) -> None:
        if self.device.type == "cuda":
            self.allocated_mib = torch.cuda.max_memory_allocated(self.device) / MIB
            self.reserved_mib = torch.cuda.max_memory_reserved(self.device) / MIB
        peak = _high_water_mark() if self.rss_source == "VmHWM" else _peak_rss_of_process()
        self.rss_mib = peak / MIB

    def to_json(self) -> dict[str, float | str | None]:
        """The peaks as they stand in a record."""
        return {
            "allocated_mib": self.allocated_mib,
            "reserved_mib": self.reserved_mib,
            "rss_mib": self.rss_mib,
            "rss_source": self.rss_source,
        }


def _reset_high_water_mark() -> bool:
    """Reset the process's peak resident set; whether this kernel does that and tells the peak."""
    try:
        (_SELF / "clear_refs").write_text(_RESET_PEAK)
    except OSError:
        return False
    return _high_water_mark() > 0


def _high_water_mark() -> int:
    """Peak resident set since the last reset, in bytes; 0 where the kernel does not tell."""
    match = re.search(r"^VmHWM:\s*(\d+) kB", (_SELF / "status").read_text(), flags=re.MULTILINE)
    return int(match[1]) * 1024 if match else 0


def _peak_rss_of_process() -> int:
    """Peak resident set since the process started, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # getrusage(2): bytes on macOS, KiB on Linux

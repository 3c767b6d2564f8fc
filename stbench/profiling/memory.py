"""Peak memory of a block of code."""

from __future__ import annotations

import contextlib
import re
import resource
import sys
from pathlib import Path

import torch

from stbench.records.sections import Memory
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
        memory: the peaks, once the block has ended. Where the kernel does not reset the process's peak, that is the one
            since the process started ("ru_maxrss"), which is at least as much.
    """

    memory: Memory

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def __enter__(self) -> PeakMemory:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
            torch.cuda.reset_peak_memory_stats(self.device)
        give_back_unused()
        self._rss_source = "ru_maxrss"
        with contextlib.suppress(OSError):  # a kernel that does not reset the process's peak
            (_SELF / "clear_refs").write_text(_RESET_PEAK)
            if _high_water_mark() > 0:
                self._rss_source = "VmHWM"
        return self

    def __exit__(self, *exception: object) -> None:
        on_gpu = self.device.type == "cuda"
        if self._rss_source == "VmHWM":
            rss = _high_water_mark()
        else:  # getrusage(2): bytes on macOS, KiB on Linux
            rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        self.memory = Memory(
            peak_allocated_mib=torch.cuda.max_memory_allocated(self.device) / MIB if on_gpu else None,
            peak_reserved_mib=torch.cuda.max_memory_reserved(self.device) / MIB if on_gpu else None,
            peak_rss_mib=rss / MIB,
            peak_rss_source=self._rss_source,
        )


def _high_water_mark() -> int:
    """Peak resident set since the last reset, in bytes; 0 where the kernel does not tell."""
    match = re.search(r"^VmHWM:\s*(\d+) kB", (_SELF / "status").read_text(), flags=re.MULTILINE)
    return int(match[1]) * 1024 if match else 0

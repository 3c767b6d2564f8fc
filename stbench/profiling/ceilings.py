"""What a machine can do at most: measured speeds, to relate those of a network to."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch

from stbench.runtime.timing import time_once

LONG_ENOUGH_S = 0.01
FASTER = 1.2  # by which a larger product is that much faster that a still larger one is tried
TRYING_S = 0.1  # at each size: on a busy machine most calls are interrupted, and the fastest counts
COPIED_BYTES = 2**28
MAX_SIZE = 8192  # three float32 matrices of this size take 0.75 GiB


def matmul_ceiling(device: torch.device, dtype: torch.dtype) -> float:
    """Measured speed of a square matrix product on random data, as the peak to relate a network's speed to.

    The product is doubled in size until it takes 10 ms and gets no faster; the best of all counts. Takes about half a
    second.

    Returns:
        GFLOP/s, two operations for each multiply-accumulate.
    """
    best, size = 0.0, 256
    while size <= MAX_SIZE:
        a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
        seconds = _fastest(partial(torch.matmul, a, b), device)
        before, best = best, max(best, 2 * size**3 / seconds / 1e9)
        if seconds >= LONG_ENOUGH_S and best < FASTER * before:
            break
        size *= 2
    return best


def copy_ceiling(device: torch.device) -> float:
    """Measured speed of copying memory, as the peak to relate a network's traffic to.

    Copies `COPIED_BYTES`, more than caches hold; every byte counts twice, read and written. The best of several counts.

    Returns:
        GB/s (10^9 bytes).
    """
    source = torch.ones(COPIED_BYTES // 4, device=device)
    target = torch.empty_like(source)
    seconds = _fastest(lambda: target.copy_(source), device)
    return 2 * COPIED_BYTES / seconds / 1e9


def _fastest(work: Callable[[], object], device: torch.device) -> float:
    """Seconds of the fastest of at least three calls."""
    durations: list[float] = []
    while len(durations) < 3 or sum(durations) < TRYING_S:
        durations.append(time_once(work, device))
    return min(durations)

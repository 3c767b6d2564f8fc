"""What a machine can do at most: measured speeds, to relate those of a network to."""

from __future__ import annotations

from functools import partial

import torch

from stbench.runtime.timing import time_once

LONG_ENOUGH_S = 0.01
COPIED_BYTES = 2**28
MAX_SIZE = 8192  # three float32 matrices of this size take 0.75 GiB


def matmul_ceiling(device: torch.device, dtype: torch.dtype) -> float:
    """Measured speed of a square matrix product on random data, as the peak to relate a network's speed to.

    The product is doubled in size until one takes 10 ms; the best of all counts. Takes a few tenths of a second.

    Returns:
        GFLOP/s, two operations for each multiply-accumulate.
    """
    best, size, seconds = 0.0, 256, 0.0
    while seconds < LONG_ENOUGH_S and size <= MAX_SIZE:
        a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
        seconds = min(time_once(partial(torch.matmul, a, b), device) for _ in range(3))
        best = max(best, 2 * size**3 / seconds / 1e9)
        size *= 2
    return best


def copy_ceiling(device: torch.device) -> float:
    """Measured speed of copying memory, as the peak to relate a network's traffic to.

    Copies `COPIED_BYTES`, more than caches hold; every byte counts twice, read and written. The best of five counts.

    Returns:
        GB/s (10^9 bytes).
    """
    source = torch.ones(COPIED_BYTES // 4, device=device)
    target = torch.empty_like(source)
    seconds = min(time_once(lambda: target.copy_(source), device) for _ in range(5))
    return 2 * COPIED_BYTES / seconds / 1e9

"""Ceilings on devices whose speed the test decides."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from stbench.profiling import ceilings as hardware
from stbench.profiling.ceilings import copy_ceiling, matmul_ceiling

CPU = torch.device("cpu")


def test_ceiling_is_the_best_product_in_gflop_per_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a device of 100 GFLOP/s with a fixed cost of 1 ms a call, only the last, largest product comes near 100."""
    sizes: list[int] = []

    def time_product(work: Callable[[], Tensor], device: torch.device) -> float:
        size = len(work())
        sizes.append(size)
        return 2 * size**3 / 100e9 + 1e-3

    monkeypatch.setattr(hardware, "time_once", time_product)
    ceiling = matmul_ceiling(CPU, torch.float32)
    assert sizes == [256] * 3 + [512] * 3 + [1024] * 3
    assert ceiling == pytest.approx(100 * 21.47483648 / 22.47483648)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_ceiling_of_this_machine_is_a_speed(dtype: torch.dtype) -> None:
    assert matmul_ceiling(CPU, dtype) > 0


def test_copying_counts_bytes_read_and_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "COPIED_BYTES", 4000)
    monkeypatch.setattr(hardware, "time_once", lambda work, device: 2e-6)
    assert copy_ceiling(torch.device("cpu")) == pytest.approx(8000 / 2e-6 / 1e9)

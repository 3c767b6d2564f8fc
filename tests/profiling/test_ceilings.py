"""Ceilings on devices whose speed the test decides."""

from __future__ import annotations

import itertools
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
    assert list(dict.fromkeys(sizes)) == [256, 512, 1024, 2048]
    assert sizes.count(2048) == 3
    assert ceiling == pytest.approx(100 * 171.798691 / 172.798691)


def test_small_products_that_are_always_interrupted_are_not_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine every product waits for a time slice, which the larger ones hardly notice."""
    monkeypatch.setattr(hardware, "time_once", lambda work, device: 2 * len(work()) ** 3 / 100e9 + 0.01)
    assert matmul_ceiling(CPU, torch.float32) > 90


def test_one_product_in_ten_that_nothing_interrupts_tells_the_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = itertools.count(1)

    def time_product(work: Callable[[], Tensor], device: torch.device) -> float:
        return 2 * len(work()) ** 3 / 100e9 + (0.005 if next(calls) % 10 else 0)  # another's time slice

    monkeypatch.setattr(hardware, "time_once", time_product)
    assert matmul_ceiling(CPU, torch.float32) == pytest.approx(100)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_ceiling_of_this_machine_is_a_speed(dtype: torch.dtype) -> None:
    assert matmul_ceiling(CPU, dtype) > 0


def test_copying_counts_bytes_read_and_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "COPIED_BYTES", 4000)
    monkeypatch.setattr(hardware, "time_once", lambda work, device: 2e-6)
    assert copy_ceiling(torch.device("cpu")) == pytest.approx(8000 / 2e-6 / 1e9)

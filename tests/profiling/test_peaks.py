"""Figures of data sheets: complete, in order, with a source."""

from __future__ import annotations

import pytest

from stbench.profiling.peaks import PEAKS
from stbench.runtime.device import PRECISIONS


@pytest.mark.parametrize("name", PEAKS)
def test_every_peak_has_figures_and_a_source(name: str) -> None:
    peak = PEAKS[name]
    assert set(peak.tflops) == set(PRECISIONS)
    assert peak.tflops["bfloat16"] > peak.tflops["float32"] > 0
    assert peak.source.startswith(f"{' '.join(name.split('-')[0].split()[:2])} Tensor Core GPU data sheet, column ")


@pytest.mark.parametrize(
    ("name", "printed"), [("NVIDIA H100 80GB HBM3", 1979), ("NVIDIA H100 PCIe", 1513), ("NVIDIA H200", 1979)]
)
def test_dense_figures_are_half_of_those_with_sparsity(name: str, printed: float) -> None:
    """What the data sheets print in TFLOPS of bfloat16."""
    assert 2 * PEAKS[name].tflops["bfloat16"] == pytest.approx(printed, abs=1)


def test_the_h200_is_an_h100_with_faster_memory() -> None:
    h100, h200 = PEAKS["NVIDIA H100 80GB HBM3"], PEAKS["NVIDIA H200"]
    assert h200.tflops == h100.tflops
    assert h200.memory_gb_per_s > h100.memory_gb_per_s

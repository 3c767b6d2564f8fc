"""Peak speeds from data sheets, by the exact name that torch gives a device. A device that is not here has none.

Tensor core figures are dense: data sheets print twice as much, "with sparsity". float32 is without TF32, as torch
multiplies by default.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Peak:
    """What a data sheet promises.

    Attributes:
        tflops: 10^12 FLOP/s by precision.
        memory_gb_per_s: 10^9 bytes per second.
        source: the data sheet.
    """

    tflops: dict[str, float]
    memory_gb_per_s: float
    source: str


_H100 = "NVIDIA H100 Tensor Core GPU data sheet"
_H200 = "NVIDIA H200 Tensor Core GPU data sheet"
_A100 = "NVIDIA A100 Tensor Core GPU data sheet"

PEAKS = {
    # SXM: 1,979 TFLOPS bfloat16 with sparsity, 67 TFLOPS FP32, 3.35 TB/s
    "NVIDIA H100 80GB HBM3": Peak({"bfloat16": 989.4, "float32": 67}, 3350, f"{_H100}, column SXM"),
    # PCIe: 1,513 TFLOPS bfloat16 with sparsity, 51 TFLOPS FP32, 2 TB/s
    "NVIDIA H100 PCIe": Peak({"bfloat16": 756, "float32": 51}, 2000, f"{_H100}, column PCIe"),
    # SXM: the H100's cores, 4.8 TB/s
    "NVIDIA H200": Peak({"bfloat16": 989.4, "float32": 67}, 4800, f"{_H200}, column SXM"),
    # 312 TFLOPS bfloat16, 19.5 TFLOPS FP32 in both; 2,039 and 1,555 GB/s
    "NVIDIA A100-SXM4-80GB": Peak({"bfloat16": 312, "float32": 19.5}, 2039, f"{_A100}, column 80GB SXM"),
    "NVIDIA A100-SXM4-40GB": Peak({"bfloat16": 312, "float32": 19.5}, 1555, f"{_A100}, column 40GB SXM"),
}

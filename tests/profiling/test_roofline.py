"""Utilisation and intensity by hand; speeds of this machine are not asserted."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from stbench.backbones.base import Conditioning
from stbench.profiling import roofline
from stbench.profiling.roofline import forward_traffic_gb, measure_ceilings, utilisation
from stbench.profiling.workbench import Subject
from stbench.profiling.workload import Workload
from stbench.records.costs import Ceilings, Utilisation
from stbench.records.sections import Cost, Counts
from stbench.runtime.device import Runtime
from stbench.runtime.timing import timing_of

SPEEDS = {"float32": 100.0, "bfloat16": 400.0}
H100 = "NVIDIA H100 80GB HBM3"


class TwoLayers(nn.Module):
    """A network of two leaves."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(8, 8, bias=False), nn.ReLU())

    def forward(self, x: Tensor, timesteps: Tensor, conditioning: Conditioning) -> Tensor:
        return self.layers(x)


SUBJECT = Subject(TwoLayers, Workload((2, 5, 8, 8)))


def cost(gmacs: float, gmacs_train_step: float | None, batch_size: int, **seconds: float) -> Cost:
    counts = Counts(
        params_total=1, params_trainable=1, gmacs=gmacs, gflops=2 * gmacs, gmacs_train_step=gmacs_train_step
    )
    return Cost(counts=counts, timing={step: timing_of(step, [each], batch_size) for step, each in seconds.items()})


def ceilings(precision: str = "float32", datasheet_gflops_per_s: float | None = None) -> Ceilings:
    return Ceilings(
        device_name="a device",
        precision=precision,
        matmul_gflops_per_s=SPEEDS,
        copy_gb_per_s=30.0,
        datasheet_gflops_per_s=datasheet_gflops_per_s,
        datasheet="its data sheet",
    )


def test_mfu_is_model_flops_over_time_and_peak() -> None:
    """4 clips of 50 GMACs forward and 150 GMACs trained: 400 GFLOPs in 2 s, 1200 GFLOPs in 10 s."""
    used = utilisation(SUBJECT, cost(50.0, 150.0, 4, train_step=10.0, sampling_step=2.0), ceilings("bfloat16", 1000.0))
    assert used == {
        "train_step": Utilisation(
            model_gflops=1200.0, gflops_per_s=120.0, mfu_of_measured_ceiling=0.3, mfu_of_datasheet=0.12
        ),
        "sampling_step": Utilisation(
            model_gflops=400.0, gflops_per_s=200.0, mfu_of_measured_ceiling=0.5, mfu_of_datasheet=0.2
        ),
    }


def test_the_forward_pass_has_a_place_on_the_roofline() -> None:
    used = utilisation(SUBJECT, cost(50.0, None, 3, forward=2.0), ceilings())["forward"]
    traffic = forward_traffic_gb(SUBJECT, 3, "float32")
    assert used.traffic_gb_estimate == traffic
    assert used.flop_per_byte_estimate == 300.0 / traffic


def test_without_a_data_sheet_the_measured_ceiling_is_left() -> None:
    used = utilisation(SUBJECT, cost(50.0, None, 1, forward=2.0), ceilings())
    assert used["forward"].mfu_of_datasheet is None
    assert used["forward"].mfu_of_measured_ceiling == 0.5


def test_a_training_step_that_was_not_counted_has_no_mfu() -> None:
    assert utilisation(SUBJECT, cost(1.0, None, 1, train_step=1.0), ceilings()) == {}


def test_ceilings_of_a_known_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: H100)
    monkeypatch.setattr(roofline, "matmul_ceiling", lambda device, dtype: 1.0 if dtype == torch.float32 else 2.0)
    monkeypatch.setattr(roofline, "copy_ceiling", lambda device: 3.0)
    monkeypatch.setattr(roofline, "WaitedShare", lambda: contextlib.nullcontext(SimpleNamespace(value=0.25)))
    assert measure_ceilings(Runtime(torch.device("cuda"), "bfloat16", "math")) == Ceilings(
        device_name=H100,
        precision="bfloat16",
        matmul_gflops_per_s={"float32": 1.0, "bfloat16": 2.0},
        copy_gb_per_s=3.0,
        datasheet_gflops_per_s=989_400,
        datasheet_gb_per_s=3350,
        datasheet="NVIDIA H100 Tensor Core GPU data sheet, column SXM",
        waited_share=0.25,
    )


def test_peak_of_an_unknown_device_is_never_guessed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Some GPU")
    monkeypatch.setattr(roofline, "matmul_ceiling", lambda device, dtype: 1.0)
    monkeypatch.setattr(roofline, "copy_ceiling", lambda device: 3.0)
    unknown = measure_ceilings(Runtime(torch.device("cuda"), "bfloat16", "math"))
    assert unknown.datasheet == "peak FLOPs unknown for Some GPU"
    assert (unknown.datasheet_gflops_per_s, unknown.datasheet_gb_per_s) == (None, None)


@pytest.mark.parametrize(("precision", "size"), [("float32", 4), ("bfloat16", 2)])
def test_traffic_is_weights_once_and_what_passes_every_leaf(precision: str, size: int) -> None:
    activations = 3 * 2 * 5 * 8 * 8  # B C F H W
    elements = 8 * 8 + 2 * 2 * activations
    traffic = forward_traffic_gb(SUBJECT, 3, precision)
    assert traffic == pytest.approx(elements * size / 1e9)

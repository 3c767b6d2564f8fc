"""Utilisation and intensity by hand; speeds of this machine are not asserted."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from stbench.backbones.base import Conditioning
from stbench.profiling import ceilings as hardware
from stbench.profiling import roofline
from stbench.profiling.ceilings import copy_ceiling
from stbench.profiling.peaks import PEAKS
from stbench.profiling.roofline import Ceilings, forward_traffic_gb, measure_ceilings, utilisation
from stbench.profiling.workbench import Subject
from stbench.profiling.workload import Workload
from stbench.records.sections import Counts, Timing
from stbench.runtime.device import Runtime
from stbench.runtime.timing import timing_of

SPEEDS = {"float32": 100.0, "bfloat16": 400.0}
H100 = "NVIDIA H100 80GB HBM3"


def timing(what: str, seconds: float, batch_size: int) -> Timing:
    return timing_of(what, [seconds], batch_size)


def counts(gmacs: float, gmacs_train_step: float | None) -> Counts:
    return Counts(params_total=1, params_trainable=1, gmacs=gmacs, gflops=2 * gmacs, gmacs_train_step=gmacs_train_step)


def test_mfu_is_model_flops_over_time_and_peak() -> None:
    """4 clips of 50 GMACs forward and 150 GMACs trained: 400 GFLOPs in 2 s, 1200 GFLOPs in 10 s."""
    ceilings = Ceilings(H100, "bfloat16", SPEEDS, 30.0, PEAKS[H100])
    timings = {"forward": timing("forward", 2.0, 4), "train_step": timing("train_step", 10.0, 4)}
    used = utilisation(counts(50.0, 150.0), timings, ceilings)
    assert used["forward"] == {
        "model_gflops": 400.0,
        "gflops_per_s": 200.0,
        "mfu_of_measured_ceiling": 0.5,
        "mfu_of_datasheet": pytest.approx(200 / 989_400),
    }
    assert used["train_step"]["gflops_per_s"] == 120.0
    assert used["train_step"]["mfu_of_measured_ceiling"] == pytest.approx(0.3)


def test_peak_of_an_unknown_device_is_never_guessed() -> None:
    ceilings = Ceilings("Some GPU", "float32", SPEEDS, 30.0, None)
    used = utilisation(counts(50.0, None), {"forward": timing("forward", 2.0, 1)}, ceilings)
    assert used["forward"]["mfu_of_datasheet"] is None
    content = ceilings.to_json()
    assert content["datasheet"] == "peak FLOPs unknown for Some GPU"
    assert content["datasheet_gflops_per_s"] is None


def test_a_training_step_that_was_not_counted_has_no_mfu() -> None:
    ceilings = Ceilings("cpu", "float32", SPEEDS, 30.0, None)
    assert utilisation(counts(1.0, None), {"train_step": timing("train_step", 1.0, 1)}, ceilings) == {}


@pytest.mark.parametrize("name", PEAKS)
def test_every_peak_has_figures_and_a_source(name: str) -> None:
    peak = PEAKS[name]
    assert set(peak.tflops) == {"bfloat16", "float32"}
    assert peak.tflops["bfloat16"] > peak.tflops["float32"] > 0
    assert "NVIDIA" in peak.source


def test_ceilings_of_a_known_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: H100)
    monkeypatch.setattr(roofline, "matmul_ceiling", lambda device, dtype: 1.0 if dtype == torch.float32 else 2.0)
    monkeypatch.setattr(roofline, "copy_ceiling", lambda device: 3.0)
    ceilings = measure_ceilings(Runtime(torch.device("cuda"), "bfloat16", "math"))
    assert ceilings == Ceilings(H100, "bfloat16", {"float32": 1.0, "bfloat16": 2.0}, 3.0, PEAKS[H100])
    assert ceilings.to_json()["datasheet_gflops_per_s"] == 989_400
    assert ceilings.to_json()["datasheet_gb_per_s"] == 3350


def test_copying_counts_bytes_read_and_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "COPIED_BYTES", 4000)
    monkeypatch.setattr(hardware, "time_once", lambda work, device: 2e-6)
    assert copy_ceiling(torch.device("cpu")) == pytest.approx(8000 / 2e-6 / 1e9)


class TwoLayers(nn.Module):
    """A network of two leaves."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(8, 8, bias=False), nn.ReLU())

    def forward(self, x: Tensor, timesteps: Tensor, conditioning: Conditioning) -> Tensor:
        return self.layers(x)


@pytest.mark.parametrize(("precision", "size"), [("float32", 4), ("bfloat16", 2)])
def test_traffic_is_weights_once_and_what_passes_every_leaf(precision: str, size: int) -> None:
    activations = 3 * 2 * 5 * 8 * 8  # B C F H W
    elements = 8 * 8 + 2 * 2 * activations
    traffic = forward_traffic_gb(Subject(TwoLayers, Workload((2, 5, 8, 8))), 3, precision)
    assert traffic == pytest.approx(elements * size / 1e9)

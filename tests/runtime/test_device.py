"""Randomness by purpose, and the choice of device, precision and attention."""

from __future__ import annotations

import pytest
import torch

from stbench.errors import StbenchError
from stbench.run.generation import NoiseOfSamples
from stbench.runtime import device as device_module
from stbench.runtime.device import choose_runtime

CPU = torch.device("cpu")


def test_noise_of_a_sample_does_not_depend_on_its_batch() -> None:
    together, alone = NoiseOfSamples(0, "final", [0, 1, 2], CPU), NoiseOfSamples(0, "final", [2], CPU)
    for _ in range(2):  # the second draw goes on where the first ended
        a, b = together(torch.empty(3, 2, 4)), alone(torch.empty(1, 2, 4))
        assert torch.equal(a[2:], b)
        assert not torch.equal(a[0], a[1])
    other = NoiseOfSamples(0, "curve", [2], CPU)(torch.empty(1, 2, 4))
    assert not torch.equal(other, NoiseOfSamples(0, "final", [2], CPU)(torch.empty(1, 2, 4)))


@pytest.mark.parametrize(("fast", "precision"), [(True, "bfloat16"), (False, "float32")])
def test_auto(fast: bool, precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_module, "fast_bfloat16", lambda device: fast)
    runtime = choose_runtime("cpu", "auto", "auto")
    assert (runtime.precision, runtime.attention) == (precision, "auto")  # the backend is chosen when shapes are known


@pytest.mark.parametrize(("precision", "dtype"), [("float32", torch.float32), ("bfloat16", torch.bfloat16)])
def test_autocast(precision: str, dtype: torch.dtype) -> None:
    with choose_runtime("cpu", precision, "math").autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype


@pytest.mark.parametrize("device", ["cuda:99", "gpu"])
def test_missing_device(device: str) -> None:
    with pytest.raises(StbenchError, match=f"device={device} is not available"):
        choose_runtime(device, "auto", "auto")

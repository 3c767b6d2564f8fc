"""Randomness by purpose, and the choice of device, precision and attention."""

from __future__ import annotations

import pytest
import torch

from stbench.errors import StbenchError
from stbench.runtime import device as device_module
from stbench.runtime.device import choose_runtime

CPU = torch.device("cpu")


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

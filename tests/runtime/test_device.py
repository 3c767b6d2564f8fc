"""The choice of device, precision and attention, and what a run remembers of it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from stbench.errors import StbenchError
from stbench.runtime import device as device_module
from stbench.runtime.device import choose_device, choose_runtime

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


def test_missing_device() -> None:
    with pytest.raises(StbenchError, match="device=cuda:99 is not available") as caught:
        choose_runtime("cuda:99", "auto", "auto")
    assert "\n" not in str(caught.value)  # torch explains over several lines


@pytest.mark.parametrize("device", ["gpu", "GPU", "mps", "meta", "cuda:", "cpu:x", ""])
def test_what_is_no_device_here_is_answered_with_those_that_are(device: str) -> None:
    with pytest.raises(StbenchError) as caught:
        choose_device(device)
    assert str(caught.value) == f"device={device}: expected auto, cpu, cuda (a GPU) or cuda:N"


@pytest.mark.parametrize(("there", "device"), [(True, "cuda"), (False, "cpu")])
def test_auto_takes_a_gpu_where_there_is_one(there: bool, device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    assert choose_device("auto") == torch.device(device)
    assert choose_device("cpu") == CPU


def test_an_attention_backend_that_cannot_run_is_refused_with_the_precision_that_was_chosen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(device_module, "fast_bfloat16", lambda device: True)
    with pytest.raises(StbenchError) as caught:
        choose_runtime("cpu", "auto", "cudnn")
    assert str(caught.value) == "attention=cudnn cannot run on cpu in torch.bfloat16: needs a CUDA GPU"


@pytest.mark.parametrize(("kept", "freed_memory"), [(True, "kept"), (False, "returned")])
def test_what_becomes_of_freed_memory_is_remembered(
    kept: bool, freed_memory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device_module, "keep_freed_memory", lambda: kept)
    assert choose_runtime("cpu", "float32", "math").freed_memory == freed_memory


def test_every_runtime_has_choices_of_its_own() -> None:
    """Two runs of one process: what `auto` chose in the first is no part of the second's record."""
    first, second = (choose_runtime("cpu", "float32", "auto") for _ in range(2))
    assert first.attention_choices is not second.attention_choices
    assert first == second  # the same conditions, whatever has been timed so far
    assert replace(first, precision="bfloat16").attention_choices is first.attention_choices


def test_autocast_is_of_products_alone() -> None:
    runtime = choose_runtime("cpu", "bfloat16", "math")
    weight = torch.ones(2, 2, requires_grad=True)
    with runtime.autocast():
        (weight @ torch.ones(2, 2)).sum().backward()
    assert weight.grad is not None
    assert weight.grad.dtype == torch.float32
    assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32  # over when the block ends

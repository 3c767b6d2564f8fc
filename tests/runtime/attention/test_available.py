"""Why a backend of attention cannot run on a machine, in one line for people."""

from __future__ import annotations

import logging
import sys
import types
import warnings

import pytest
import torch
from torch import Tensor

from stbench.errors import StbenchError
from stbench.runtime.attention.available import NEEDS, resolve_attention, unavailable_reason
from stbench.runtime.attention.backends import AUTO, BACKENDS

CPU = torch.device("cpu")
pytestmark = pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")


def test_unknown_and_unavailable_backends_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StbenchError, match="unknown attention 'falsh': did you mean 'flash'"):
        resolve_attention("falsh", CPU, torch.float32)

    def broken(*tensors: Tensor) -> Tensor:
        raise NotImplementedError("no such kernel.\nmore lines")

    monkeypatch.setitem(BACKENDS, "flash", broken)
    with pytest.raises(StbenchError, match=r"attention=flash cannot run on cpu in torch.float32: no such kernel$"):
        resolve_attention("flash", CPU, torch.float32)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize(
    ("backend", "reason"),
    [
        ("math", None),
        ("sdpa", None),
        ("efficient", "needs a CUDA GPU"),
        ("cudnn", "needs a CUDA GPU"),
        ("flex", "FlexAttention does not support backward on CPU"),
    ],
)
def test_reasons_on_a_cpu(backend: str, reason: str | None, dtype: torch.dtype) -> None:
    with torch.no_grad():  # what the caller does meanwhile does not matter
        assert unavailable_reason(backend, CPU, dtype) == reason


def test_missing_xformers_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xformers", None)
    monkeypatch.delitem(sys.modules, "xformers.ops", raising=False)
    assert unavailable_reason("xformers", CPU, torch.float32) == "not installed: pip install 'stbench[xformers]'"


def test_xformers_beside_a_cpu_torch_is_quiet_and_named(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def memory_efficient_attention(*tensors: Tensor) -> Tensor:
        logging.getLogger("xformers").warning("WARNING[XFORMERS]: built for another torch\n  please reinstall")
        raise NotImplementedError("No operator found for `memory_efficient_attention_forward` with inputs:\n  query")

    ops = types.ModuleType("xformers.ops")
    ops.memory_efficient_attention = memory_efficient_attention  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "xformers", types.ModuleType("xformers"))
    monkeypatch.setitem(sys.modules, "xformers.ops", ops)
    assert unavailable_reason("xformers", CPU, torch.float32) == "xformers is installed but runs only on a GPU"
    assert caplog.records == []


def test_what_torch_says_in_warnings_is_not_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*tensors: Tensor) -> Tensor:
        warnings.warn("Flash attention kernel not used because: (Triggered internally at x.cpp:1.)", stacklevel=2)
        raise RuntimeError("No available kernel. Aborting execution.\nmore lines")

    monkeypatch.setitem(BACKENDS, "flash", refused)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        reason = unavailable_reason("flash", CPU, torch.float32)
    assert reason == "No available kernel. Aborting execution"
    assert caught == []


@pytest.mark.parametrize(
    ("backend", "dtype", "capability", "reasons"),
    [
        ("flash", torch.float32, (9, 0), ["needs bfloat16 or float16 on a GPU"]),
        ("flash", torch.bfloat16, (9, 0), []),
        ("flash", torch.bfloat16, (7, 5), ["needs a GPU of compute capability 8.0 or more"]),
        ("cudnn", torch.float32, (9, 0), ["needs bfloat16 or float16 on a GPU"]),
        ("cudnn", torch.float16, (8, 0), []),
        ("efficient", torch.float32, (7, 5), []),
        ("xformers", torch.float32, (7, 5), []),
        ("flex", torch.float32, (7, 5), []),
    ],
)
def test_needs_on_a_gpu(
    backend: str,
    dtype: torch.dtype,
    capability: tuple[int, int],
    reasons: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    cuda = torch.device("cuda")
    assert [need.reason for need in NEEDS[backend] if not need.met(cuda, dtype)] == reasons


def test_a_trial_that_succeeds_is_stronger_than_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BACKENDS, "cudnn", BACKENDS["math"])
    assert unavailable_reason("cudnn", CPU, torch.float32) is None
    assert resolve_attention("cudnn", CPU, torch.float32) == "cudnn"


def test_the_trial_includes_the_backward_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    class ForwardOnly(torch.autograd.Function):
        @staticmethod
        def forward(ctx: object, q: Tensor) -> Tensor:
            return q.clone()

        @staticmethod
        def backward(ctx: object, gradient: Tensor) -> Tensor:
            raise NotImplementedError("no backward kernel")

    monkeypatch.setitem(BACKENDS, "flash", lambda q, k, v: ForwardOnly.apply(q))
    assert unavailable_reason("flash", CPU, torch.float32) == "no backward kernel"


def test_mistakes_that_are_not_the_machines_are_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def mistaken(*tensors: Tensor) -> Tensor:
        raise TypeError("a bug of ours")

    monkeypatch.setitem(BACKENDS, "flash", mistaken)
    with pytest.raises(TypeError, match="a bug of ours"):
        unavailable_reason("flash", CPU, torch.float32)


def test_an_error_without_words_is_told_by_its_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(*tensors: Tensor) -> Tensor:
        raise RuntimeError

    monkeypatch.setitem(BACKENDS, "flash", silent)
    assert unavailable_reason("flash", CPU, torch.float32) == "RuntimeError"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_auto_stays_auto_until_shapes_are_known(dtype: torch.dtype) -> None:
    assert resolve_attention(AUTO, CPU, dtype) == AUTO

"""Every attention backend against the formula, forward and backward; unavailable ones say why."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from stbench.backbones import attention
from stbench.backbones.attention import (
    BACKENDS,
    BACKENDS_WITH_BIAS,
    Attend,
    resolve_attention,
    set_attention_backend,
    unavailable_reason,
)
from stbench.errors import StbenchError

CPU = torch.device("cpu")


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def plain(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> Tensor:
    scores = torch.einsum("...ne,...me->...nm", q, k) / math.sqrt(q.shape[-1])
    return torch.einsum("...nm,...me->...ne", (scores if bias is None else scores + bias).softmax(-1), v)


def attend(backend: str) -> Attend:
    module = Attend()
    set_attention_backend(module, backend)
    return module


@pytest.mark.parametrize("shape", [(2, 3, 16, 8), (2, 5, 4, 16, 8), (1, 1, 1, 1, 4)], ids=str)
@pytest.mark.parametrize("backend", BACKENDS)
def test_backend_equals_the_formula(backend: str, shape: tuple[int, ...]) -> None:
    reason = unavailable_reason(backend, CPU, torch.float32)
    if reason:
        pytest.skip(f"{backend} does not run here: {reason}")
    results = []
    for function in (plain, attend(backend)):
        # Permuted views, as the axial attention of a backbone hands them over.
        leaves = [normal(*shape[:-3], shape[-2], shape[-3], shape[-1], seed=i).requires_grad_() for i in range(3)]
        q, k, v = (leaf.transpose(-3, -2) for leaf in leaves)
        out = function(q, k, v)
        (out * normal(*shape, seed=9)).sum().backward()
        results.append([out.detach(), *(leaf.grad for leaf in leaves)])
    assert results[1][0].shape == shape
    torch.testing.assert_close(results[1], results[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("backend", BACKENDS_WITH_BIAS)
def test_bias_is_added_to_the_scores(backend: str) -> None:
    q, k, v = (normal(2, 3, 6, 8, seed=i) for i in range(3))
    bias = normal(3, 6, 6, seed=5)
    torch.testing.assert_close(attend(backend)(q, k, v, bias), plain(q, k, v, bias), rtol=1e-5, atol=1e-5)


def test_backends_are_set_inside_a_network() -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.Sequential(Attend()))
    set_attention_backend(network, "sdpa")
    assert [module.backend for module in network.modules() if isinstance(module, Attend)] == ["sdpa"]


@pytest.mark.parametrize(
    ("dtype", "expected"), [(torch.float32, "sdpa"), (torch.bfloat16, "math")], ids=["float32", "bfloat16"]
)
def test_auto_on_a_cpu(dtype: torch.dtype, expected: str) -> None:
    assert resolve_attention("auto", CPU, dtype) == expected


def test_unknown_and_unavailable_backends_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StbenchError, match="unknown attention 'falsh': did you mean 'flash'"):
        resolve_attention("falsh", CPU, torch.float32)

    def broken(*tensors: Tensor) -> Tensor:
        raise NotImplementedError("no such kernel.\nmore lines")

    monkeypatch.setitem(attention.BACKENDS, "flash", broken)
    with pytest.raises(StbenchError, match=r"attention=flash cannot run on cpu in torch.float32: no such kernel$"):
        resolve_attention("flash", CPU, torch.float32)

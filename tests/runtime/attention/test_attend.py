"""The module that every backbone attends through: its backend is set in one place, and a bias is never lost."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from stbench.errors import StbenchError
from stbench.runtime.attention.attend import Attend, set_attention_backend
from stbench.runtime.attention.backends import AUTO, BACKENDS, BACKENDS_WITH_BIAS
from stbench.runtime.attention.choice import AttentionChoices


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def plain(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> Tensor:
    scores = torch.einsum("...ne,...me->...nm", q, k) / math.sqrt(q.shape[-1])
    return torch.einsum("...nm,...me->...ne", (scores if bias is None else scores + bias).softmax(-1), v)


def attend(backend: str) -> Attend:
    module = Attend()
    set_attention_backend(module, backend)
    return module


def test_backends_are_set_inside_a_network() -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.Sequential(Attend()))
    assert set_attention_backend(network, "sdpa") == 1
    assert set_attention_backend(nn.Linear(2, 2), "sdpa") == 0
    assert [module.backend for module in network.modules() if isinstance(module, Attend)] == ["sdpa"]


def test_every_attention_of_a_network_refers_to_the_choices_of_the_run() -> None:
    network, choices = nn.Sequential(Attend(), nn.Sequential(Attend())), AttentionChoices()
    set_attention_backend(network, AUTO, choices)
    assert all(module.choices is choices for module in network.modules() if isinstance(module, Attend))


def test_an_unknown_backend_is_refused_and_changes_nothing() -> None:
    module = attend("sdpa")
    with pytest.raises(StbenchError, match="unknown attention 'falsh': did you mean 'flash'"):
        set_attention_backend(module, "falsh")
    assert module.backend == "sdpa"


def test_the_printed_module_names_its_backend() -> None:
    assert repr(Attend()) == "Attend(backend=math)"
    assert repr(attend(AUTO)) == "Attend(backend=auto)"


def test_attention_has_no_state_to_save() -> None:
    assert dict(Attend().state_dict()) == {}
    assert list(Attend().parameters()) == []


@pytest.mark.parametrize("backend", BACKENDS_WITH_BIAS)
@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
def test_a_bias_of_another_precision_is_rounded_to_that_of_the_queries(backend: str) -> None:
    """Relative positions are float32 parameters, and the queries bfloat16 under autocast."""
    q, bias = normal(1, 2, 4, 8).bfloat16(), normal(2, 4, 4, seed=1)
    out = attend(backend)(q, q, q, bias)
    assert out.dtype == torch.bfloat16
    expected = plain(q.float(), q.float(), q.float(), bias.bfloat16().float())
    torch.testing.assert_close(out.float(), expected, rtol=5e-2, atol=5e-2)


@pytest.mark.parametrize("backend", [name for name in BACKENDS if name not in BACKENDS_WITH_BIAS])
def test_a_bias_is_refused_by_those_that_would_lose_it(backend: str) -> None:
    q = normal(1, 2, 4, 8)
    with pytest.raises(StbenchError, match=f"attention={backend} takes no position bias.*try math or sdpa or flex$"):
        attend(backend)(q, q, q, normal(2, 4, 4))

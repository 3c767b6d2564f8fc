"""Every backend of attention against the formula, forward and backward, for every shape that a backbone uses."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from stbench.errors import StbenchError
from stbench.runtime.attention import choice
from stbench.runtime.attention.attend import Attend, set_attention_backend
from stbench.runtime.attention.available import unavailable_reason
from stbench.runtime.attention.backends import AUTO, BACKENDS, BACKENDS_WITH_BIAS, check_backend_name
from stbench.settings.schema import Settings

CPU = torch.device("cpu")
pytestmark = pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def plain(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> Tensor:
    scores = torch.einsum("...ne,...me->...nm", q, k) / math.sqrt(q.shape[-1])
    return torch.einsum("...nm,...me->...ne", (scores if bias is None else scores + bias).softmax(-1), v)


@dataclasses.dataclass(frozen=True)
class Case:
    """Queries (*leading, N, E), keys and values (*leading, M, E)."""

    leading: tuple[int, ...]
    N: int
    M: int
    E: int = 8
    permuted: bool = False  # views, as the axial attention of a backbone hands them over
    bias: bool = False

    def __str__(self) -> str:
        layout = "permuted" if self.permuted else "contiguous"
        return f"{self.leading}-{self.N}x{self.M}-{layout}" + ("-bias" if self.bias else "")

    def leaves(self) -> list[Tensor]:
        lengths = (self.N, self.M, self.M)
        shapes = [(*self.leading, length, self.E) for length in lengths]
        if self.permuted:
            shapes = [(*self.leading[:-1], length, self.leading[-1], self.E) for length in lengths]
        tensors = [normal(*shape, seed=i) for i, shape in enumerate(shapes)]
        return [*tensors, normal(self.leading[-1], self.N, self.M, seed=3)] if self.bias else tensors

    def view(self, leaves: list[Tensor]) -> list[Tensor]:
        return [leaf.transpose(-3, -2) if self.permuted and i < 3 else leaf for i, leaf in enumerate(leaves)]


CASES = [
    Case((2, 3), 16, 16),
    Case((2, 3), 16, 16, permuted=True),
    Case((2, 5, 4), 16, 16),
    Case((2, 5, 4), 16, 16, permuted=True),
    Case((2, 3), 5, 12),
    Case((2, 5, 4), 12, 5, permuted=True),
    Case((1, 1, 1), 1, 1, E=4),
    Case((2, 3), 6, 6, bias=True),
    Case((2, 5, 4), 5, 7, permuted=True, bias=True),
]


def results(function: Callable[..., Tensor], case: Case, dtype: torch.dtype, computed_in: torch.dtype) -> list[Tensor]:
    """The output, and the gradient of every input, from inputs rounded to `dtype`."""
    leaves = [leaf.to(dtype).to(computed_in).requires_grad_() for leaf in case.leaves()]
    out = function(*case.view(leaves))
    (out * normal(*out.shape, seed=9).to(dtype)).sum().backward()
    return [tensor.float() for tensor in (out.detach(), *(leaf.grad for leaf in leaves)) if tensor is not None]


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 5e-2)], ids=["float32", "bfloat16"]
)
@pytest.mark.parametrize(
    ("backend", "case"),
    [
        (name, case)
        for name in (*BACKENDS, AUTO)
        for case in CASES
        if not case.bias or name in (*BACKENDS_WITH_BIAS, AUTO)
    ],
    ids=str,
)
def test_backend_equals_the_formula(
    backend: str, case: Case, dtype: torch.dtype, tolerance: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choice, "MAX_SECONDS", 0.01)
    if backend == "flex":  # torch keeps its backward pass from CPUs, but the uncompiled one is there and can be tested
        monkeypatch.setattr("torch.nn.attention.flex_attention._validate_device", lambda *tensors: None)
    reason = None if backend == AUTO else unavailable_reason(backend, CPU, dtype)
    if reason:
        pytest.skip(f"{backend} does not run here: {reason}")
    attend = Attend()
    set_attention_backend(attend, backend)
    expected = results(plain, case, dtype, torch.float32)
    actual = results(attend, case, dtype, dtype)
    assert actual[0].shape == (*case.leading, case.N, case.E)
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("case", [case for case in CASES if case.bias], ids=str)
def test_flex_attends_forward_on_a_cpu(case: Case) -> None:
    inputs = case.view(case.leaves())
    torch.testing.assert_close(BACKENDS["flex"](*inputs), plain(*inputs), rtol=1e-5, atol=1e-5)


def test_settings_name_every_backend() -> None:
    choices = {field.name: field.metadata["choices"] for field in dataclasses.fields(Settings) if field.metadata}
    assert choices["attention"] == (AUTO, *BACKENDS)


def test_unknown_names_are_refused() -> None:
    for name in (AUTO, *BACKENDS):
        check_backend_name(name)
    with pytest.raises(StbenchError, match=r"^unknown attention 'falsh': did you mean 'flash'"):
        check_backend_name("falsh")

"""Attention backends against the formula, forward and backward; unavailable ones say why; auto takes the fastest."""

from __future__ import annotations

import dataclasses
import json
import logging
import math
import sys
import types
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

from stbench.errors import StbenchError
from stbench.runtime.attention import choice
from stbench.runtime.attention.attend import Attend, set_attention_backend
from stbench.runtime.attention.available import resolve_attention, unavailable_reason
from stbench.runtime.attention.backends import AUTO, BACKENDS, BACKENDS_WITH_BIAS
from stbench.runtime.attention.choice import CANDIDATES, candidates, chosen_backends
from stbench.runtime.timing import Timing
from stbench.settings.schema import Settings

CPU = torch.device("cpu")
pytestmark = pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")


@pytest.fixture(autouse=True)
def nothing_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "_median_seconds", {})
    monkeypatch.setattr(choice, "MAX_SECONDS", 0.01)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def plain(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> Tensor:
    scores = torch.einsum("...ne,...me->...nm", q, k) / math.sqrt(q.shape[-1])
    return torch.einsum("...nm,...me->...ne", (scores if bias is None else scores + bias).softmax(-1), v)


def attend(backend: str) -> Attend:
    module = Attend()
    set_attention_backend(module, backend)
    return module


# Each backend against the formula


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
    if backend == "flex":  # torch keeps its backward pass from CPUs, but the uncompiled one is there and can be tested
        monkeypatch.setattr("torch.nn.attention.flex_attention._validate_device", lambda *tensors: None)
    reason = None if backend == AUTO else unavailable_reason(backend, CPU, dtype)
    if reason:
        pytest.skip(f"{backend} does not run here: {reason}")
    expected = results(plain, case, dtype, torch.float32)
    actual = results(attend(backend), case, dtype, dtype)
    assert actual[0].shape == (*case.leading, case.N, case.E)
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("case", [case for case in CASES if case.bias], ids=str)
def test_flex_attends_forward_on_a_cpu(case: Case) -> None:
    inputs = case.view(case.leaves())
    torch.testing.assert_close(attend("flex")(*inputs), plain(*inputs), rtol=1e-5, atol=1e-5)


def test_backends_are_set_inside_a_network() -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.Sequential(Attend()))
    set_attention_backend(network, "sdpa")
    assert [module.backend for module in network.modules() if isinstance(module, Attend)] == ["sdpa"]


def test_settings_name_every_backend() -> None:
    choices = {field.name: field.metadata["choices"] for field in dataclasses.fields(Settings) if field.metadata}
    assert choices["attention"] == (AUTO, *BACKENDS)


# Refusals


def test_unknown_and_unavailable_backends_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for refuse in (lambda: resolve_attention("falsh", CPU, torch.float32), lambda: attend("falsh")):
        with pytest.raises(StbenchError, match="unknown attention 'falsh': did you mean 'flash'"):
            refuse()

    def broken(*tensors: Tensor) -> Tensor:
        raise NotImplementedError("no such kernel.\nmore lines")

    monkeypatch.setitem(BACKENDS, "flash", broken)
    with pytest.raises(StbenchError, match=r"attention=flash cannot run on cpu in torch.float32: no such kernel$"):
        resolve_attention("flash", CPU, torch.float32)


@pytest.mark.parametrize("backend", [name for name in BACKENDS if name not in BACKENDS_WITH_BIAS])
def test_a_bias_is_refused_by_those_that_would_lose_it(backend: str) -> None:
    q = normal(1, 2, 4, 8)
    with pytest.raises(StbenchError, match=f"attention={backend} takes no position bias.*try math or sdpa or flex$"):
        attend(backend)(q, q, q, normal(2, 4, 4))


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


def test_the_reason_that_torch_gives_in_warnings_is_the_one_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*tensors: Tensor) -> Tensor:
        place = "(Triggered internally at sdp_utils.cpp:1.)"
        for message in (
            "Memory efficient kernel not used because:",
            "Memory Efficient attention has been runtime disabled.",
            "Flash attention kernel not used because:",
            "Expected query, key and value to all be of dtype: {Half, BFloat16}. Got Query dtype: float instead.",
        ):
            warnings.warn(f"{message} {place}", UserWarning, stacklevel=2)
        raise RuntimeError("No available kernel. Aborting execution.")

    monkeypatch.setitem(BACKENDS, "flash", refused)
    expected = "Expected query, key and value to all be of dtype: {Half, BFloat16}"
    assert unavailable_reason("flash", CPU, torch.float32) == expected


def test_an_error_without_words_is_told_by_its_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(*tensors: Tensor) -> Tensor:
        raise RuntimeError

    monkeypatch.setitem(BACKENDS, "flash", silent)
    assert unavailable_reason("flash", CPU, torch.float32) == "RuntimeError"


# auto


class FakeTimer:
    """Stands in for the measurement: does each piece of work once, and says how long it took."""

    def __init__(self, **seconds: float) -> None:
        self.seconds = seconds
        self.measured: list[list[str]] = []

    def __call__(self, works: Mapping[str, Callable[[], object]], device: torch.device, **_: Any) -> dict[str, Timing]:
        self.measured.append(list(works))
        for work in works.values():
            work()
        return {name: Timing(name, [self.seconds[name]] * 3, 1, warmup_s=0, compile_s=0) for name in works}


@pytest.fixture
def timer(monkeypatch: pytest.MonkeyPatch) -> FakeTimer:
    fake = FakeTimer(math=2.0, sdpa=1.0, flash=0.5)
    monkeypatch.setattr(choice, "measure_interleaved", fake)
    return fake


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_auto_stays_auto_until_shapes_are_known(dtype: torch.dtype) -> None:
    assert resolve_attention(AUTO, CPU, dtype) == AUTO


@pytest.mark.parametrize("fastest", ["math", "sdpa"])
def test_auto_uses_the_fastest(fastest: str, timer: FakeTimer, monkeypatch: pytest.MonkeyPatch) -> None:
    timer.seconds[fastest] = 0.1
    used: list[str] = []

    def noting(name: str, function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def note(*inputs: Tensor) -> Tensor:
            used.append(name)
            return function(*inputs)

        return note

    for name in ("math", "sdpa"):
        monkeypatch.setitem(BACKENDS, name, noting(name, BACKENDS[name]))
    q = normal(1, 2, 4, 8)
    torch.testing.assert_close(attend(AUTO)(q, q, q), plain(q, q, q), rtol=1e-5, atol=1e-5)
    assert used[-1] == fastest
    assert chosen_backends() == [
        {
            "device": "cpu",
            "dtype": "float32",
            "autocast": False,
            "shapes": ((1, 2, 4, 8),) * 3,
            "strides": ((64, 32, 8, 1),) * 3,
            "backward": False,
            "backend": fastest,
            "median_s": {name: timer.seconds[name] for name in ("math", "sdpa")},
        }
    ]


def test_auto_measures_once_per_kind_of_call(timer: FakeTimer) -> None:
    q, module = normal(2, 3, 4, 8), attend(AUTO)
    kinds: list[Callable[[], Tensor]] = [
        lambda: module(q, q, q),
        lambda: module(q[:1], q[:1], q[:1]),
        lambda: module(*[normal(2, 4, 3, 8).transpose(1, 2)] * 3),
        lambda: module(q.bfloat16(), q.bfloat16(), q.bfloat16()),
        lambda: module(q, q, q, normal(3, 4, 4)),
        lambda: module(q.clone().requires_grad_(), q, q),
    ]
    for number, call in enumerate(kinds, start=1):
        call()
        call()
        assert len(timer.measured) == len(chosen_backends()) == number
    with torch.no_grad():  # a forward pass alone, as the first one
        module(q.clone().requires_grad_(), q, q)
    attend(AUTO)(q, q, q)  # another module of the same network
    assert len(timer.measured) == len(kinds)
    with torch.autocast("cpu", torch.bfloat16):
        module(q, q, q)
    assert chosen_backends()[-1]["autocast"]


def test_auto_times_the_very_layout_and_both_passes(timer: FakeTimer, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[tuple[int, ...], bool]] = []

    def spy(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> Tensor:
        out = plain(q, k, v, bias)
        seen.append((q.stride(), out.requires_grad))
        return out

    monkeypatch.setitem(BACKENDS, "math", spy)
    leaf = normal(2, 5, 3, 3, 4, 8).requires_grad_()  # (B, F, N, 3, heads, E)
    q, k, v = leaf.permute(3, 0, 2, 4, 1, 5)
    state = torch.get_rng_state()
    attend(AUTO)(q, k, v)
    assert seen == [(q.stride(), True)] * 2  # the trial and the measurement
    assert leaf.grad is None
    assert torch.equal(torch.get_rng_state(), state)


def test_auto_really_measured() -> None:
    q = normal(2, 3, 16, 8).requires_grad_()
    attend(AUTO)(q, q, q)
    (choice,) = chosen_backends()
    assert choice["backend"] == min(choice["median_s"], key=choice["median_s"].get)
    assert set(choice["median_s"]) == {"math", "sdpa"}
    assert all(seconds > 0 for seconds in choice["median_s"].values())
    assert json.loads(json.dumps(choice))["shapes"] == [[2, 3, 16, 8]] * 3


def test_candidates() -> None:
    assert candidates(CPU) == candidates(torch.device("mps")) == ["math", "sdpa"]
    assert candidates(torch.device("cuda")) == ["math", "sdpa", "flash", "efficient", "cudnn", "xformers"]
    assert candidates(torch.device("cuda"), with_bias=True) == ["math", "sdpa"]


def test_candidates_that_fail_are_left_out(timer: FakeTimer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CANDIDATES, "cpu", CANDIDATES["cuda"])
    monkeypatch.setitem(sys.modules, "xformers", None)
    q = normal(1, 2, 4, 8)
    attend(AUTO)(q, q, q)
    assert timer.measured == [["math", "sdpa", "flash"]]
    assert chosen_backends()[0]["backend"] == "flash"


def test_where_no_candidate_runs_the_first_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def out_of_memory(*tensors: Tensor) -> Tensor:
        raise torch.OutOfMemoryError("too large")

    for name in CANDIDATES["cpu"]:
        monkeypatch.setitem(BACKENDS, name, out_of_memory)
    q = normal(1, 2, 4, 8)
    with pytest.raises(torch.OutOfMemoryError, match="too large"):
        attend(AUTO)(q, q, q)
    assert chosen_backends() == []


def test_auto_measures_nothing_on_meta_or_in_a_counter(timer: FakeTimer) -> None:
    q, module = normal(2, 4, 64, 32), attend(AUTO)
    with FlopCounterMode(display=False) as counter:
        module(q, q, q)
    assert counter.get_total_flops() == 4 * 2 * 4 * 64 * 64 * 32  # two products, two operations a multiply-accumulate
    assert module(*[q.to("meta")] * 3).shape == q.shape
    assert timer.measured == []


@pytest.mark.parametrize("training", [True, False])
def test_a_graph_measures_once_when_it_is_compiled(timer: FakeTimer, training: bool) -> None:
    """Auto must not mean something else under compile: it is timed with the same shapes, strides and passes."""
    q, module = normal(2, 4, 64, 32).requires_grad_(training), attend(AUTO)
    timer.seconds |= {"sdpa": 2.0, "math": 1.0}
    compiled = torch.compile(module, backend="eager", fullgraph=True, dynamic=False)
    with torch.set_grad_enabled(training):
        for _ in range(2):
            torch.testing.assert_close(compiled(q, q, q), plain(q, q, q), rtol=1e-5, atol=1e-5)
        module(q, q, q)
    assert timer.measured == [["math", "sdpa"]]
    (choice,) = chosen_backends()
    assert (choice["backend"], choice["backward"]) == ("math", training)


def test_activation_checkpointing_does_not_see_the_trials() -> None:
    gradients = []
    for backend in ("math", AUTO):
        q, module = normal(1, 2, 4, 8).requires_grad_(), attend(backend)
        checkpoint(lambda q, module=module: module(q, q, q).square().sum(), q, use_reentrant=False).backward()
        gradients.append(q.grad)
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-5, atol=1e-6)


def test_choices_of_another_process_are_taken_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """A resumed run must not time again: it might choose otherwise, and differ in the last digits."""
    monkeypatch.setattr(choice, "_median_seconds", {})
    q = normal(1, 2, 8, 4)
    first = attend("auto")(q, q, q)
    rows = json.loads(json.dumps(choice.chosen_backends()))
    rows[0]["median_s"] = {"sdpa": 1.0, "math": 2.0}
    monkeypatch.setattr(choice, "_median_seconds", {})
    monkeypatch.setattr(choice, "_time_backends", lambda inputs: pytest.fail("timed again"))
    choice.recall_choices(rows)
    torch.testing.assert_close(attend("auto")(q, q, q), first)
    assert [row["backend"] for row in choice.chosen_backends()] == ["sdpa"]

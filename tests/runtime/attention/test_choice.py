"""What `attention=auto` chooses, when it measures, and to which run the choices belong."""

from __future__ import annotations

import copy
import dataclasses
import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

from stbench.records.sections import AttentionChoice, Timing
from stbench.runtime.attention import choice
from stbench.runtime.attention.attend import Attend, set_attention_backend
from stbench.runtime.attention.backends import AUTO, BACKENDS
from stbench.runtime.attention.choice import CANDIDATES, AttentionChoices, candidates
from stbench.runtime.timing import timing_of

CPU = torch.device("cpu")


@pytest.fixture
def choices(monkeypatch: pytest.MonkeyPatch) -> AttentionChoices:
    """Those of a run that has not begun."""
    monkeypatch.setattr(choice, "MAX_SECONDS", 0.01)
    return AttentionChoices()


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def plain(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> Tensor:
    scores = torch.einsum("...ne,...me->...nm", q, k) / math.sqrt(q.shape[-1])
    return torch.einsum("...nm,...me->...ne", (scores if bias is None else scores + bias).softmax(-1), v)


def auto(choices: AttentionChoices) -> Attend:
    """Attention of a network of the run that the choices belong to."""
    module = Attend()
    set_attention_backend(module, AUTO, choices)
    return module


class FakeTimer:
    """Stands in for the measurement: does each piece of work once, and says how long it took."""

    def __init__(self, **seconds: float) -> None:
        self.seconds = seconds
        self.measured: list[list[str]] = []

    def __call__(self, works: Mapping[str, Callable[[], object]], device: torch.device, **_: Any) -> dict[str, Timing]:
        self.measured.append(list(works))
        for work in works.values():
            work()
        return {name: timing_of(name, [self.seconds[name]] * 3, batch_size=1) for name in works}


@pytest.fixture
def timer(monkeypatch: pytest.MonkeyPatch) -> FakeTimer:
    fake = FakeTimer(math=2.0, sdpa=1.0, flash=0.5)
    monkeypatch.setattr(choice, "measure_interleaved", fake)
    return fake


@pytest.mark.parametrize("fastest", ["math", "sdpa"])
def test_auto_uses_the_fastest(
    choices: AttentionChoices, fastest: str, timer: FakeTimer, monkeypatch: pytest.MonkeyPatch
) -> None:
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
    torch.testing.assert_close(auto(choices)(q, q, q), plain(q, q, q), rtol=1e-5, atol=1e-5)
    assert used[-1] == fastest
    assert choices.rows() == (
        AttentionChoice(
            device="cpu",
            dtype="float32",
            autocast=False,
            shapes=((1, 2, 4, 8),) * 3,
            strides=((64, 32, 8, 1),) * 3,
            backward=False,
            backend=fastest,
            median_s={name: timer.seconds[name] for name in ("math", "sdpa")},
        ),
    )


def test_auto_measures_once_per_kind_of_call(choices: AttentionChoices, timer: FakeTimer) -> None:
    q, module = normal(2, 3, 4, 8), auto(choices)
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
        assert len(timer.measured) == len(choices.rows()) == number
    with torch.no_grad():  # a forward pass alone, as the first one
        module(q.clone().requires_grad_(), q, q)
    auto(choices)(q, q, q)  # another module of the same network
    assert len(timer.measured) == len(kinds)
    with torch.autocast("cpu", torch.bfloat16):
        module(q, q, q)
    assert choices.rows()[-1].autocast


def test_auto_times_the_very_layout_and_both_passes(
    choices: AttentionChoices, timer: FakeTimer, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[tuple[int, ...], bool]] = []

    def spy(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> Tensor:
        out = plain(q, k, v, bias)
        seen.append((q.stride(), out.requires_grad))
        return out

    monkeypatch.setitem(BACKENDS, "math", spy)
    leaf = normal(2, 5, 3, 3, 4, 8).requires_grad_()  # (B, F, N, 3, heads, E)
    q, k, v = leaf.permute(3, 0, 2, 4, 1, 5)
    state = torch.get_rng_state()
    auto(choices)(q, k, v)
    assert seen == [(q.stride(), True)] * 2  # the trial and the measurement
    assert leaf.grad is None
    assert torch.equal(torch.get_rng_state(), state)


def test_auto_really_measured(choices: AttentionChoices) -> None:
    q = normal(2, 3, 16, 8).requires_grad_()
    auto(choices)(q, q, q)
    (row,) = choices.rows()
    assert row.backend == min(row.median_s, key=row.median_s.__getitem__)
    assert set(row.median_s) == {"math", "sdpa"}
    assert all(seconds > 0 for seconds in row.median_s.values())
    assert json.loads(json.dumps(dataclasses.asdict(row)))["shapes"] == [[2, 3, 16, 8]] * 3


def test_candidates() -> None:
    assert candidates(CPU) == candidates(torch.device("mps")) == ["math", "sdpa"]
    assert candidates(torch.device("cuda")) == ["math", "sdpa", "flash", "efficient", "cudnn", "xformers"]
    assert candidates(torch.device("cuda"), with_bias=True) == ["math", "sdpa"]


def test_candidates_that_fail_are_left_out(
    choices: AttentionChoices, timer: FakeTimer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(CANDIDATES, "cpu", CANDIDATES["cuda"])
    monkeypatch.setitem(sys.modules, "xformers", None)
    q = normal(1, 2, 4, 8)
    auto(choices)(q, q, q)
    assert timer.measured == [["math", "sdpa", "flash"]]
    assert choices.rows()[0].backend == "flash"


def test_where_no_candidate_runs_the_first_says_why(choices: AttentionChoices, monkeypatch: pytest.MonkeyPatch) -> None:
    def out_of_memory(*tensors: Tensor) -> Tensor:
        raise torch.OutOfMemoryError("too large")

    for name in CANDIDATES["cpu"]:
        monkeypatch.setitem(BACKENDS, name, out_of_memory)
    q = normal(1, 2, 4, 8)
    with pytest.raises(torch.OutOfMemoryError, match="too large"):
        auto(choices)(q, q, q)
    assert choices.rows() == ()


def test_auto_measures_nothing_on_meta_or_in_a_counter(choices: AttentionChoices, timer: FakeTimer) -> None:
    q, module = normal(2, 4, 64, 32), auto(choices)
    with FlopCounterMode(display=False) as counter:
        module(q, q, q)
    assert counter.get_total_flops() == 4 * 2 * 4 * 64 * 64 * 32  # two products, two operations a multiply-accumulate
    assert module(*[q.to("meta")] * 3).shape == q.shape
    assert timer.measured == []


@pytest.mark.parametrize("training", [True, False])
def test_a_graph_measures_once_when_it_is_compiled(choices: AttentionChoices, timer: FakeTimer, training: bool) -> None:
    """Auto must not mean something else under compile: it is timed with the same shapes, strides and passes."""
    q, module = normal(2, 4, 64, 32).requires_grad_(training), auto(choices)
    timer.seconds |= {"sdpa": 2.0, "math": 1.0}
    compiled = torch.compile(module, backend="eager", fullgraph=True, dynamic=False)
    with torch.set_grad_enabled(training):
        for _ in range(2):
            torch.testing.assert_close(compiled(q, q, q), plain(q, q, q), rtol=1e-5, atol=1e-5)
        module(q, q, q)
    assert timer.measured == [["math", "sdpa"]]
    (row,) = choices.rows()
    assert (row.backend, row.backward) == ("math", training)


def test_activation_checkpointing_does_not_see_the_trials() -> None:
    gradients = []
    for module in (Attend(), auto(AttentionChoices())):
        q = normal(1, 2, 4, 8).requires_grad_()
        checkpoint(lambda q, module=module: module(q, q, q).square().sum(), q, use_reentrant=False).backward()
        gradients.append(q.grad)
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-5, atol=1e-6)


# Whose choices they are


def test_a_run_does_not_see_the_choices_of_another(timer: FakeTimer) -> None:
    first, second = AttentionChoices(), AttentionChoices()
    small, large = normal(1, 2, 4, 8), normal(1, 2, 16, 8)
    auto(first)(small, small, small)
    auto(second)(large, large, large)
    assert [row.shapes[0] for row in first.rows()] == [(1, 2, 4, 8)]
    assert [row.shapes[0] for row in second.rows()] == [(1, 2, 16, 8)]
    timer.seconds["math"] = 0.1
    auto(second)(small, small, small)  # timed anew, and chosen otherwise
    assert [row.backend for row in (*first.rows(), *second.rows())] == ["sdpa", "sdpa", "math"]


def test_networks_without_a_run_have_choices_of_their_own(timer: FakeTimer) -> None:
    q = normal(1, 2, 4, 8)
    for _ in range(2):
        network = nn.ModuleList([Attend(), Attend()])
        set_attention_backend(network, AUTO)
        for module in network:
            module(q, q, q)
    assert len(timer.measured) == 2  # once a network


@pytest.fixture
def clean_compiler() -> Iterator[None]:
    """Compiled code outlives its network: torch keeps it by the class's forward."""
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.mark.usefixtures("clean_compiler")
def test_compiled_code_of_one_run_does_not_answer_for_another(timer: FakeTimer) -> None:
    q, runs = normal(2, 4, 16, 8), [AttentionChoices(), AttentionChoices()]
    for fastest, choices in zip(("math", "sdpa"), runs, strict=True):
        timer.seconds |= {"math": 1.0, "sdpa": 1.0, fastest: 0.5}
        networks = [auto(choices), auto(choices)]  # two networks of one run share the compiled code
        for network in networks:
            network.compile(backend="eager", fullgraph=True, dynamic=False)
            network(q, q, q)
        assert [row.backend for row in choices.rows()] == [fastest]
    assert timer.measured == [["math", "sdpa"]] * 2


@pytest.mark.usefixtures("clean_compiler")
def test_compiled_code_forgets_what_was_chosen_before_a_recall(
    choices: AttentionChoices, timer: FakeTimer, monkeypatch: pytest.MonkeyPatch
) -> None:
    q, network = normal(2, 4, 16, 8), auto(choices)
    network.compile(backend="eager", fullgraph=True, dynamic=False)
    network(q, q, q)
    (row,) = choices.rows()
    assert row.backend == "sdpa"
    monkeypatch.setitem(BACKENDS, "math", lambda q, k, v: torch.zeros_like(v))  # to be told apart
    choices.recall([dataclasses.replace(row, backend="math")])
    assert network(q, q, q).count_nonzero() == 0
    assert len(timer.measured) == 1


def test_a_copy_of_a_network_refers_to_the_same_choices(choices: AttentionChoices, timer: FakeTimer) -> None:
    """The averaged weights are a deep copy, made before the first call."""
    network = nn.Sequential(auto(choices))
    copied = copy.deepcopy(network)
    q = normal(1, 2, 4, 8)
    for module in (*network, *copied):
        module(q, q, q)
    assert len(timer.measured) == len(choices.rows()) == 1
    assert copied[0].choices is choices


def test_choices_of_another_process_are_taken_over(choices: AttentionChoices, monkeypatch: pytest.MonkeyPatch) -> None:
    """A resumed run must not time again: it might choose otherwise, and differ in the last digits."""
    q = normal(1, 2, 8, 4)
    first = auto(choices)(q, q, q)
    (row,) = json.loads(json.dumps([dataclasses.asdict(row) for row in choices.rows()]))
    row |= {"backend": "sdpa", "median_s": {"sdpa": 1.0, "math": 2.0}}
    monkeypatch.setattr(choice, "_time_backends", lambda inputs: pytest.fail("timed again"))
    resumed = AttentionChoices()
    resumed.recall([AttentionChoice(**row)])
    torch.testing.assert_close(auto(resumed)(q, q, q), first)
    assert resumed.rows() == (
        dataclasses.replace(choices.rows()[0], backend="sdpa", median_s={"sdpa": 1.0, "math": 2.0}),
    )

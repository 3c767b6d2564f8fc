"""What `attention=auto` stands for: the backend that was fastest when the first call of its kind was timed.

Which one that is depends on device, precision, shape and layout. Backends round differently and two close times may
change places, so another process (a resumed run, another rank) may choose otherwise and differ in the last bits. A
backend that is named never does.
"""

from __future__ import annotations

import contextlib
import itertools
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import is_in_torch_dispatch_mode

from stbench.records.sections import AttentionChoice
from stbench.runtime.attention.backends import BACKENDS, BACKENDS_WITH_BIAS, AttentionFunction
from stbench.runtime.timing import Work, measure_interleaved

# What `auto` chooses among. On a CPU `flash` is what `sdpa` takes anyway; `flex` compiles for longer than it may save.
CANDIDATES = {"cpu": ("math", "sdpa"), "cuda": ("math", "sdpa", "flash", "efficient", "cudnn", "xformers")}
MIN_SAMPLES = 5
MAX_SECONDS = 0.2  # of sampling, for one shape


class AttentionCall(NamedTuple):
    """What the fastest backend depends on: shapes and strides are those of q, k, v and the bias, if there is one."""

    device: str
    dtype: str
    autocast: bool
    shapes: tuple[tuple[int, ...], ...]
    strides: tuple[tuple[int, ...], ...]
    backward: bool


class AttentionChoices:
    """What `auto` has chosen in one run. All networks of the run refer to the same choices, copies of them included."""

    _numbers = itertools.count()

    def __init__(self) -> None:
        self._by_call: dict[AttentionCall, AttentionChoice] = {}
        # Compiled code that was made under one number is not used under another: it holds the answers.
        self._number = next(self._numbers)

    def __deepcopy__(self, memo: dict[int, Any]) -> AttentionChoices:
        """The same choices: the averaged weights are a deep copy of a network, and belong to the same run."""
        return self

    def rows(self) -> tuple[AttentionChoice, ...]:
        """The choices in the order of the first calls."""
        return tuple(self._by_call.values())

    def recall(self, rows: Iterable[AttentionChoice]) -> None:
        """Take over what another process chose, so that a resumed run computes as it began.

        Args:
            rows: what `rows` returned there; shapes and strides may be lists, as JSON has them.
        """
        for row in rows:
            shapes, strides = (tuple(map(tuple, field)) for field in (row.shapes, row.strides))
            row = replace(row, shapes=shapes, strides=strides)
            self._by_call[AttentionCall(*(getattr(row, name) for name in AttentionCall._fields))] = row
        self._number = next(self._numbers)

    def fastest_backend(self, inputs: tuple[Tensor, ...]) -> str:
        """The backend for q, k, v and perhaps a bias; timed at the first call of its kind."""
        q, requires_grad = inputs[0], any(x.requires_grad for x in inputs)
        if not torch.compiler.is_compiling() and (q.is_meta or is_in_torch_dispatch_mode()):
            return "math"  # nothing to time; and a mode, such as a counter, must see no trials
        return self._fastest_backend_of(
            self._number,
            str(q.device),
            str(q.dtype).removeprefix("torch."),
            torch.is_autocast_enabled(q.device.type),
            tuple(tuple(x.shape) for x in inputs),
            tuple(x.stride() for x in inputs),
            torch.is_grad_enabled() and requires_grad,
        )

    @torch.compiler.assume_constant_result  # a graph that is compiled times the backends then, and keeps the answer
    def _fastest_backend_of(self, number: int, *fields: Any) -> str:
        """The same for the fields of an `AttentionCall`, one by one: a compiler knows only plain values.

        `number` is here to be read where the compiler sees it: its code is for these choices alone.
        """
        call = AttentionCall(*fields)
        if call not in self._by_call:
            seconds = _time_backends(call)
            self._by_call[call] = AttentionChoice(**call._asdict(), backend=next(iter(seconds)), median_s=seconds)
        return self._by_call[call].backend


def candidates(device: torch.device, with_bias: bool = False) -> list[str]:
    """The backends that `auto` times on `device`."""
    names = CANDIDATES.get(device.type, CANDIDATES["cpu"])
    return [name for name in names if name in BACKENDS_WITH_BIAS or not with_bias]


def _time_backends(call: AttentionCall) -> dict[str, float]:
    """Median seconds of every candidate that runs on inputs of this kind, the fastest first."""
    device = torch.device(call.device)
    # Tensors of the same shapes and strides, drawn without moving torch's global random state.
    random = torch.Generator(device).manual_seed(0)
    inputs = []
    for shape, strides in zip(call.shapes, call.strides, strict=True):
        extent = 1 + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
        values = torch.randn(extent, generator=random, device=device).to(getattr(torch, call.dtype))
        inputs.append(values.as_strided(shape, strides).requires_grad_(call.backward))
    names = candidates(device, with_bias=len(inputs) == 4)
    works = {name: partial(_forward_and_backward, BACKENDS[name], inputs) for name in names}
    # Hooks of our own hide those of activation checkpointing, which must not see what the trials save.
    with torch.autograd.graph.saved_tensors_hooks(lambda x: x, lambda x: x):
        running: dict[str, Work] = {}
        for name, work in works.items():  # a kernel may refuse a shape, or want memory that another does not
            with contextlib.suppress(RuntimeError, ImportError), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                work()
                running[name] = work
        timings = measure_interleaved(
            running or works,  # where none runs, the first one raises its error here
            device,
            min_samples=MIN_SAMPLES,
            max_seconds=MAX_SECONDS,
            batch_size=call.shapes[0][0],
        )
    seconds = {name: timing.median for name, timing in timings.items()}
    return dict(sorted(seconds.items(), key=lambda item: item[1]))


def _forward_and_backward(attention: AttentionFunction, inputs: Sequence[Tensor]) -> None:
    """Run a forward pass and, where gradients are asked for, a backward pass."""
    out = attention(*inputs)
    if out.requires_grad:
        torch.autograd.grad(out, [x for x in inputs if x.requires_grad], torch.ones_like(out))

"""Scaled dot-product attention behind one name: softmax(q k^T / sqrt(d)) v (arXiv 1706.03762, equation 1).

Every backbone attends through an `Attend` module, so that the computation can be switched in one place
(`set_attention_backend`) and every backend is tested against the plain formula (`math`), forward and backward.

`auto` is the backend that was fastest when the first call of its kind was timed: which one that is depends on device,
precision, shape and layout. Backends round differently and two close times may change places, so another process (a
resumed run, another rank) may choose otherwise and differ in the last bits. A backend that is named never does.
"""

from __future__ import annotations

import functools
import logging
import warnings
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.attention.flex_attention import flex_attention
from torch.utils._python_dispatch import is_in_torch_dispatch_mode

from stbench.errors import StbenchError, unknown_name
from stbench.runtime.timing import Work, measure_interleaved

AttentionFunction = Callable[..., Tensor]  # (q, k, v) -> out; those in BACKENDS_WITH_BIAS also take a bias


def math_attention(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> Tensor:
    """The formula itself, as two matrix products around a softmax.

    Args:
        q: queries (..., N, E), any number of leading dimensions.
        k: keys (..., M, E).
        v: values (..., M, E).
        bias: added to the scaled products before the softmax, broadcastable to (..., N, M).

    Returns:
        (..., N, E)
    """
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
    if bias is not None:
        scores = scores + bias
    return scores.softmax(dim=-1) @ v


def _four_dimensional(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Fold all leading dimensions into one: fused kernels take exactly (batch, heads, N, E)."""
    q, k, v = (x.reshape(-1, *x.shape[-3:]) for x in (q, k, v))
    return q, k, v


def _fused(*backends: SDPBackend) -> AttentionFunction:
    """Torch's fused attention, restricted to `backends` (all of them when none is named)."""

    def attention(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> Tensor:
        mask = None if bias is None else bias[None]
        with sdpa_kernel(list(backends)) if backends else nullcontext():
            out = F.scaled_dot_product_attention(*_four_dimensional(q, k, v), attn_mask=mask)
        return out.reshape(*q.shape[:-1], v.shape[-1])

    return attention


def _flex_attention(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> Tensor:
    """Torch's flex attention, which adds the bias inside of its kernel; a kernel it is only when compiled."""

    def add_bias(score: Tensor, batch: Tensor, head: Tensor, row: Tensor, column: Tensor) -> Tensor:
        return score if bias is None else score + bias[head, row, column]

    attend: AttentionFunction = flex_attention
    if q.device.type != "cpu" and not torch.compiler.is_compiling():  # a graph compiles it; on a CPU it cannot train
        attend = _compiled_flex_attention()
    out = attend(*_four_dimensional(q, k, v), score_mod=None if bias is None else add_bias)
    return out.reshape(*q.shape[:-1], v.shape[-1])


@functools.cache
def _compiled_flex_attention() -> AttentionFunction:
    return torch.compile(flex_attention)


def _xformers_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Xformers' memory-efficient attention, which wants (batch, N, heads, E)."""
    # Beside another torch than its own it logs several lines; `unavailable_reason` says the same in one.
    logging.getLogger("xformers").setLevel(logging.ERROR)
    from xformers.ops import memory_efficient_attention

    flat = [x.transpose(1, 2) for x in _four_dimensional(q, k, v)]
    return memory_efficient_attention(*flat).transpose(1, 2).reshape(*q.shape[:-1], v.shape[-1])


BACKENDS: dict[str, AttentionFunction] = {
    "math": math_attention,
    "sdpa": _fused(),
    "flash": _fused(SDPBackend.FLASH_ATTENTION),
    "efficient": _fused(SDPBackend.EFFICIENT_ATTENTION),
    "cudnn": _fused(SDPBackend.CUDNN_ATTENTION),
    "xformers": _xformers_attention,
    "flex": _flex_attention,
}
# The flash kernel has no bias at all, the others only of certain alignments.
BACKENDS_WITH_BIAS = ("math", "sdpa", "flex")

AUTO = "auto"
# What `auto` chooses among. On a CPU `flash` is what `sdpa` takes anyway; `flex` compiles for longer than it may save.
CANDIDATES = {"cpu": ("math", "sdpa"), "cuda": ("math", "sdpa", "flash", "efficient", "cudnn", "xformers")}
MIN_SAMPLES = 5
MAX_SECONDS = 0.2  # of sampling, for one shape


class Attend(nn.Module):
    """Attention without parameters; its `backend` is one of `BACKENDS`, or `AUTO`."""

    def __init__(self) -> None:
        super().__init__()
        self.backend = "math"

    def forward(self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> Tensor:
        """Attend from q to k and v.

        Args:
            q: (..., heads, N, E)
            k: (..., heads, M, E)
            v: (..., heads, M, E)
            bias: (heads, N, M), added to the scaled products (relative positions).

        Returns:
            (..., heads, N, E)

        Raises:
            StbenchError: for a bias under a backend that has none.
        """
        inputs = (q, k, v) if bias is None else (q, k, v, bias.to(q.dtype))
        backend = _fastest_backend(inputs) if self.backend == AUTO else self.backend
        if bias is not None and backend not in BACKENDS_WITH_BIAS:
            known = " or ".join(BACKENDS_WITH_BIAS)
            raise StbenchError(f"attention={backend} takes no position bias, which this backbone adds: try {known}")
        return BACKENDS[backend](*inputs)

    def extra_repr(self) -> str:
        """Name the backend in the printed module tree."""
        return f"backend={self.backend}"


class AttentionCall(NamedTuple):
    """What the fastest backend depends on: shapes and strides are those of q, k, v and the bias, if there is one."""

    device: str
    dtype: str
    autocast: bool
    shapes: tuple[tuple[int, ...], ...]
    strides: tuple[tuple[int, ...], ...]
    backward: bool


_median_seconds: dict[AttentionCall, dict[str, float]] = {}  # by backend, the fastest first


def chosen_backends() -> list[dict[str, Any]]:
    """What `auto` has chosen in this process, in the order of the first calls.

    Returns:
        For each kind of call the fields of `AttentionCall`, `backend` (the one in use), and `median_s`: seconds by
        backend, of the forward pass or, where `backward` is true, of both passes. Those that could not run are left
        out. Plain values, as a record keeps them.
    """
    return [
        {**call._asdict(), "backend": next(iter(seconds)), "median_s": dict(seconds)}
        for call, seconds in _median_seconds.items()
    ]


def recall_choices(rows: Iterable[Mapping[str, Any]]) -> None:
    """Take over what `auto` chose in another process, so that a resumed run computes as it began.

    Args:
        rows: what `chosen_backends` returned there, perhaps read back from JSON.
    """
    for row in rows:
        fields = {name: row[name] for name in AttentionCall._fields}
        fields |= {name: tuple(map(tuple, fields[name])) for name in ("shapes", "strides")}
        _median_seconds[AttentionCall(**fields)] = dict(row["median_s"])


def candidates(device: torch.device, with_bias: bool = False) -> list[str]:
    """The backends that `auto` times on `device`."""
    names = CANDIDATES.get(device.type, CANDIDATES["cpu"])
    return [name for name in names if name in BACKENDS_WITH_BIAS or not with_bias]


def _fastest_backend(inputs: tuple[Tensor, ...]) -> str:
    """The backend for q, k, v and perhaps a bias; timed at the first call of its kind."""
    q, requires_grad = inputs[0], any(x.requires_grad for x in inputs)
    compiling = torch.compiler.is_compiling()
    if not compiling and (q.is_meta or is_in_torch_dispatch_mode()):
        return "math"  # nothing to time; and a mode, such as a counter, must see no trials
    return _fastest_backend_of(
        str(q.device),
        str(q.dtype).removeprefix("torch."),
        torch.is_autocast_enabled(q.device.type),
        tuple(tuple(x.shape) for x in inputs),
        tuple(x.stride() for x in inputs),
        torch.is_grad_enabled() and requires_grad,
    )


@torch.compiler.assume_constant_result  # a graph that is being compiled times the backends then, and keeps the answer
def _fastest_backend_of(*fields: Any) -> str:
    """The same for the fields of an `AttentionCall`, one by one: a compiler knows only plain values."""
    call = AttentionCall(*fields)
    if call not in _median_seconds:
        _median_seconds[call] = _time_backends(call)
    return next(iter(_median_seconds[call]))


def _time_backends(call: AttentionCall) -> dict[str, float]:
    """Median seconds of every candidate that runs on inputs of this kind, the fastest first."""
    device = torch.device(call.device)
    inputs = _random_inputs(call)
    # Hooks of our own hide those of activation checkpointing, which must not see what the trials save.
    with torch.autograd.graph.saved_tensors_hooks(lambda x: x, lambda x: x):
        works = {name: _passes(BACKENDS[name], inputs) for name in candidates(device, with_bias=len(inputs) == 4)}
        running = {name: work for name, work in works.items() if _runs(work)}
        timings = measure_interleaved(
            running or works,  # where none runs, the first one raises its error here
            device,
            min_samples=MIN_SAMPLES,
            max_seconds=MAX_SECONDS,
            batch_size=call.shapes[0][0],
        )
    seconds = {name: timing.median for name, timing in timings.items()}
    return dict(sorted(seconds.items(), key=lambda item: item[1]))


def _random_inputs(call: AttentionCall) -> tuple[Tensor, ...]:
    """Tensors of the shapes and strides of a call, drawn without moving torch's global random state."""
    random = torch.Generator(call.device).manual_seed(0)
    dtype = getattr(torch, call.dtype)
    inputs = []
    for shape, strides in zip(call.shapes, call.strides, strict=True):
        extent = 1 + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
        values = torch.randn(extent, generator=random, device=call.device).to(dtype)
        inputs.append(values.as_strided(shape, strides).requires_grad_(call.backward))
    return tuple(inputs)


def _passes(attention: AttentionFunction, inputs: tuple[Tensor, ...]) -> Work:
    """A forward pass and, where gradients are asked for, a backward pass."""

    def work() -> None:
        out = attention(*inputs)
        if out.requires_grad:
            torch.autograd.grad(out, [x for x in inputs if x.requires_grad], torch.ones_like(out))

    return work


def _runs(work: Work) -> bool:
    """Whether a trial succeeds: a kernel may refuse a shape, or want memory that another does not."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            work()
        except (RuntimeError, ImportError):
            return False
    return True


# What torch and xformers need many lines to say.
WITHOUT_CUDA = {
    "efficient": "needs a CUDA GPU",
    "cudnn": "needs a CUDA GPU",
    "xformers": "xformers is installed but runs only on a GPU",
}


def unavailable_reason(backend: str, device: torch.device, dtype: torch.dtype) -> str | None:
    """Why `backend` cannot train on `device` in `dtype`, in one line; None when it can. Found out by running it."""
    probe = torch.zeros(1, 2, 16, 32, device=device, dtype=dtype, requires_grad=True)
    with warnings.catch_warnings(record=True) as caught, torch.enable_grad():
        warnings.simplefilter("always")
        try:
            BACKENDS[backend](probe, probe, probe).sum().backward()
        except (RuntimeError, ImportError) as error:
            if isinstance(error, ModuleNotFoundError) and str(error.name).startswith("xformers"):
                return "not installed: pip install 'stbench[xformers]'"
            if device.type != "cuda" and backend in WITHOUT_CUDA:
                return WITHOUT_CUDA[backend]
            notes = [str(note.message) for note in caught if "Triggered internally" in str(note.message)]
            return _first_sentence([*notes, str(error), type(error).__name__])
    return None


def _first_sentence(messages: list[str]) -> str:
    """The first sentence that says something: torch's kernels give their reasons in warnings, between headlines."""
    empty = ("not used because", "runtime disabled")
    sentences = (message.strip().split("\n")[0].split(" (Triggered")[0].split(". ")[0] for message in messages)
    return next(text.rstrip(".:") for text in sentences if text and not any(words in text for words in empty))


def resolve_attention(backend: str, device: torch.device, dtype: torch.dtype) -> str:
    """Check that the `attention` setting can be used here.

    Args:
        backend: a name of `BACKENDS`, or `AUTO`, which stays as it is: shapes are known only to the first call.
        device: where the backbone runs.
        dtype: in which precision it runs.

    Returns:
        `backend`, for `set_attention_backend`.

    Raises:
        StbenchError: for an unknown backend, or one that cannot run here, with the reason.
    """
    _check_name(backend)
    reason = None if backend == AUTO else unavailable_reason(backend, device, dtype)
    if reason is not None:
        raise StbenchError(f"attention={backend} cannot run on {device} in {dtype}: {reason}")
    return backend


def set_attention_backend(backbone: nn.Module, backend: str) -> None:
    """Make every `Attend` inside `backbone` use `backend`, a name of `BACKENDS` or `AUTO`."""
    _check_name(backend)
    for module in backbone.modules():
        if isinstance(module, Attend):
            module.backend = backend


def _check_name(backend: str) -> None:
    if backend not in (AUTO, *BACKENDS):
        raise unknown_name("attention", backend, [*BACKENDS, AUTO])

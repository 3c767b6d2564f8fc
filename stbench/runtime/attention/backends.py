"""The backends of attention by name: softmax(q k^T / sqrt(d)) v (arXiv 1706.03762, equation 1), several ways."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from contextlib import nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.attention.flex_attention import flex_attention

from stbench.errors import unknown_name

AttentionFunction = Callable[..., Tensor]  # (q, k, v) -> out; those in BACKENDS_WITH_BIAS also take a bias

_compiled_once = functools.cache(torch.compile)  # one compiled function for the whole process


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
        attend = _compiled_once(flex_attention)
    out = attend(*_four_dimensional(q, k, v), score_mod=None if bias is None else add_bias)
    return out.reshape(*q.shape[:-1], v.shape[-1])


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


def check_backend_name(backend: str) -> None:
    """Refuse what is neither a backend nor `AUTO`."""
    if backend not in (AUTO, *BACKENDS):
        raise unknown_name("attention", backend, [*BACKENDS, AUTO])

"""Scaled dot-product attention behind one name: softmax(q k^T / sqrt(d)) v (arXiv 1706.03762, equation 1).

Every backbone attends through an `Attend` module, so that the computation can be switched in one place
(`set_attention_backend`) and every backend is tested against the plain formula (`math`), forward and backward.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from stbench.errors import StbenchError, unknown_name

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


def _fused(*backends: SDPBackend) -> AttentionFunction:
    """Torch's fused attention, restricted to `backends` (all of them when none is named)."""

    def attention(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> Tensor:
        # The kernels take exactly four dimensions, (batch, heads, N, E), also in the bias.
        flat_q, flat_k, flat_v = (x.reshape(-1, *x.shape[-3:]) for x in (q, k, v))
        mask = None if bias is None else bias[None]
        with sdpa_kernel(list(backends)) if backends else nullcontext():
            out = F.scaled_dot_product_attention(flat_q, flat_k, flat_v, attn_mask=mask)
        return out.reshape(*q.shape[:-1], v.shape[-1])

    return attention


def _xformers_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Xformers' memory-efficient attention, which wants (batch, N, heads, E)."""
    from xformers.ops import memory_efficient_attention

    flat = [x.reshape(-1, *x.shape[-3:]).transpose(1, 2) for x in (q, k, v)]
    return memory_efficient_attention(*flat).transpose(1, 2).reshape(*q.shape[:-1], v.shape[-1])


BACKENDS: dict[str, AttentionFunction] = {
    "math": math_attention,
    "sdpa": _fused(),
    "flash": _fused(SDPBackend.FLASH_ATTENTION),
    "efficient": _fused(SDPBackend.EFFICIENT_ATTENTION),
    "cudnn": _fused(SDPBackend.CUDNN_ATTENTION),
    "xformers": _xformers_attention,
}
BACKENDS_WITH_BIAS = ("math", "sdpa")  # the flash kernel has no bias at all, the others only of certain alignments


class Attend(nn.Module):
    """Attention without parameters; its `backend` is one of `BACKENDS`."""

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
        if bias is None:
            return BACKENDS[self.backend](q, k, v)
        if self.backend not in BACKENDS_WITH_BIAS:
            known = " or ".join(BACKENDS_WITH_BIAS)
            raise StbenchError(
                f"attention={self.backend} takes no position bias, which this backbone adds: try {known}"
            )
        return BACKENDS[self.backend](q, k, v, bias.to(q.dtype))

    def extra_repr(self) -> str:
        """Name the backend in the printed module tree."""
        return f"backend={self.backend}"


def unavailable_reason(backend: str, device: torch.device, dtype: torch.dtype) -> str | None:
    """Why `backend` cannot run on `device` in `dtype`, in one line; None when it can. Found out by running it."""
    probe = torch.zeros(1, 2, 16, 32, device=device, dtype=dtype)
    try:
        BACKENDS[backend](probe, probe, probe)
    except (RuntimeError, NotImplementedError, ImportError) as error:
        first_line = next(iter(str(error).strip().splitlines()), type(error).__name__)
        return first_line.rstrip(".:")
    return None


def resolve_attention(backend: str, device: torch.device, dtype: torch.dtype) -> str:
    """Turn the `attention` setting into a backend that runs here.

    Args:
        backend: a name of `BACKENDS`, or "auto": `sdpa` on a GPU and in float32, `math` for half precision on a CPU,
            where torch's fused kernel is the slower one at these sequence lengths.
        device: where the backbone runs.
        dtype: in which precision it runs.

    Raises:
        StbenchError: for an unknown backend, or one that cannot run here, with the reason.
    """
    if backend == "auto":
        return "math" if device.type == "cpu" and dtype != torch.float32 else "sdpa"
    if backend not in BACKENDS:
        raise unknown_name("attention", backend, [*BACKENDS, "auto"])
    reason = unavailable_reason(backend, device, dtype)
    if reason is not None:
        raise StbenchError(f"attention={backend} cannot run on {device} in {dtype}: {reason}")
    return backend


def set_attention_backend(backbone: nn.Module, backend: str) -> None:
    """Make every `Attend` inside `backbone` use `backend`, a name of `BACKENDS`."""
    if backend not in BACKENDS:
        raise unknown_name("attention", backend, BACKENDS)
    for module in backbone.modules():
        if isinstance(module, Attend):
            module.backend = backend

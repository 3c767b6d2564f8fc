"""Multiply-accumulates counted by fvcore, which traces a real forward pass: a counter independent of torch's.

fvcore knows no fused attention, and counts it as nothing; it is taught every such operator here.
"""

from __future__ import annotations

import math
import re
import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from stbench.runtime.attention.attend import set_attention_backend

# Products, convolutions and attention among the names of operators, but not `flatten` or `convert_element_type`.
PRODUCT_LIKE = re.compile(
    r"(^|_)(mm|bmm|mv|dot|vdot|addmm|addmv|baddbmm|addbmm|addr|matmul|linear|trilinear|conv\d?d?)(_|$)"
    r"|convolution|attention|attn|flash"
)
PRODUCTS = ("addmm", "attention", "baddbmm", "bmm", "conv", "einsum", "linear", "matmul")

# Fused attention by the layout of its queries: (..., N, E) in torch, (batch, N, heads, E) in the kernels that
# torch and xformers share.
HEADS_FIRST = (
    "aten::scaled_dot_product_attention",
    "aten::_scaled_dot_product_attention_math",
    "aten::_scaled_dot_product_cudnn_attention",
    "aten::_scaled_dot_product_efficient_attention",
    "aten::_scaled_dot_product_flash_attention",
    "aten::_scaled_dot_product_flash_attention_for_cpu",
    "aten::_scaled_dot_product_fused_attention_overrideable",
)
TOKENS_FIRST = (
    "aten::_efficient_attention_forward",
    "aten::_flash_attention_forward",
    "xformers::efficient_attention_forward_cutlass",
    "xformers::memory_efficient_attention_forward",
    "xformers_flash::flash_fwd",
    "xformers_flash3::flash_fwd",
)


@dataclass(frozen=True)
class FvcoreCount:
    """What fvcore counted.

    Attributes:
        gmacs: 10^9 MACs of products, convolutions and attention.
        unknown: operators that look like products, for which it has no formula.
    """

    gmacs: float
    unknown: list[str]


def count_with_fvcore(
    build: Callable[[], nn.Module],
    make_inputs: Callable[[], tuple[Any, ...]],
    attention: str = "math",
) -> FvcoreCount:
    """Count one forward pass in evaluation mode; takes as long as that pass and needs the network's memory.

    Args:
        build: makes the network on the CPU.
        make_inputs: makes the positional arguments of its `forward`; those that are not tensors are held fixed.
        attention: the backend to count under; the count does not depend on it.
    """
    network, inputs = build().eval(), make_inputs()
    set_attention_backend(network, attention)
    tensors = tuple(value for value in inputs if isinstance(value, Tensor))
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # fvcore imports and traces with torch.jit
        from fvcore.nn import FlopCountAnalysis

        analysis = FlopCountAnalysis(_TensorsOnly(network, inputs), tensors)
        analysis.set_op_handle(**dict.fromkeys(HEADS_FIRST, partial(_attention_handle, -2)))
        analysis.set_op_handle(**dict.fromkeys(TOKENS_FIRST, partial(_attention_handle, -3)))
        analysis.set_op_handle(**{"aten::baddbmm": _baddbmm_handle})
        analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
        counts: Mapping[str, float] = analysis.by_operator()
        unknown = sorted(filter(_is_product_like, analysis.unsupported_ops()))
    return FvcoreCount(sum(counts.get(name, 0) for name in PRODUCTS) / 1e9, unknown)


def _is_product_like(operator: str) -> bool:
    """Whether an operator's name, without its library's, says that it multiplies matrices or attends."""
    return PRODUCT_LIKE.search(operator.rpartition(":")[2].lower()) is not None


class _TensorsOnly(nn.Module):
    """A network whose non-tensor arguments are fixed, since a trace takes tensors only."""

    def __init__(self, network: nn.Module, inputs: tuple[Any, ...]) -> None:
        super().__init__()
        self.network = network
        self.inputs = inputs

    def forward(self, *tensors: Tensor) -> Any:
        """Call the network with `tensors` in the places of the tensors."""
        remaining = iter(tensors)
        with _PlainShapes():
            return self.network(*(next(remaining) if isinstance(value, Tensor) else value for value in self.inputs))


class _PlainShapes(TorchFunctionMode):
    """Shapes as integers, also while tracing, which makes tensors of them that `round` and `range` refuse."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func in (Tensor.shape.__get__, Tensor.size):  # type: ignore[attr-defined]  # a property
            return torch.Size(map(int, result)) if isinstance(result, tuple) else int(result)
        return result


def _attention_handle(tokens_axis: int, inputs: list[Any], outputs: list[Any]) -> Counter[str]:
    """MACs of an operator whose first inputs are queries, keys and values with the tokens on `tokens_axis`."""
    q, k, v = (value.type().sizes() for value in inputs[:3])
    return Counter(attention=math.prod(q[:-1]) * k[tokens_axis] * (q[-1] + v[-1]))


def _baddbmm_handle(inputs: list[Any], outputs: list[Any]) -> Counter[str]:
    first, second = (value.type().sizes() for value in inputs[1:3])
    return Counter(baddbmm=math.prod(first) * second[-1])

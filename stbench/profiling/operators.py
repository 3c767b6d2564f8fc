"""What an executed operator counts as: a product by a formula, nothing, or something that no formula knows.

Nothing are elementwise work, reductions, normalisation, softmax, pooling, interpolation, losses, random numbers and the
movement of data, as in the literature. Every operator that is neither that nor known to torch's counter is named:
Fourier transforms, sorting, cumulative sums, distances, kernels of one's own. A formula of one's own, registered by
`torch.utils.flop_counter.register_flop_formula`, makes an operator known.

A matrix product that is written as an elementwise one and a sum has no operator of its own. What gives it away is that
both of its factors are broadcast; where one was copied to full size before, it passes for elementwise.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from stbench.profiling.closed_form import LayerMacs

# Names without underscores around them and without what follows `_backward`. Most elementwise operators, all reductions
# and views are marked by torch itself.
FREE_TAGS = frozenset({torch.Tag.pointwise, torch.Tag.reduction, torch.Tag.inplace_view})
FREE = re.compile(
    r"""
    arange|linspace|eye|range|scalar_tensor|tri[lu](_indices)?|fill|zero|efficientzerotensor
    |(new_)?(empty|full|ones|zeros)(_like|_strided|_permuted)?
    |bernoulli|exponential|multinomial|native_dropout|normal(_functional)?|rand(n|int|om|perm)?(_like)?|uniform
    |(to_|lazy_)?(copy|clone)|copy_from|lift(_fresh)?|pin_memory|resize|set|unsafe_(view|split|split_with_sizes)
    |(chunk_)?cat|stack|block_diag|repeat(_interleave)?|flip|roll|rot90|take|put|diag_embed|trace
    |(constant_pad|reflection_pad|replication_pad)\w*|pixel_(un)?shuffle|channel_shuffle|im2col|col2im
    |(as_strided|diagonal|select|slice|squeeze|unfold)(_scatter|_inverse)?|gather|scatter(_add|_reduce)?
    |(unsafe_)?(masked_)?index(_add|_copy|_fill|_put|_put_impl|_put_accumulate|_reduce|_select)?|masked_(scatter|select)
    |embedding(_dense|_renorm|_bag\w*)?|nonzero(_static)?
    |\w*softmax(_data)?|glu|prelu_kernel|log_sigmoid(_forward)?|\w*(elu|hard\w+|softplus|softshrink)|thnn_fused_\w+
    |complex|copysign|detach|floor_divide|isin|polar
    |\w*(batch|group|layer|instance|rms|weight)_norm\w*
    |(adaptive_|fractional_)?(avg|max)_(un)?pool\d?d?\w*|\w*upsample_\w+|\w*grid_sampler_\w+|affine_grid_generator
    |\w+_loss(2d)?(_forward)?|binary_cross_entropy\w*
    """,
    re.VERBOSE,
)


class OperatorWatch(TorchDispatchMode):
    """Looks at every operator that is executed, as torch's counter takes it apart.

    Args:
        layers: the closed form that is counting at the same time.

    Attributes:
        unknown: elements that went into and came out of operators which are neither free nor known to the counter, by
            the operator's name.
        outside_flops: FLOPs of what is known, but belongs to none of the layers that the closed form knows.
        broadcast_products: multiplications outside of those layers in which both factors are broadcast.
    """

    def __init__(self, layers: LayerMacs) -> None:
        super().__init__()
        self.layers = layers
        self.unknown: Counter[str] = Counter()
        self.outside_flops = 0
        self.broadcast_products = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        packet = getattr(func, "overloadpacket", func)
        if packet in flop_registry:
            if not self.layers.inside:
                self.outside_flops += flop_registry[packet](*args, **kwargs, out_val=out)
        elif packet in (torch.ops.aten.mul, torch.ops.aten.mul_):
            self.broadcast_products += 0 if self.layers.inside else _broadcast_products(args, out)
        elif not is_free(func):
            tensors = [each for each in tree_leaves((args, kwargs, out)) if isinstance(each, Tensor)]
            self.unknown[str(packet)] += sum(each.numel() for each in tensors)
        return out


def is_free(operator: Any) -> bool:
    """Whether an operator counts as nothing; see the module's docstring."""
    if not isinstance(operator, OpOverload) or operator.namespace != "aten":
        return False
    name = operator.overloadpacket.__name__
    out_of_place = getattr(torch.ops.aten, name.removesuffix("_"), operator.overloadpacket)  # marked where both are
    tags = {tag for overload in out_of_place.overloads() for tag in getattr(out_of_place, overload).tags}
    if operator.is_view or FREE_TAGS & tags.union(operator.tags):
        return True
    return FREE.fullmatch(name.strip("_").partition("_backward")[0]) is not None


def _broadcast_products(factors: tuple[Any, ...], out: Tensor) -> int:
    """The multiplications of two tensors that are both smaller than their product; 0 where one is as large."""
    are_tensors = all(isinstance(factor, Tensor) for factor in factors)
    return out.numel() if are_tensors and max(map(_num_distinct, factors)) < out.numel() else 0


def _num_distinct(tensor: Tensor) -> int:
    """The elements of a tensor that are not repeated by `expand`."""
    return math.prod(size for size, stride in zip(tensor.shape, tensor.stride(), strict=True) if stride)

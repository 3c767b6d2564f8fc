"""Operations and parameters of a network, counted without running a kernel.

One multiply-accumulate (MAC) is two FLOPs; both are given, by name. torch's `FlopCounterMode` counts matrix products,
convolutions and attention; elementwise work and the like count as nothing (`operators`). It runs on the meta device
with attention as two plain matrix products: on a real device it loses fused attention kernels.

What a counter may lose is looked for in two ways: operators that no formula knows (`operators`), and a lower bound from
the shapes that went through every linear layer, convolution and attention (`closed_form`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from stbench.errors import StbenchError, error_with_place
from stbench.profiling.closed_form import LayerMacs
from stbench.profiling.operators import OperatorWatch
from stbench.runtime.attention.attend import set_attention_backend

Build = Callable[[], nn.Module]
MakeInputs = Callable[[], tuple[Any, ...]]

AGREEMENT = 1e-3  # counters agree when they differ by less than this share
NEGLIGIBLE = 1e-6  # elements for each MAC: at a thousand operations an element, the same share


@dataclass(frozen=True)
class OperationCounts:
    """Operations of one forward pass in evaluation mode, or of one training step.

    Attributes:
        macs: multiply-accumulates.
        gmacs_by_counter: 10^9 MACs by "torch" (this count) and "closed_form" (layers' shapes alone, a lower bound: what
            the network computes outside of them is added to it before the two are held against each other).
        gmacs_by_operator: 10^9 MACs by torch's operator.
        gmacs_by_module: 10^9 MACs by the network's direct child; "" is what the network does outside of any child.
        gmacs_by_part: the same by child and grandchild, equal blocks of a list added up as "*".
        incomplete: one line for each thing that the count misses; empty when nothing is known to be missing.
    """

    macs: int
    gmacs_by_counter: dict[str, float]
    gmacs_by_operator: dict[str, float]
    gmacs_by_module: dict[str, float]
    gmacs_by_part: dict[str, float]
    incomplete: list[str]

    @property
    def gmacs(self) -> float:
        """10^9 multiply-accumulates."""
        return self.macs / 1e9

    @property
    def gflops(self) -> float:
        """10^9 floating point operations: two for each multiply-accumulate."""
        return 2 * self.gmacs


def count_operations(build: Build, make_inputs: MakeInputs, training: bool = False) -> OperationCounts:
    """Count one forward pass on the meta device, whatever the size of the network.

    Args:
        build: makes the network; called under `torch.device("meta")`, so that no memory is used.
        make_inputs: makes the positional arguments of its `forward`, under `torch.device("meta")` as well.
        training: count the forward and backward pass of a training step, in train mode.

    Returns:
        The counts, for the batch size of the inputs.

    Raises:
        StbenchError: when the network fails, with the reason.
    """
    counter = FlopCounterMode(
        display=False, custom_mapping={torch.ops.aten.convolution_backward: _convolution_backward}
    )
    layers = LayerMacs()
    operators = OperatorWatch(layers)
    try:
        with torch.device("meta"), torch.set_grad_enabled(training):
            network, inputs = build().train(training), make_inputs()
            set_attention_backend(network, "math")
            # The counter takes operators apart before it hands them on, so the mode outside of it sees what it counts.
            with layers.watching(network), operators, counter:
                prediction = network(*inputs)
                if training:
                    layers.inside = True  # gradients of the products that were seen are no new ones
                    prediction.sum().backward()
    except StbenchError:
        raise
    except Exception as error:  # somebody's network, which fails in its own way
        on_meta = " on the meta device, where tensors have no values" if "meta" in str(error).lower() else ""
        raise StbenchError(
            f"operations cannot be counted: the network fails{on_meta}: {error_with_place(error)}"
        ) from error
    flops = {name: sum(by_operator.values()) for name, by_operator in counter.get_flop_counts().items()}
    macs = counter.get_total_flops() // 2
    return OperationCounts(
        macs=macs,
        gmacs_by_counter={"torch": macs / 1e9, "closed_form": (layers.forward + layers.backward) / 1e9},
        gmacs_by_operator={str(op): n / 2e9 for op, n in counter.get_flop_counts().get("Global", {}).items()},
        gmacs_by_module=_gmacs_by_module(network, flops),
        gmacs_by_part=_gmacs_by_part(network, flops),
        incomplete=_what_is_missing(operators, macs, layers),
    )


def agree(first: float, second: float) -> bool:
    """Whether two counts are the same but for a thousandth."""
    return math.isclose(first, second, rel_tol=AGREEMENT)


def count_parameters(module: nn.Module) -> tuple[int, int]:
    """Count parameters; works on the meta device.

    Returns:
        (total, trainable). The total is what a checkpoint holds: all parameters, and the floating point buffers of the
        state dict, such as frozen position tables. Trainable are the parameters that require a gradient. Shared ones
        count once.
    """
    stored = module.state_dict().keys()
    tables = [table for name, table in module.named_buffers() if name in stored and table.is_floating_point()]
    parameters = list(module.parameters())
    total = sum(tensor.numel() for tensor in [*parameters, *tables])
    return total, sum(p.numel() for p in parameters if p.requires_grad)


def _convolution_backward(
    grad_output: Any,
    x: Any,
    weight: Any,
    _bias: Any,
    _stride: Any,
    _padding: Any,
    _dilation: Any,
    transposed: bool,
    _output_padding: Any,
    _groups: int,
    output_mask: list[bool],
    out_shape: Any = None,
    **_: Any,
) -> int:
    """FLOPs of a convolution's gradients: each is as much as the convolution. Torch's own formula takes the gradient of
    a weight in g groups for g times as much.
    """
    places = x if transposed else grad_output
    return 2 * math.prod(places) * math.prod(weight[1:]) * sum(output_mask[:2])


def _gmacs_by_module(network: nn.Module, flops: dict[str, int]) -> dict[str, float]:
    root = type(network).__name__
    children = {name: _flops_within(f"{root}.{name}", child, flops) for name, child in network.named_children()}
    own = flops.get("Global", 0) - sum(children.values())
    return {name: count / 2e9 for name, count in {**children, "": own}.items() if count}


def _gmacs_by_part(network: nn.Module, flops: dict[str, int]) -> dict[str, float]:
    root, parts = type(network).__name__, {"": flops.get("Global", 0)}
    for name, part in part_names(network).items():
        count = _flops_within(f"{root}.{name}", network.get_submodule(name), flops)
        parts[part] = parts.get(part, 0) + count
        parts[""] -= count
    return {name: count / 2e9 for name, count in parts.items() if count}


def _flops_within(name: str, module: nn.Module, flops: dict[str, int]) -> int:
    """A called module's count; for a container, which is never called, the sum of what it contains."""
    if name in flops:
        return flops[name]
    return sum(_flops_within(f"{name}.{child_name}", child, flops) for child_name, child in module.named_children())


def part_names(network: nn.Module) -> dict[str, str]:
    """Name the parts that a network's costs are broken down to.

    Returns:
        Path of a module -> name of the part it belongs to: a child without children of its own, or a grandchild; items
        of a list count as "*", and are looked into.
    """
    parts: dict[str, str] = {}
    for name, child in network.named_children():
        inner = [(f"{name}.{below}", each) for below, each in child.named_children()]
        if isinstance(child, nn.ModuleList):
            inner = [(f"{path}.{below}", each) for path, item in inner for below, each in item.named_children()]
        for path, _ in inner or [(name, child)]:
            parts[path] = re.sub(r"\.\d+(?=\.|$)", ".*", path)
    return parts


def _what_is_missing(operators: OperatorWatch, counted: int, layers: LayerMacs) -> list[str]:
    missing = []
    unknown = sorted(name for name, elements in operators.unknown.items() if elements > NEGLIGIBLE * counted)
    if unknown:
        missing.append(
            f"no formula counts {', '.join(unknown)}: register one in the backbone's file by "
            "torch.utils.flop_counter.register_flop_formula"
        )
    if operators.broadcast_products > AGREEMENT * counted:
        missing.append(
            f"{operators.broadcast_products} multiplications of two broadcast factors count as elementwise: where they "
            "are summed up, write torch.matmul or torch.einsum, which are counted"
        )
    known = layers.forward + layers.backward + operators.outside_flops // 2
    is_lower_bound = layers.backward and operators.outside_flops  # the gradients of those have no closed form
    if not agree(counted, known) and not (is_lower_bound and counted > known):
        missing.append(f"counted {counted} MACs, but the layers and products that were called take {known}")
    return missing

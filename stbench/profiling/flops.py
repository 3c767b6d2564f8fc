"""Operations and parameters of a network, counted without running a kernel.

One multiply-accumulate (MAC) is two FLOPs; both are given, by name. torch's `FlopCounterMode` counts matrix products,
convolutions and attention; elementwise work, normalisation and softmax count as nothing, as in the literature. It runs
on the meta device with attention as two plain matrix products: on a real device it loses fused attention kernels.

What a counter may lose is looked for in two ways: operators that look like products but are unknown to it, and a lower
bound from the shapes that went through every linear layer, convolution and attention (`closed_form`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from stbench.backbones.attention import Attend, set_attention_backend
from stbench.errors import StbenchError

Build = Callable[[], nn.Module]
MakeInputs = Callable[[], tuple[Any, ...]]

# Products, convolutions and attention among the names of operators, but not `flatten` or `convert_element_type`.
PRODUCT_LIKE = re.compile(
    r"(^|_)(mm|bmm|mv|dot|vdot|addmm|addmv|baddbmm|addbmm|addr|matmul|linear|trilinear|conv\d?d?)(_|$)"
    r"|convolution|attention|attn|flash"
)
FVCORE_PRODUCTS = ("addmm", "baddbmm", "bmm", "conv", "einsum", "linear", "matmul")
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED_CONVOLUTIONS = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


@dataclass(frozen=True)
class OperationCounts:
    """Operations of one forward pass in evaluation mode.

    Attributes:
        macs: multiply-accumulates.
        gmacs_by_counter: 10^9 MACs by "torch" (this count) and "closed_form" (layers' shapes alone, a lower bound).
        gmacs_by_operator: 10^9 MACs by torch's operator.
        gmacs_by_module: 10^9 MACs by the network's direct child; "" is what the network does outside of any child.
        incomplete: one line for each thing that the count misses; empty when nothing is known to be missing.
    """

    macs: int
    gmacs_by_counter: dict[str, float]
    gmacs_by_operator: dict[str, float]
    gmacs_by_module: dict[str, float]
    incomplete: list[str]

    @property
    def gmacs(self) -> float:
        """10^9 multiply-accumulates."""
        return self.macs / 1e9

    @property
    def gflops(self) -> float:
        """10^9 floating point operations: two for each multiply-accumulate."""
        return 2 * self.gmacs


def count_operations(build: Build, make_inputs: MakeInputs) -> OperationCounts:
    """Count one forward pass on the meta device, whatever the size of the network.

    Args:
        build: makes the network; called under `torch.device("meta")`, so that no memory is used.
        make_inputs: makes the positional arguments of its `forward`, under `torch.device("meta")` as well.

    Returns:
        The counts, for the batch size of the inputs.

    Raises:
        StbenchError: when the network cannot run on the meta device, with the reason.
    """
    counter, unknown, layers = FlopCounterMode(display=False), _UnknownProducts(), _LayerMacs()
    try:
        with torch.device("meta"), torch.no_grad():
            network, inputs = build().eval(), make_inputs()
            set_attention_backend(network, "math")
            # The counter takes operators apart before it hands them on, so the mode outside of it sees what it counts.
            with layers.watching(network), unknown, counter:
                network(*inputs)
    except (RuntimeError, NotImplementedError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise StbenchError(
            f"operations cannot be counted: the network does not run on the meta device: {reason}"
        ) from error
    flops = {name: sum(by_operator.values()) for name, by_operator in counter.get_flop_counts().items()}
    macs = counter.get_total_flops() // 2
    return OperationCounts(
        macs=macs,
        gmacs_by_counter={"torch": macs / 1e9, "closed_form": layers.macs / 1e9},
        gmacs_by_operator={str(op): n / 2e9 for op, n in counter.get_flop_counts().get("Global", {}).items()},
        gmacs_by_module=_gmacs_by_module(network, flops),
        incomplete=_what_is_missing(unknown.names, macs, layers.macs),
    )


def count_with_fvcore(build: Build, make_inputs: MakeInputs) -> float:
    """Count the same products with fvcore, an independent counter, in 10^9 MACs.

    fvcore traces a real forward pass on the CPU, so this takes as long as one and needs the network's memory.

    Args:
        build: makes the network on the CPU.
        make_inputs: makes the positional arguments of its `forward`; those that are not tensors are held fixed.
    """
    from fvcore.nn import FlopCountAnalysis

    network, inputs = build().eval(), make_inputs()
    set_attention_backend(network, "math")
    tensors = tuple(value for value in inputs if isinstance(value, Tensor))
    with torch.no_grad():
        analysis = FlopCountAnalysis(_TensorsOnly(network, inputs), tensors)
        analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
        counts: Mapping[str, float] = analysis.by_operator()
    return sum(counts.get(name, 0) for name in FVCORE_PRODUCTS) / 1e9


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


class _UnknownProducts(TorchDispatchMode):
    """Collects the operators that are executed, look like products, and are not counted."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        packet = getattr(func, "overloadpacket", func)
        name = str(packet)
        if packet not in flop_registry and PRODUCT_LIKE.search(name.rpartition(".")[2].lower()):
            self.names.add(name)
        return func(*args, **(kwargs or {}))


class _LayerMacs:
    """MACs of every linear layer, convolution and `Attend` that is called, from the shapes of what goes through."""

    def __init__(self) -> None:
        self.macs = 0

    @contextmanager
    def watching(self, network: nn.Module) -> Iterator[None]:
        """Add up the layers inside `network` that are called meanwhile."""
        handles = [module.register_forward_hook(self._add) for module in network.modules()]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _add(self, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if isinstance(module, nn.Linear):
            self.macs += output.numel() * module.in_features
        elif isinstance(module, _CONVOLUTIONS):
            self.macs += output.numel() * module.weight[0].numel()  # weight (out, in / groups, *kernel)
        elif isinstance(module, _TRANSPOSED_CONVOLUTIONS):
            self.macs += inputs[0].numel() * module.weight[0].numel()  # weight (in, out / groups, *kernel)
        elif isinstance(module, Attend):
            q, k, v = inputs
            self.macs += math.prod(q.shape[:-1]) * k.shape[-2] * (q.shape[-1] + v.shape[-1])


class _TensorsOnly(nn.Module):
    """A network whose non-tensor arguments are fixed, since a trace takes tensors only."""

    def __init__(self, network: nn.Module, inputs: tuple[Any, ...]) -> None:
        super().__init__()
        self.network = network
        self.inputs = inputs

    def forward(self, *tensors: Tensor) -> Any:
        """Call the network with `tensors` in the places of the tensors."""
        remaining = iter(tensors)
        return self.network(*(next(remaining) if isinstance(value, Tensor) else value for value in self.inputs))


def _gmacs_by_module(network: nn.Module, flops: dict[str, int]) -> dict[str, float]:
    root = type(network).__name__
    children = {name: _flops_within(f"{root}.{name}", child, flops) for name, child in network.named_children()}
    own = flops.get("Global", 0) - sum(children.values())
    return {name: count / 2e9 for name, count in {**children, "": own}.items() if count}


def _flops_within(name: str, module: nn.Module, flops: dict[str, int]) -> int:
    """A called module's count; for a container, which is never called, the sum of what it contains."""
    if name in flops:
        return flops[name]
    return sum(_flops_within(f"{name}.{child_name}", child, flops) for child_name, child in module.named_children())


def _what_is_missing(unknown: set[str], counted: int, lower_bound: int) -> list[str]:
    missing = [f"the counter does not know {name}" for name in sorted(unknown)]
    if counted < lower_bound:
        missing.append(f"counted {counted} MACs, fewer than the {lower_bound} of the layers that were called")
    return missing

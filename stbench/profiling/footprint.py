"""Memory that a training step needs, worked out on the meta device before anything is run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from stbench.profiling.memory import MIB
from stbench.profiling.workload import Workload
from stbench.runtime.attention.attend import set_attention_backend


@dataclass(frozen=True)
class Footprint:
    """Memory of a training step.

    Attributes:
        state_mib: weights, and of those that are trained their average, gradients and the two moments of AdamW: exact.
        activations_mib: what the forward pass of the batch keeps for the backward pass, in float32 and with attention
            as plain matrix products. Half precision and fused attention keep less; temporaries come on top.
    """

    state_mib: float
    activations_mib: float


def footprint(construct: Callable[[], nn.Module], workload: Workload, batch_size: int) -> Footprint:
    """Work out the memory of a training step.

    Args:
        construct: builds the backbone on torch's current default device.
        workload: its input.
        batch_size: clips of the step.
    """
    kept: dict[int, Tensor] = {}  # by storage, as several views of one are kept once

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage()._cdata] = tensor
        return tensor

    with torch.device("meta"):
        network, inputs = construct().train(), workload.inputs(batch_size, training=True)
        set_attention_backend(network, "math")
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            network(*inputs)
    state = [*network.parameters(), *network.buffers()]
    for tensor in state:
        kept.pop(tensor.untyped_storage()._cdata, None)
    averaged_buffers = sum(each.nbytes for each in network.buffers())
    trained = sum(each.nbytes for each in network.parameters() if each.requires_grad)
    return Footprint(
        state_mib=(sum(each.nbytes for each in state) + averaged_buffers + 4 * trained) / MIB,
        activations_mib=sum(each.untyped_storage().nbytes() for each in kept.values()) / MIB,
    )

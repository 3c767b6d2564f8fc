"""What goes through the blocks of a network, in the words of papers' tables."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from stbench.errors import StbenchError
from stbench.profiling.workload import Workload


def block_shapes(construct: Callable[[], nn.Module], workload: Workload) -> dict[str, str]:
    """The shapes of a network's `named_blocks`, of one clip on the meta device.

    Returns:
        Name of a block -> "C->C' HxW": channels that enter and leave, and height and width of what leaves.

    Raises:
        StbenchError: the network names no blocks.
    """
    with torch.device("meta"), torch.no_grad():
        network = construct().eval()
        blocks: dict[str, nn.Module] = getattr(network, "named_blocks", {})
        if not blocks:
            raise StbenchError(f"--shapes: {type(network).__name__} names no blocks (`named_blocks`)")
        shapes: dict[str, str] = {}
        for name, block in blocks.items():
            block.register_forward_hook(_noting(name, shapes))
        network(*workload.inputs(1))
    return shapes


def _noting(name: str, shapes: dict[str, str]) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
    """A hook that notes the shapes of a block from (..., C, H, W) to (..., C', H', W')."""

    def note(block: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        C, H, W = output.shape[-3:]
        shapes[name] = f"{inputs[0].shape[-3]}->{C} {H}x{W}"

    return note

"""A training whose loss or gradient is not finite, and where in the network the first bad value appears."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from stbench.errors import FinishedInPart


class TrainingDiverged(FinishedInPart):
    """The loss or a gradient is not finite. The weights are those before the step that failed."""


@torch.no_grad()
def first_non_finite_module(backbone: nn.Module, forward: Callable[[], object]) -> str:
    """Name the first module of a backbone whose weights or output are not finite, in a few words.

    Args:
        backbone: the network.
        forward: runs it on the batch that went wrong; not called when a weight is bad already.
    """
    for name, parameter in backbone.named_parameters():
        if not parameter.isfinite().all():
            return f"the weights {name} are not finite"
    bad: list[str] = []
    hooks = []
    for name, module in backbone.named_modules():
        if not any(module.children()):  # outer modules only pass on what an inner one made

            def check(_module: nn.Module, _inputs: object, output: object, name: str = name) -> None:
                if isinstance(output, Tensor) and not output.isfinite().all():
                    bad.append(name)

            hooks.append(module.register_forward_hook(check))
    try:
        forward()
    finally:
        for hook in hooks:
            hook.remove()
    return f"the output of {bad[0]} is not finite" if bad else "every module's output is finite, so it is the gradient"

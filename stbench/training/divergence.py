"""A training whose loss or gradient is not finite, and where in the network the first bad value appears."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from stbench.errors import FinishedInPart


class TrainingDiverged(FinishedInPart):
    """The loss or a gradient is not finite. The weights are those before the step that failed."""


@torch.no_grad()
def first_non_finite(backbone: nn.Module, loss: Callable[[], Tensor]) -> str:
    """Say in a few words where the first value of a training step that is not finite comes from.

    Args:
        backbone: the network.
        loss: computes the loss of the batch that went wrong; not called when a weight is bad already.
    """
    for name, parameter in backbone.named_parameters():
        if not parameter.isfinite().all():
            return f"the weights {name} are not finite"
    watch = _Watch()
    with ExitStack() as hooks, torch.compiler.set_stance("force_eager"):  # compiled code calls no hooks
        for name, module in backbone.named_modules():
            enter, leave = partial(watch.enter, name), partial(watch.leave, name)
            hooks.callback(module.register_forward_pre_hook(enter, with_kwargs=True).remove)
            hooks.callback(module.register_forward_hook(leave).remove)
        value = loss()
    if watch.culprit:
        return watch.culprit
    if _is_bad(value):
        return "the network's output is finite, the loss is not"
    compiled = " or the compiled code" if backbone._compiled_call_impl else ""
    return f"the network's output and the loss are finite, so it is the gradient{compiled}"


class _Watch:
    """Follows a forward pass to the first output that is not finite.

    Attributes:
        running: the modules that are running, the innermost last: name, and whether the input was bad already.
        culprit: where the first bad value comes from; empty while all are finite.
    """

    def __init__(self) -> None:
        self.running: list[tuple[str, bool]] = []
        self.culprit = ""

    def enter(self, name: str, _module: nn.Module, *inputs: Any) -> None:
        """Before a module: a hook. A mask of attention may hold -inf."""
        self.running.append((name, any(_is_bad(value.clamp(min=0)) for value in _tensors(inputs))))

    def leave(self, name: str, module: nn.Module, _inputs: object, output: object) -> None:
        """After a module: a hook."""
        if not self.culprit and any(map(_is_bad, _tensors(output))):
            self.culprit = self._blame(name, any(True for _ in module.children()))
        self.running.pop()

    def _blame(self, name: str, is_container: bool) -> str:
        """The module whose output is bad, or the one outside of it which handed on what was bad already."""
        origin = next((outer for outer, bad_input in reversed(self.running) if not bad_input), None)
        if origin is None:
            return "the network's input is not finite"
        if origin == name and not is_container:
            return f"the output of {name or 'the network'} is not finite"
        return f"what the forward of {origin or 'the network'} computes outside of its modules is not finite"


def _tensors(values: object) -> list[Tensor]:
    """The tensors among `values` that can hold a bad value, complex ones as real."""
    tensors = [leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor)]
    real = [torch.view_as_real(each) if each.is_complex() else each for each in tensors]
    return [each for each in real if each.is_floating_point()]


def _is_bad(tensor: Tensor) -> bool:
    return not tensor.isfinite().all()

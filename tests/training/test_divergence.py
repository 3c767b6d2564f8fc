"""Where a training went wrong: the first values that are not finite, wherever they are computed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from stbench.errors import FinishedInPart
from stbench.training.divergence import TrainingDiverged, first_non_finite

ALL_FINITE = "the network's output and the loss are finite, so it is the gradient"


class Computing(nn.Module):
    """Does what it is told to an input, and hands it to the modules inside it."""

    def __init__(
        self, before: Callable[[Any], Any], *inside: nn.Module, after: Callable[[Any], Any] | None = None
    ) -> None:
        super().__init__()
        self.before, self.after = before, after or keep
        for index, module in enumerate(inside):
            self.add_module(f"inside{index}", module)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Any:
        x = self.before(x)
        for module in self.children():
            x = module(x) if mask is None else module(x, mask=mask)
        return self.after(x)


def keep(x: Any) -> Any:
    return x


def spoil(x: Tensor) -> Tensor:
    return x / 0


def in_a_tuple(x: Tensor) -> tuple[Tensor, str]:
    return spoil(x), "extra"


def into_complex(x: Tensor) -> Tensor:
    return torch.complex(x, x / 0)


def found(backbone: nn.Module, x: Tensor | None = None, **named: Tensor) -> str:
    return first_non_finite(backbone, lambda: backbone(torch.ones(1, 2) if x is None else x, **named))


@pytest.mark.parametrize(
    ("backbone", "culprit"),
    [
        (Computing(keep, Computing(spoil), Computing(keep)), "the output of inside0 is not finite"),
        (Computing(keep, Computing(keep), Computing(spoil)), "the output of inside1 is not finite"),
        (Computing(keep, Computing(keep, Computing(spoil))), "the output of inside0.inside0 is not finite"),
        (Computing(keep, Computing(in_a_tuple), after=lambda x: x[0]), "the output of inside0 is not finite"),
        (Computing(keep, Computing(into_complex), after=torch.abs), "the output of inside0 is not finite"),
        (Computing(spoil), "the output of the network is not finite"),
        (
            Computing(keep, Computing(keep), after=spoil),
            "what the forward of the network computes outside of its modules is not finite",
        ),
        (
            Computing(spoil, Computing(keep, Computing(keep))),
            "what the forward of the network computes outside of its modules is not finite",
        ),
        (
            Computing(keep, Computing(keep), Computing(spoil, Computing(keep))),
            "what the forward of inside1 computes outside of its modules is not finite",
        ),
    ],
)
def test_the_place_that_computes_the_first_bad_value_is_named(backbone: nn.Module, culprit: str) -> None:
    """The modules that it is handed on to, and those around it, are not the culprits."""
    assert found(backbone) == culprit


def test_a_network_without_fault_has_a_loss_or_a_gradient_that_is_at_fault() -> None:
    network = Computing(keep, Computing(keep))
    assert found(network) == ALL_FINITE
    loss = lambda: network(torch.ones(1, 2)).sum() / 0  # noqa: E731
    assert first_non_finite(network, loss) == "the network's output is finite, the loss is not"


def test_bad_input_is_not_blamed_on_the_network() -> None:
    bad = torch.full((1, 2), torch.nan)
    assert found(Computing(keep, Computing(keep)), bad) == "the network's input is not finite"


def test_a_mask_may_hold_minus_infinity() -> None:
    """That is what masks of attention are made of."""
    mask = torch.tensor([0.0, -torch.inf])
    inner = Computing(spoil, Computing(keep))
    assert found(Computing(keep, Computing(keep, inner)), mask=mask).startswith("what the forward of inside0.inside0")


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_bad_weights_are_named_first(bad: float) -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    network[1].weight.data[0, 0] = bad
    message = first_non_finite(network, lambda: pytest.fail("nothing is gained by another forward pass"))
    assert message == "the weights 1.weight are not finite"


def test_a_compiled_network_is_looked_into() -> None:
    network = Computing(keep, Computing(spoil))
    network.compile(backend="eager")
    assert found(network) == "the output of inside0 is not finite"
    sound = Computing(keep, Computing(keep))
    sound.compile(backend="eager")
    assert found(sound) == f"{ALL_FINITE} or the compiled code"


def test_hooks_are_gone_afterwards_even_when_the_network_fails() -> None:
    backbone = Computing(keep, Computing(spoil))

    def fails() -> Tensor:
        backbone(torch.ones(1, 2))
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        first_non_finite(backbone, fails)
    found(backbone)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in backbone.modules())


def test_no_graph_is_kept_for_the_second_look() -> None:
    network = nn.Linear(2, 1)
    graphs: list[object] = []

    def loss() -> Tensor:
        graphs.append(network(torch.ones(1, 2)).grad_fn)
        return torch.zeros(())

    first_non_finite(network, loss)
    assert graphs == [None]


def test_a_run_that_diverged_is_finished_in_part() -> None:
    error = TrainingDiverged("training diverged at step 3")
    assert isinstance(error, FinishedInPart)
    assert (error.exit_status, str(error)) == (3, "training diverged at step 3")

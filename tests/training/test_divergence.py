"""Where a training went wrong: the first module whose weights or output are not finite."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from stbench.errors import FinishedInPart
from stbench.training.divergence import TrainingDiverged, first_non_finite_module

ALL_FINITE = "every module's output is finite, so it is the gradient"


class Dividing(nn.Module):
    """Divides by a number, and returns more than a tensor where asked."""

    def __init__(self, divisor: float, in_a_tuple: bool = False) -> None:
        super().__init__()
        self.divisor, self.in_a_tuple = divisor, in_a_tuple

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor]:
        out = x / self.divisor
        return (out,) if self.in_a_tuple else out


def network(*divisors: float) -> nn.Sequential:
    return nn.Sequential(nn.Linear(2, 2), nn.Sequential(*(Dividing(divisor) for divisor in divisors)), nn.Identity())


def found(backbone: nn.Module) -> str:
    return first_non_finite_module(backbone, lambda: backbone(torch.ones(1, 2)))


def test_the_first_module_in_the_order_of_the_computation_is_named() -> None:
    """The modules after it pass the bad value on; the one around it is not the culprit."""
    assert found(network(1, 0, 1)) == "the output of 1.1 is not finite"
    assert found(network(0, 0)) == "the output of 1.0 is not finite"
    assert found(network(1, 2)) == ALL_FINITE


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_bad_weights_are_named_first(bad: float) -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    network[1].weight.data[0, 0] = bad
    message = first_non_finite_module(network, lambda: pytest.fail("nothing is gained by another forward pass"))
    assert message == "the weights 1.weight are not finite"


def test_outputs_that_are_not_tensors_are_passed_over() -> None:
    backbone = nn.Sequential(Dividing(0, in_a_tuple=True))
    assert found(backbone) == ALL_FINITE


def test_hooks_are_gone_afterwards_even_when_the_network_fails() -> None:
    backbone = network(1, 0)

    def fails() -> None:
        backbone(torch.ones(1, 2))
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        first_non_finite_module(backbone, fails)
    found(backbone)
    assert not any(module._forward_hooks for module in backbone.modules())


def test_no_graph_is_kept_for_the_second_look() -> None:
    backbone, graphs = network(1), []
    first_non_finite_module(backbone, lambda: graphs.append(backbone(torch.ones(1, 2)).grad_fn))
    assert graphs == [None]


def test_a_run_that_diverged_is_finished_in_part() -> None:
    error = TrainingDiverged("training diverged at step 3")
    assert isinstance(error, FinishedInPart)
    assert (error.exit_status, str(error)) == (3, "training diverged at step 3")

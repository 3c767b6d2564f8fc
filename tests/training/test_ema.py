"""The averaged weights: the recurrence to the last bit, buffers that follow, and a copy ready to be evaluated."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from stbench.training.ema import Ema


def small_network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.GELU(), nn.Linear(4, 2))


def moved(network: nn.Module, seed: int) -> None:
    """Stand in for a step of training."""
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=random))


def test_ema_is_the_recurrence() -> None:
    torch.manual_seed(0)
    network = nn.Linear(2, 2)
    ema, expected = Ema(network, decay=0.9), network.weight.detach().clone()
    for _ in range(3):
        network.weight.data += torch.randn(2, 2)
        ema.update(network)
        expected = 0.9 * expected + 0.1 * network.weight.detach()
    torch.testing.assert_close(ema.module.weight, expected)
    assert not ema.module.training
    assert not any(p.requires_grad for p in ema.module.parameters())


@pytest.mark.parametrize("decay", [0.9, 0.999, 0.9999, 0.1])
def test_every_bit_is_that_of_an_interpolation(decay: float) -> None:
    """Published figures depend on how it rounds: average + (1 - decay) * (weights - average), as torch.lerp has it."""
    network = small_network()
    ema, averages = Ema(network, decay), [parameter.detach().clone() for parameter in network.parameters()]
    for seed in range(5):
        moved(network, seed)
        ema.update(network)
        averages = [
            torch.lerp(average, p.detach(), 1 - decay)
            for average, p in zip(averages, network.parameters(), strict=True)
        ]
        assert all(map(torch.equal, ema.module.parameters(), averages))


def test_the_limits_of_the_decay() -> None:
    network = small_network()
    start = copy.deepcopy(network.state_dict())
    newest, first = Ema(network, decay=0.0), Ema(network, decay=1.0)
    moved(network, 1)
    for ema in (newest, first):
        ema.update(network)
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(newest.module.state_dict()[name], tensor)
        assert torch.equal(first.module.state_dict()[name], start[name])


def test_constant_weights_stay_to_the_last_bit() -> None:
    """The average begins at the weights, not at zero: nothing has to be corrected in the first steps."""
    network = small_network()
    ema = Ema(network, decay=0.9999)
    for _ in range(3):
        ema.update(network)
    assert all(map(torch.equal, ema.module.parameters(), network.parameters()))


def test_running_statistics_are_those_of_the_trained_network() -> None:
    """Averaged from zero, or left behind, they would belong to other weights; the count is an integer."""
    network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    ema = Ema(network, decay=0.9)
    for seed in range(3):
        network(torch.randn(8, 3, generator=torch.Generator().manual_seed(seed)) + 5)
        ema.update(network)
    (mean, variance, count), followed = network[1].buffers(), dict(ema.module[1].named_buffers())
    assert torch.equal(followed["running_mean"], mean)
    assert torch.equal(followed["running_var"], variance)
    assert followed["num_batches_tracked"] == count == 3
    assert followed["running_mean"] is not mean
    assert mean.abs().min() > 0  # they have moved


class WithBuffers(nn.Module):
    steps: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(2))
        self.register_buffer("table", torch.arange(3.0))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self.register_buffer("scratch", torch.zeros(2), persistent=False)


def test_buffers_of_every_kind_follow_and_stay_apart() -> None:
    network = WithBuffers()
    ema = Ema(network, decay=0.5)
    network.steps += 7
    network.scratch = torch.ones(2)  # put in the other's place
    ema.update(network)
    followed: dict[str, Tensor] = dict(ema.module.named_buffers())
    assert followed["steps"] == 7
    assert followed["scratch"].tolist() == [1, 1]
    assert followed["table"].tolist() == [0, 1, 2]
    network.steps += 1
    assert followed["steps"] == 7  # until the next update
    assert list(ema.module.state_dict()) == ["weight", "table", "steps"]  # a checkpoint's names


def test_the_average_does_not_train() -> None:
    network = small_network().train()
    network[0].weight.requires_grad_(False)
    ema = Ema(network, decay=0.9)
    assert network.training
    assert network[2].weight.requires_grad
    assert not ema.module.training
    assert not any(parameter.requires_grad for parameter in ema.module.parameters())
    moved(network, 0)
    ema.update(network)
    assert torch.equal(ema.module[0].weight, network[0].weight)  # where somebody else moves frozen weights


def test_the_update_leaves_no_graph() -> None:
    network = small_network()
    ema = Ema(network, decay=0.9)
    network(torch.ones(1, 3)).sum().backward()
    ema.update(network)
    assert all(parameter.grad_fn is None and parameter.grad is None for parameter in ema.module.parameters())


def test_frozen_weights_are_shared_and_never_move() -> None:
    network = small_network()
    network[0].requires_grad_(False)
    network[2].bias.requires_grad_(False)
    ema = Ema(network, decay=0.3)
    shared = [one is other for one, other in zip(ema.module.parameters(), network.parameters(), strict=True)]
    assert shared == [True, True, False, True]
    start = copy.deepcopy(network.state_dict())
    network[2].weight.data += 1
    ema.update(network)
    averaged = ema.module.state_dict()
    assert all(torch.equal(averaged[name], start[name]) for name in start if name != "2.weight")
    torch.testing.assert_close(averaged["2.weight"], start["2.weight"] + 0.7)

"""`train.freeze`: which parameters, what is refused, and what a training step then costs."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from stbench.backbones.freezing import freeze
from stbench.backbones.latte import Latte
from stbench.errors import StbenchError
from stbench.profiling.flops import count_operations
from stbench.profiling.workload import Workload


def small_network() -> nn.ModuleDict:
    return nn.ModuleDict({"first": nn.Linear(3, 3), "last": nn.Sequential(nn.Linear(3, 3), nn.LayerNorm(3))})


@pytest.mark.parametrize(
    ("pattern", "trained"),
    [
        (None, ["first.weight", "first.bias", "last.0.weight", "last.0.bias", "last.1.weight", "last.1.bias"]),
        ("first", ["last.0.weight", "last.0.bias", "last.1.weight", "last.1.bias"]),
        (r"0\.weight$|bias", ["first.weight", "last.1.weight"]),
        ("^(?!.*first)", ["first.weight", "first.bias"]),
    ],
)
def test_what_a_pattern_matches_is_not_trained(pattern: str | None, trained: list[str]) -> None:
    network = freeze(small_network(), pattern)
    assert [name for name, parameter in network.named_parameters() if parameter.requires_grad] == trained


def test_what_a_network_freezes_itself_stays_so() -> None:
    network = small_network()
    network["last"].requires_grad_(False)
    freeze(network, "bias")
    assert [name for name, parameter in network.named_parameters() if parameter.requires_grad] == ["first.weight"]


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("spatial", "train.freeze=spatial matches no parameter: their names begin with first, last"),
        ("s", "train.freeze=s freezes every parameter, so that nothing can be trained"),
        ("(", "train.freeze=(: no regular expression: missing ), unterminated subpattern at position 0"),
    ],
)
def test_patterns_that_cannot_be_meant(pattern: str, message: str) -> None:
    with pytest.raises(StbenchError) as caught:
        freeze(small_network(), pattern)
    assert str(caught.value) == message


def test_frozen_weights_cost_no_gradient_of_theirs() -> None:
    """Of a linear layer's three products in a training step, one is its weight's gradient; counters agree."""
    workload = Workload((4, 4, 8, 8))

    def macs(pattern: str | None) -> int:
        counts = count_operations(
            lambda: freeze(Latte(size="tiny", sample_size=8, num_frames=4), pattern),
            lambda: workload.inputs(1, training=True),
            training=True,
        )
        assert counts.gmacs_by_counter["closed_form"] == counts.gmacs
        assert counts.incomplete == []
        return counts.macs

    tokens, width = 4 * 4 * 4, 192
    mlps = 4 * tokens * 2 * 4 * width**2
    assert macs(None) - macs(r"\.mlp\.\d+\.weight") == mlps + 256 * width + width**2  # the timestep's is an mlp as well


def test_before_the_first_trained_layer_nothing_goes_back() -> None:
    linear = 5 * 3 * 3

    def build() -> nn.Module:
        return freeze(nn.Sequential(*(nn.Linear(3, 3) for _ in range(4))), r"[013]\.")

    counts = count_operations(build, lambda: (torch.empty(5, 3),), training=True)
    assert counts.macs == 4 * linear + linear + linear  # the weight of the third, the input of the fourth
    assert counts.gmacs_by_counter["closed_form"] == counts.gmacs

"""The released pattern against Latte: one function, another way to it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from stbench.backbones.latte import Latte
from stbench.bench.released_pattern import ReleasedPattern


@pytest.fixture
def latte() -> Latte:
    """A small Latte without zeros in it, so that every branch shows in the output."""
    torch.manual_seed(0)
    latte = Latte(size="tiny", num_heads=3, sample_size=8, num_frames=6)
    for parameter in latte.parameters():
        nn.init.normal_(parameter, std=0.05)
    return latte


def test_computes_what_latte_computes(latte: Latte) -> None:
    """The two must differ in speed only: same output, same gradients."""
    noisy_latents, timesteps = torch.randn(2, 4, 6, 8, 8), torch.tensor([3, 977])
    gradients = []
    outputs = []
    for backbone in (latte, ReleasedPattern(latte)):
        latte.zero_grad()
        outputs.append(backbone(noisy_latents, timesteps))
        outputs[-1].square().sum().backward()
        gradients.append({name: parameter.grad.clone() for name, parameter in latte.named_parameters()})
    assert outputs[0].std() > 0.01
    torch.testing.assert_close(outputs[1], outputs[0], rtol=1e-5, atol=1e-5)
    for name, gradient in gradients[0].items():
        assert gradient.norm() > 0
        assert (gradients[1][name] - gradient).norm() < 1e-5 * gradient.norm(), name


def test_copies_the_condition_for_every_token_position(latte: Latte) -> None:
    """What makes it the released pattern: as many rows through a modulation as there are frames, or positions."""
    rows = []
    for block in latte.blocks[:2]:
        block.modulation.register_forward_hook(lambda module, inputs, output: rows.append(len(output)))
    ReleasedPattern(latte)(torch.randn(2, 4, 6, 8, 8), torch.tensor([3, 977]))
    assert rows == [2 * 6, 2 * 16]

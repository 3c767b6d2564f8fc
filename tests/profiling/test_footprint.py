"""Memory of a training step, against what a network of known tensors needs."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from stbench.backbones.base import Conditioning
from stbench.profiling.footprint import footprint
from stbench.profiling.memory import MIB
from stbench.profiling.workload import Workload


class Squares(nn.Module):
    """Keeps its input once (`x * x`), and the square for the next product, which a view of it shares."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.frozen = nn.Parameter(torch.ones(256), requires_grad=False)
        self.register_buffer("table", torch.ones(1024))

    def forward(self, noisy_latents: Tensor, timesteps: Tensor, conditioning: Conditioning) -> Tensor:
        squared = (noisy_latents * self.scale) ** 2
        return squared * squared.flatten(1).unflatten(1, noisy_latents.shape[1:])


@pytest.mark.parametrize("batch_size", [1, 3])
def test_state_is_exact_and_activations_grow_with_the_batch(batch_size: int) -> None:
    found = footprint(Squares, Workload((2, 2, 8, 8)), batch_size)
    assert found.state_mib * MIB == 4 * (5 * 1 + 256 + 2 * 1024)  # what is frozen has no average of its own
    latents = 4 * batch_size * 2 * 2 * 8 * 8
    # The latents for the gradient of the scale, the scaled ones, and their square.
    assert found.activations_mib * MIB == 3 * latents

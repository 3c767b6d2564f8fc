"""Asking a backbone the rules of the contract: the order, what ends it, and what a run refuses and tells."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from stbench.backbones.base import Conditioning
from stbench.backbones.contract import RULES, examine, refuse_broken
from stbench.backbones.trial import Task
from stbench.errors import StbenchError
from stbench.runtime.device import Runtime

TASK = Task(
    latent_shape=(2, 3, 4, 4),
    num_classes=2,
    learned_variance=False,
    whole_timesteps=False,
    batch_size=2,
    joint_images=0,
    runtime=Runtime(torch.device("cpu"), "float32", "math"),
)


class Pointwise(nn.Module):
    """A scale for each channel and nothing else: it knows neither timestep nor class."""

    def __init__(self, num_classes: int = 2) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.zeros(2))

    def forward(self, noisy_latents: Tensor, timesteps: Tensor, conditioning: Conditioning) -> Tensor:
        return noisy_latents * self.scale[:, None, None, None]


class OneFrame(Pointwise):
    def forward(self, noisy_latents: Tensor, timesteps: Tensor, conditioning: Conditioning) -> Tensor:
        return super().forward(noisy_latents, timesteps, conditioning)[:, :, :1]


class Squeezed(Pointwise):
    def forward(self, x: Tensor, t: Tensor, c: Conditioning) -> Tensor:
        return super().forward(x, t, c).squeeze(0)


class OutOfMemory(Pointwise):
    def forward(self, noisy_latents: Tensor, timesteps: Tensor, conditioning: Conditioning) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")


def test_every_rule_is_asked_in_order() -> None:
    assert [verdict.name for verdict in examine(Pointwise, TASK)] == [rule.name for rule in RULES]
    assert [rule.name for rule in RULES][:3] == ["builds", "answers", "shape"]


def test_nothing_is_asked_after_a_broken_basic_rule() -> None:
    assert [(verdict.name, verdict.status) for verdict in examine(OneFrame, TASK)] == [
        ("builds", "passed"),
        ("answers", "passed"),
        ("shape", "failed"),
    ]


def test_a_run_refuses_what_makes_wrong_figures_and_tells_the_rest() -> None:
    with pytest.raises(
        StbenchError,
        match=r"^variant 'mine' breaks the contract of a backbone: shape: returned \(2, 2, 1, 4, 4\), expected ",
    ):
        refuse_broken(OneFrame, TASK, "variant 'mine'")
    with pytest.raises(StbenchError, match="batch sizes: at a batch of 1 returned"):  # met after the training otherwise
        refuse_broken(Squeezed, TASK, "mine")
    told = {verdict.name: verdict.reason for verdict in refuse_broken(Pointwise, TASK, "mine")}
    assert told == {
        "timestep": "the prediction does not depend on the timestep",
        "class": "the prediction does not depend on the class",
    }


def test_memory_that_runs_out_says_nothing_of_the_network() -> None:
    with pytest.raises(torch.OutOfMemoryError):
        examine(OutOfMemory, TASK)


def test_the_global_random_state_is_left_as_it_was() -> None:
    before = torch.get_rng_state()
    examine(Pointwise, TASK)
    assert torch.equal(torch.get_rng_state(), before)

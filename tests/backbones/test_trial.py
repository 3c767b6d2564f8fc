"""The input of a trial, zeros that are filled, and a train mode that leaves nothing behind."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from stbench.backbones.base import Conditioning
from stbench.backbones.trial import Task, Trial, fill_zeros
from stbench.runtime.attention.attend import Attend
from stbench.runtime.device import Runtime

TASK = Task(
    latent_shape=(2, 3, 4, 4),
    num_classes=3,
    learned_variance=True,
    whole_timesteps=True,
    batch_size=2,
    joint_images=0,
    runtime=Runtime(torch.device("cpu"), "float32", "sdpa"),
)


class Normed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.attend = nn.BatchNorm3d(2), Attend()

    def forward(self, noisy_latents: Tensor, timesteps: Tensor, conditioning: Conditioning) -> Tensor:
        return self.norm(noisy_latents)


@pytest.mark.parametrize("num_images", [0, 2])
def test_a_sample_is_the_same_in_every_batch(num_images: int) -> None:
    trial = Trial(Normed, TASK)
    few, many = trial.inputs(2, num_images), trial.inputs(5, num_images)
    assert few.latents.shape == (2, 2, 3 + num_images, 4, 4)
    assert set(few.tensors()) == {"noisy_latents", "timesteps", "class_labels", *["image_labels"] * bool(num_images)}
    for name, tensor in many.rows([0, 1]).tensors().items():
        assert torch.equal(tensor, few.tensors()[name])
    assert many.latents.unique().numel() == many.latents.numel()
    assert len(many.timesteps.unique()) == 5
    assert many.timesteps.dtype == torch.int64
    assert many.tensors()["class_labels"].tolist() == [0, 1, 2, 0, 1]


def test_what_a_task_asks() -> None:
    flow = replace(TASK, learned_variance=False, whole_timesteps=False, num_classes=0)
    assert (TASK.prediction_shape(5, 2), flow.prediction_shape(1)) == ((5, 4, 5, 4, 4), (1, 2, 3, 4, 4))
    assert (TASK.timestep_range, flow.timestep_range) == ((0, 999), (0.0, 1000.0))
    inputs = Trial(Normed, flow).inputs(2)
    assert inputs.timesteps.dtype == torch.float32
    assert inputs.conditioning.class_labels is None


def test_other_noise_changes_one_part_of_a_copy() -> None:
    trial = Trial(Normed, TASK)
    given = trial.inputs(1)
    for axis, index in ((1, 0), (2, 1)):
        changed = given.with_noise(axis, index).latents != trial.inputs(1).latents
        assert changed.select(axis, index).all()
        assert changed.sum() == changed.select(axis, index).numel()
    assert torch.equal(given.latents, trial.inputs(1).latents)


def test_zeros_that_are_trained_are_filled() -> None:
    wide, frozen, norm, other = nn.Linear(100, 3), nn.Linear(3, 3), nn.LayerNorm(3), nn.Linear(100, 3)
    for layer in (wide, frozen, other):
        nn.init.zeros_(layer.weight)
    frozen.requires_grad_(False)
    fill_zeros(nn.Sequential(wide, frozen, norm))
    assert 0.05 < wide.weight.std() < 0.2  # products keep their size
    assert not frozen.weight.any()
    assert norm.weight.eq(1).all()
    assert norm.bias.count_nonzero() == 3
    fill_zeros(other)
    assert torch.equal(other.weight, wide.weight)


def test_training_leaves_nothing_behind() -> None:
    trial = Trial(Normed, TASK)
    before = trial.predict(trial.inputs(2))
    with trial.training() as kept:
        trial.forward(trial.inputs(2)).sum().backward()
        moved = dict(trial.backbone.named_buffers())["norm.running_mean"]
        assert not torch.equal(moved, kept["norm.running_mean"])
    assert not any(module.training for module in trial.backbone.modules())
    assert all(parameter.grad is None for parameter in trial.backbone.parameters())
    assert torch.equal(trial.predict(trial.inputs(2)), before)


@pytest.mark.parametrize(("attention", "backend"), [("math", "math"), ("sdpa", "sdpa"), ("auto", "sdpa")])
def test_the_network_has_the_attention_of_the_task(attention: str, backend: str) -> None:
    """Under "auto" nothing is timed, and the run's choices hold no shapes of a trial."""
    trial = Trial(Normed, replace(TASK, runtime=replace(TASK.runtime, attention=attention)))
    assert trial.backbone.attend.backend == trial.build().attend.backend == backend
    assert not trial.backbone.training

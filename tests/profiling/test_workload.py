"""Shapes and ranges of the random input that costs refer to."""

from __future__ import annotations

import pytest
import torch

from stbench.diffusion.schedule import NUM_TIMESTEPS
from stbench.profiling.workload import Workload


def test_input_of_an_unconditional_network() -> None:
    latents, timesteps, conditioning = Workload((4, 6, 8, 8)).inputs(3)
    assert latents.shape == (3, 4, 6, 8, 8)
    assert timesteps.shape == (3,)
    assert timesteps.dtype == torch.int64
    assert timesteps.min() >= 0 and timesteps.max() < NUM_TIMESTEPS
    assert (conditioning.class_labels, conditioning.context, conditioning.image_labels) == (None, None, None)


def test_timesteps_are_numbers_where_the_objective_draws_numbers() -> None:
    """A network that multiplies them by its weights could not be counted with integers, though it can be trained."""
    timesteps = Workload((4, 6, 8, 8), whole_timesteps=False).inputs(3)[1]
    assert timesteps.dtype == torch.float32
    assert timesteps.min() >= 0 and timesteps.max() < NUM_TIMESTEPS


def test_classes_and_text() -> None:
    _, _, conditioning = Workload((4, 6, 8, 8), num_classes=5, context_shape=(7, 12)).inputs(3)
    assert conditioning.class_labels is not None and conditioning.context is not None
    assert conditioning.class_labels.shape == (3,)
    assert conditioning.class_labels.max() < 5
    assert conditioning.context.shape == (3, 7, 12)
    assert conditioning.num_images == 0


def test_joint_images_are_appended_to_the_frames_of_a_training_step_alone() -> None:
    workload = Workload((4, 6, 8, 8), num_classes=5, joint_images=2)
    assert workload.inputs(3)[0].shape == (3, 4, 6, 8, 8)
    latents, _, conditioning = workload.inputs(3, training=True)
    assert latents.shape == (3, 4, 8, 8, 8)
    assert conditioning.num_images == 2
    assert conditioning.image_labels is not None
    assert conditioning.image_labels.shape == (3, 2)


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_input_lies_on_the_default_device(device: str) -> None:
    with torch.device(device):
        latents, timesteps, conditioning = Workload((4, 6, 8, 8), num_classes=5).inputs(1)
    assert conditioning.class_labels is not None
    assert {latents.device.type, timesteps.device.type, conditioning.class_labels.device.type} == {device}

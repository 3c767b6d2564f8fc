"""Samples: each with noise of its own, classes in turn, whatever the batch."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from stbench.backbones.base import UNCONDITIONAL, Conditioning
from stbench.data.autoencoders import build_autoencoder
from stbench.run.generation import NoiseOfSamples, SamplingSpec, generate, labels_of_samples
from stbench.runtime.device import choose_runtime

Batches = list[NDArray[np.uint8]]
SPEC = SamplingSpec(
    objective="flow",
    sampler="euler",
    num_sampling_steps=2,
    cfg_scale=1.0,
    guided_channels="published",
    num_classes=3,
    latent_shape=(3, 2, 4, 4),
    batch_size=4,
)


class LabelledVelocity(nn.Module):
    """The flow of clips that are black, grey or white by their label, whatever noise they begin with."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[int] = []

    def forward(self, latents: Tensor, timesteps: Tensor, conditioning: Conditioning = UNCONDITIONAL) -> Tensor:
        self.batches.append(len(latents))
        labels = conditioning.class_labels
        brightness = torch.zeros(len(latents)) if labels is None else labels - 1.0
        share = timesteps.reshape(-1, 1, 1, 1, 1) / 1000  # of noise
        return (latents - brightness.reshape(-1, 1, 1, 1, 1)) / share


def test_noise_of_a_sample_does_not_depend_on_its_batch() -> None:
    together, alone = NoiseOfSamples(0, [0, 1, 2]), NoiseOfSamples(0, [2])
    for _ in range(2):  # the second draw goes on where the first ended
        a, b = together(torch.empty(3, 2, 4)), alone(torch.empty(1, 2, 4))
        assert torch.equal(a[2:], b)
        assert not torch.equal(a[0], a[1])


def test_frames_may_share_their_noise() -> None:
    noise = NoiseOfSamples(0, [0, 1], shared=True)
    first, second = noise(torch.empty(2, 3, 4, 2, 2)), noise(torch.empty(2, 3, 4, 2, 2))
    for drawn in (first, second):
        assert torch.equal(drawn, drawn[:, :, :1].expand(-1, -1, 4, -1, -1))
    assert not torch.equal(first, second)
    assert not torch.equal(first[0], first[1])


@pytest.mark.parametrize(("num_classes", "expected"), [(3, [0, 1, 2, 0, 1]), (1, [0] * 5), (0, [0] * 5)])
def test_classes_in_turn(num_classes: int, expected: list[int]) -> None:
    assert labels_of_samples(range(5), num_classes).tolist() == expected
    assert labels_of_samples([4], num_classes).tolist() == expected[4:]


def generated(spec: SamplingSpec, num_clips: int, backbone: nn.Module, seed: int = 0) -> Batches:
    runtime, autoencoder = choose_runtime("cpu", "float32", "math"), build_autoencoder("pixels", None)
    return list(generate(backbone, autoencoder, runtime, spec, num_clips, seed))


def test_clips_of_every_label_in_batches() -> None:
    backbone = LabelledVelocity()
    batches = generated(SPEC, 6, backbone)
    assert [batch.shape for batch in batches] == [(4, 2, 4, 4, 3), (2, 2, 4, 4, 3)]
    assert backbone.batches == [4, 4, 2, 2]  # two evaluations a batch
    clips = np.concatenate(batches)
    assert clips.dtype == np.uint8
    assert [int(clip.min()) for clip in clips] == [int(clip.max()) for clip in clips]
    black, grey, white = (int(clip.max()) for clip in clips[:3])
    assert (black, white) == (0, 255) and grey in (127, 128)
    assert np.array_equal(clips[:3], clips[3:])


def test_unconditional_clips_get_no_labels() -> None:
    (batch,) = generated(replace(SPEC, num_classes=0), 2, LabelledVelocity())
    assert set(np.unique(batch)) <= {127, 128}


class Still(nn.Module):
    """A flow that leaves the noise as it is."""

    def forward(self, latents: Tensor, timesteps: Tensor, conditioning: Conditioning = UNCONDITIONAL) -> Tensor:
        return torch.zeros_like(latents)


def test_a_sample_is_a_function_of_seed_and_number() -> None:
    def clips(batch_size: int, **options: Any) -> NDArray[np.uint8]:
        return np.concatenate(generated(replace(SPEC, batch_size=batch_size), 5, Still(), **options))

    assert np.array_equal(clips(1), clips(5))
    assert all(not np.array_equal(one, two) for one, two in zip(clips(5), clips(5, seed=1), strict=True))

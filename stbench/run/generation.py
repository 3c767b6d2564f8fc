"""Clips from a trained backbone: noise of each sample's own, the sampler, the decoder.

Sample i is a function of (weights, seed, i): its starting noise and all noise on the way come from a generator of its
own, on the CPU. So the batch size, the number of processes and the device change nothing but rounding; a GPU's own
generator would draw other numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from stbench.backbones.base import Conditioning
from stbench.data.autoencoders import Autoencoder
from stbench.data.loading import tensor_to_clips
from stbench.diffusion.samplers import Sampling, sample
from stbench.metrics.detectors.base import full_precision
from stbench.runtime.device import Runtime
from stbench.runtime.seeds import generator


@dataclass(frozen=True, kw_only=True)
class SamplingSpec(Sampling):
    """How the samples of a run are drawn; sample i has the label i modulo `num_classes`."""

    latent_shape: tuple[int, int, int, int]  # (C, F, H, W)
    batch_size: int  # how many are sampled at once


class NoiseOfSamples:
    """Standard normal noise in which every sample has its own stream.

    Args:
        seed: of the sampling, not of the training.
        indices: which samples.
    """

    def __init__(self, seed: int, indices: Sequence[int]) -> None:
        self.generators = [generator(torch.device("cpu"), seed, "sample", index) for index in indices]

    def __call__(self, like: Tensor) -> Tensor:
        """The next noise of the shape of `like` (B, C, F, H, W), on its device."""
        return torch.stack([torch.randn(like.shape[1:], generator=each) for each in self.generators]).to(like.device)


def labels_of_samples(indices: Sequence[int], num_classes: int) -> NDArray[np.int64]:
    """The class of each sample: the classes in turn; zeros when there are none."""
    return np.asarray(indices, dtype=np.int64) % max(num_classes, 1)


def describe_labels(num_classes: int) -> str:
    """What a protocol says of `labels_of_samples`."""
    return f"{num_classes} classes in turn" if num_classes else "none"


def generate(
    backbone: nn.Module,
    autoencoder: Autoencoder,
    runtime: Runtime,
    spec: SamplingSpec,
    num_clips: int,
    seed: int,
) -> Iterator[NDArray[np.uint8]]:
    """Sample clips 0 to `num_clips` - 1 in batches.

    Args:
        backbone: in evaluation mode.
        autoencoder: decodes the latents.
        runtime: device and precision.
        spec: how to sample.
        num_clips: how many.
        seed: of the sampling.

    Yields:
        Clips (B, F, H, W, 3), uint8, B at most `spec.batch_size`.
    """
    for start in range(0, num_clips, spec.batch_size):
        indices = range(start, min(start + spec.batch_size, num_clips))
        noise = NoiseOfSamples(seed, indices)
        labels = torch.from_numpy(labels_of_samples(indices, spec.num_classes)).to(runtime.device)
        with full_precision(runtime.device.type), runtime.autocast():  # float32 says what it is: no TF32 on a GPU
            latents = sample(
                backbone,
                noise(torch.empty(len(indices), *spec.latent_shape, device=runtime.device)),
                Conditioning(class_labels=labels if spec.num_classes else None),
                spec,
                draw_noise=noise,
            )
        yield tensor_to_clips(autoencoder.decode(latents))

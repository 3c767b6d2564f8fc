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
from stbench.settings.schema import FRAME_CONTEXTS
from stbench.tasks.restorations import Restoration


@dataclass(frozen=True, kw_only=True)
class SamplingSpec(Sampling):
    """How the samples of a run are drawn; sample i has the label i modulo `num_classes`."""

    latent_shape: tuple[int, int, int, int]  # (C, F, H, W)
    batch_size: int  # how many are sampled at once
    shared_noise: bool = False  # one noise for all frames of a clip
    fps: float | None = None  # frames per second that every sample is told
    candidate: int = 0  # which of the samples that there may be of one number


class NoiseOfSamples:
    """Standard normal noise in which every sample has its own stream.

    Args:
        seed: of the sampling, not of the training.
        indices: which samples.
        shared: whether all frames of a clip have the same noise.
        candidate: see `SamplingSpec`.
    """

    def __init__(self, seed: int, indices: Sequence[int], shared: bool = False, candidate: int = 0) -> None:
        self.shared = shared
        other = ("candidate", candidate) if candidate else ()
        self.generators = [generator(torch.device("cpu"), seed, "sample", index, *other) for index in indices]

    def __call__(self, like: Tensor) -> Tensor:
        """The next noise of the shape of `like` (B, C, F, H, W), on its device."""
        one_frame = like[0, :, :1] if self.shared else like[0]
        drawn = [torch.randn(one_frame.shape, generator=each) for each in self.generators]
        return torch.stack(drawn).expand(like.shape).to(like.device)


def labels_of_samples(indices: Sequence[int], num_classes: int) -> NDArray[np.int64]:
    """The class of each sample: the classes in turn; zeros when there are none."""
    return np.asarray(indices, dtype=np.int64) % max(num_classes, 1)


def describe_told(
    num_classes: int, restoration: Restoration | None, context: str, candidates: int, fps: float | None
) -> str:
    """What a protocol says of what samples are told: classes, a part of a clip, a rate; and how one is chosen."""
    rate = "" if fps is None else f"; {fps:g} frames per second"
    given = [restoration.describe()] if restoration else []
    given += [f"its last frame, by {context}"] if context in FRAME_CONTEXTS else []
    if given:
        noise = "; one noise for all frames" if restoration and restoration.shared_noise else ""
        labels = "those" if num_classes else "none"
        return f"{labels} of held-out clips, of which is given: {' and '.join(given)}{noise}{rate}"
    chosen = f", the best of {candidates} by their text" if candidates > 1 else ""
    return (f"{num_classes} classes in turn{chosen}" if num_classes else "none") + rate


def _classes_in_turn(indices: range, num_classes: int) -> Conditioning:
    labels = torch.from_numpy(labels_of_samples(indices, num_classes))
    return Conditioning(class_labels=labels if num_classes else None)


def generate(
    backbone: nn.Module,
    autoencoder: Autoencoder,
    runtime: Runtime,
    spec: SamplingSpec,
    num_clips: int,
    seed: int,
    given: Iterator[Conditioning] | None = None,
) -> Iterator[NDArray[np.uint8]]:
    """Sample clips 0 to `num_clips` - 1 in batches.

    Args:
        backbone: as of `generate_latents`, like all others but the autoencoder.
        autoencoder: decodes the latents.
        runtime: see there.
        spec: see there.
        num_clips: see there.
        seed: see there.
        given: see there.

    Yields:
        Clips (B, F, H, W, 3), uint8, B at most `spec.batch_size`.
    """
    for latents in generate_latents(backbone, runtime, spec, num_clips, seed, given):
        yield tensor_to_clips(autoencoder.decode(latents))


def generate_latents(
    backbone: nn.Module,
    runtime: Runtime,
    spec: SamplingSpec,
    num_clips: int,
    seed: int,
    given: Iterator[Conditioning] | None = None,
) -> Iterator[Tensor]:
    """Sample the latents of clips 0 to `num_clips` - 1 in batches.

    Args:
        backbone: in evaluation mode.
        runtime: device and precision.
        spec: how to sample.
        num_clips: how many.
        seed: of the sampling.
        given: what the samples of each batch are told; None for the classes in turn.

    Yields:
        (B, C, F, H, W), float32, B at most `spec.batch_size`.
    """
    for start in range(0, num_clips, spec.batch_size):
        indices = range(start, min(start + spec.batch_size, num_clips))
        noise = NoiseOfSamples(seed, indices, spec.shared_noise, spec.candidate)
        told = next(given) if given else _classes_in_turn(indices, spec.num_classes)
        conditioning = told.at_rate(spec.fps, len(indices))
        with full_precision(runtime.device.type), runtime.autocast():  # float32 says what it is: no TF32 on a GPU
            latents = sample(
                backbone,
                noise(torch.empty(len(indices), *spec.latent_shape, device=runtime.device)),
                conditioning.to(runtime.device),
                spec,
                draw_noise=noise,
            )
        yield latents

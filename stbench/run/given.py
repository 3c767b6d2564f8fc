"""Samples, and the real clips of which something is given: held-out ones, one for each sample, the same for all."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import tee
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from stbench.backbones.base import Conditioning
from stbench.data.clips import ClipDataset
from stbench.data.loading import Batch, evaluation_clips, tensor_to_clips
from stbench.errors import StbenchError
from stbench.metrics.detectors.base import full_precision
from stbench.run.generation import SamplingSpec, generate, labels_of_samples
from stbench.run.setup import Setup

CLIP_SEED = 0  # of the choice where more videos are held out than are asked for


class GivenClips:
    """What the samples of a run are told that is given something of every clip: by its task, or as its context.

    Args:
        setup: of the run.
        number: of samples.

    Raises:
        StbenchError: fewer clips are held out.
    """

    def __init__(self, setup: Setup, number: int) -> None:
        self.setup, self.number = setup, number
        settings = setup.config.settings
        reason = f"task={settings.task}" if setup.restoration else f"context.name={settings.context.name}"
        self.dataset = held_out_for(setup.dataset, number, reason)

    def batches(self) -> Iterator[Batch]:
        """The clips that are to be made again, as many at a time as are sampled at once."""
        size = self.setup.config.settings.eval.batch_size
        return evaluation_clips(self.dataset, self.number, CLIP_SEED, size)

    @torch.no_grad()
    def told(self, batch: Batch) -> Conditioning:
        """What is told of these clips: their classes, and what the task and the context give of them."""
        setup, encode = self.setup, self.setup.autoencoder.encode
        clips = batch.clips.to(setup.runtime.device)
        with full_precision(clips.device.type):
            context = setup.frame_context(clips) if setup.frame_context else None
            concat = setup.restoration.of(clips, encode(clips), encode) if setup.restoration else None
        return Conditioning(batch.labels if setup.num_classes else None, context, concat=concat)


def given_clips(setup: Setup, number: int) -> GivenClips | None:
    """What so many samples of a run are told; None where they are made from nothing but their class."""
    return GivenClips(setup, number) if setup.restoration or setup.frame_context else None


class Sampled(NamedTuple):
    """A batch of samples.

    Attributes:
        clips: (B, F, H, W, 3), uint8.
        labels: (B,), the classes that they were asked for; zeros when there are none.
        real: the clips that they ought to be, as `clips`; None where no part of them was given.
    """

    clips: NDArray[np.uint8]
    labels: NDArray[np.int64]
    real: NDArray[np.uint8] | None = None


def sample_clips(
    backbone: nn.Module, setup: Setup, spec: SamplingSpec, number: int, given: GivenClips | None
) -> Iterator[Sampled]:
    """Sample from a backbone in evaluation mode with the seed of its run, told what `given` says."""
    seed, num_classes = setup.config.settings.eval.seed, setup.dataset.num_classes
    draw = partial(generate, backbone, setup.autoencoder, setup.runtime, spec, number, seed)
    if given is None:
        done = 0
        for clips in draw():
            numbers = range(done, done := done + len(clips))
            yield Sampled(clips, labels_of_samples(numbers, num_classes))
        return
    told, real = tee(given.batches())
    for clips, batch in zip(draw(given=map(given.told, told)), real, strict=True):
        labels = np.zeros(len(clips), np.int64) if batch.labels is None else batch.labels.numpy()
        yield Sampled(clips, labels, tensor_to_clips(batch.clips) if setup.restoration else None)


def held_out_for(dataset: ClipDataset, number: int, reason: str) -> ClipDataset:
    """As many held-out videos as there are samples.

    Raises:
        StbenchError: there are fewer, or none, and why.
    """
    try:
        found = dataset.validation_set(number)
    except StbenchError as error:
        raise StbenchError(f"{reason} is judged on held-out clips: {error}") from error
    if len(found) < number:
        raise StbenchError(
            f"{reason} is judged on held-out clips, of which there are {len(found)}: "
            f"expected eval.num_clips={number} to be no more, or a larger dataset.held_out"
        )
    return found

"""Samples, and the real clips of which a task gives a part: held-out ones, one for each sample, the same for all."""

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
from stbench.tasks.restorations import Restoration

CLIP_SEED = 0  # of the choice where more videos are held out than are asked for


class GivenClips:
    """What the samples of a run with a task are told.

    Args:
        setup: of the run.
        restoration: of its task.
        number: of samples.

    Raises:
        StbenchError: fewer clips are held out.
    """

    def __init__(self, setup: Setup, restoration: Restoration, number: int) -> None:
        self.setup, self.restoration, self.number = setup, restoration, number
        self.dataset = held_out_for(setup.dataset, number, setup.config.settings.task)

    def batches(self) -> Iterator[Batch]:
        """The clips that are to be made again, as many at a time as are sampled at once."""
        size = self.setup.config.settings.eval.batch_size
        return evaluation_clips(self.dataset, self.number, CLIP_SEED, size)

    @torch.no_grad()
    def told(self, batch: Batch) -> Conditioning:
        """What is told of these clips: their classes, and what the task gives of them."""
        device, encode = self.setup.runtime.device, self.setup.autoencoder.encode
        clips = batch.clips.to(device)
        with full_precision(device.type):
            concat = self.restoration.of(clips, encode(clips), encode)
        return Conditioning(class_labels=batch.labels, concat=concat)


def given_clips(setup: Setup, number: int) -> GivenClips | None:
    """What so many samples of a run are told; None where they are made from nothing but their class."""
    return GivenClips(setup, setup.restoration, number) if setup.restoration else None


class Sampled(NamedTuple):
    """A batch of samples.

    Attributes:
        clips: (B, F, H, W, 3), uint8.
        labels: (B,), the classes that they were asked for; zeros when there are none.
        real: the clips that they ought to be, as `clips`; None where they were told nothing of any.
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
        yield Sampled(clips, labels, tensor_to_clips(batch.clips))


def held_out_for(dataset: ClipDataset, number: int, task: str) -> ClipDataset:
    """As many held-out videos as there are samples.

    Raises:
        StbenchError: there are fewer, or none, and why.
    """
    try:
        found = dataset.validation_set(number)
    except StbenchError as error:
        raise StbenchError(f"task={task} is judged on held-out clips: {error}") from error
    if len(found) < number:
        raise StbenchError(
            f"task={task} is judged on held-out clips, of which there are {len(found)}: "
            f"expected eval.num_clips={number} to be no more, or a larger dataset.held_out"
        )
    return found

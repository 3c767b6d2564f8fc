"""Features of clean clips and of other clips of the same data set, as they are and under each of the distortions.

The clips are distorted in groups whose sizes depend on their number alone, and each group has a generator of its own
for each distortion: neither the batch size nor the workers change what happens to a clip. A distortion draws the same
numbers at every strength, so that a stronger one is the same damage carried further. Distorted clips are rounded to 8
bits, as generated ones are stored.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice, product

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stbench.data.clips import ClipDataset
from stbench.data.loading import clips_to_tensor, evaluation_clips, tensor_to_clips
from stbench.metrics.detectors import Detector, extract_features
from stbench.metrics.distortions import DISTORTIONS
from stbench.runtime.seeds import generator

# The FVD paper (arXiv 1812.01717, section 4.1) has up to six intensities of each.
STRENGTHS = tuple(step / 6 for step in range(1, 7))
DISTORTIONS_AND_STRENGTHS = tuple(product(DISTORTIONS, STRENGTHS))
GROUP_SIZE = 16

Features = NDArray[np.float32]


@dataclass(frozen=True)
class StudyFeatures:
    """Features (N, D) of clips of one data set; no video is on both sides.

    Attributes:
        reference: of clean clips, which everything is compared with.
        clean: of the other clips before they are distorted.
        distorted: of these other clips, by (distortion, strength).
    """

    reference: Features
    clean: Features
    distorted: dict[tuple[str, float], Features]


def study_features(
    dataset: ClipDataset, detector: Detector, num: int, seed: int, batch_size: int, num_workers: int
) -> StudyFeatures:
    """Compute the features of `num` clips as a reference, and of `num` others under every condition.

    Args:
        dataset: of at least 2 `num` videos; one clip of each is taken, by a hash of the seed and the video.
        detector: clips to features.
        num: clips on each side, at least 2.
        seed: of the choice of clips and of the distortions.
        batch_size: clips that go through the detector at once, up to the size of a group.
        num_workers: processes that read clips.
    """
    sizes = group_sizes(num)
    clips = chain.from_iterable(
        batch.clips for batch in evaluation_clips(dataset, 2 * num, seed, GROUP_SIZE, num_workers)
    )
    groups = (torch.stack(list(islice(clips, size))) for size in chain(sizes, sizes))

    undistorted = chain.from_iterable(group.split(batch_size) for group in islice(groups, len(sizes)))
    reference = extract_features(detector, undistorted, num, "clean clips")
    versions = (version for index, group in enumerate(groups) for version in _versions(group, index, seed))
    batches = chain.from_iterable(version.split(batch_size) for version in versions)
    num_versions = 1 + len(DISTORTIONS_AND_STRENGTHS)
    rows = extract_features(detector, batches, num * num_versions, "distorted clips")

    # The rows came group by group, each in all versions: sort them into one array for each version.
    ends = np.cumsum([num_versions * size for size in sizes])[:-1]
    parts = [part.reshape(num_versions, -1, rows.shape[1]) for part in np.split(rows, ends)]
    clean, *distorted = np.concatenate(parts, axis=1)
    return StudyFeatures(reference, clean, dict(zip(DISTORTIONS_AND_STRENGTHS, distorted, strict=True)))


def group_sizes(num: int) -> list[int]:
    """How many clips are distorted together: about `GROUP_SIZE`, and never a single one, which has none to mix with."""
    return [len(part) for part in np.array_split(np.arange(num), max(1, num // GROUP_SIZE))]


def _versions(group: Tensor, index: int, seed: int) -> Iterator[Tensor]:
    """Yield a group of clips as it is, then under every condition."""
    yield group
    for name, strength in DISTORTIONS_AND_STRENGTHS:
        chance = generator(group.device, seed, "noise study", name, index)
        yield clips_to_tensor(tensor_to_clips(DISTORTIONS[name](group, strength, chance)))

"""A detector of the user's own on trial: its features must be a function of a clip, and of nothing else."""

from __future__ import annotations

import torch

from stbench.errors import StbenchError
from stbench.metrics.detectors.base import CatalogueDetector, Detector

ROUNDING = 1e-3  # as a share of the largest feature: other batch sizes go through other kernels


def try_detector(detector: Detector, num_frames: int, resolution: int) -> None:
    """Refuse a detector whose figures would mean nothing, before the work that it is to judge; tests do so for ours.

    Args:
        detector: any; one of the catalogue is not tried.
        num_frames: F of the clips to come.
        resolution: their height and width.

    Raises:
        StbenchError: says what its features depend on besides the clip, or that they do not depend on it.
    """
    if isinstance(detector, CatalogueDetector):
        return
    draws = torch.Generator().manual_seed(0)
    clips = torch.rand(3, 3, num_frames, resolution, resolution, generator=draws) * 2 - 1
    clips[2] = 1
    given = clips.to(detector.device, copy=True)
    with torch.random.fork_rng(devices=[]):  # what it draws shifts nothing
        features, again, alone = detector(given), detector(given), detector(given[:1])
    scale = ROUNDING * features.abs().amax()
    if not torch.equal(given.cpu(), clips):
        raise StbenchError(f"{detector.name}: compute_features writes into the clips: work on a copy")
    if (features - again).abs().amax() > scale:
        raise StbenchError(f"{detector.name}: the features of one clip are not the same twice")
    if (features[:1] - alone).abs().amax() > scale:
        raise StbenchError(f"{detector.name}: the features of a clip depend on the other clips of its batch")
    if bool((features == features[0]).all()):
        raise StbenchError(f"{detector.name}: the features do not depend on the clip")

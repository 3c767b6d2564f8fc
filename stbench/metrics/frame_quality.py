"""Per-frame quality: the Fréchet distance between the features of single frames (FID, Heusel et al. 2017, 1706.08500).

It sees how frames look and nothing of how they follow one another, so it stands beside FVD and not in its place. Every
frame of every clip is a sample. Features are summed up by a torchmetrics Metric in constant memory; the distance is the
project's own, and equals torchmetrics' FrechetInceptionDistance on the same features.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from torch import Tensor

from stbench.errors import StbenchError
from stbench.metrics.detectors.base import Detector
from stbench.metrics.frechet import GaussianStatistics, frechet_between
from stbench.metrics.streaming import FeatureStatistics
from stbench.progress import progress_bar


@dataclass(frozen=True)
class FrameDistance:
    """A per-frame Fréchet distance and the numbers of frames it was measured on."""

    distance: float
    num_real: int
    num_fake: int


def frame_statistics(
    detector: Detector, clip_batches: Iterable[Tensor], total: int, progress_label: str
) -> GaussianStatistics:
    """Mean and covariance of the features of all frames, in constant memory.

    Args:
        detector: one with features per frame, such as "inception".
        clip_batches: tensors (N, 3, F, H, W), float32 in [-1, 1]; sizes may differ.
        total: clips that the batches hold in all.
        progress_label: shown on standard error.

    Raises:
        StbenchError: a detector of whole clips, another number of clips than `total`, features that are not finite.
    """
    if not detector.per_frame:
        raise StbenchError(f"per-frame distances need a detector of frames, and {detector.name} judges whole clips")
    statistics = FeatureStatistics(detector.feature_dim).to(detector.device)
    done = 0
    with progress_bar(progress_label, total) as advance:
        for clips in clip_batches:
            statistics.update(detector(clips.to(detector.device)))
            done += len(clips)
            advance(len(clips))
    if done != total:
        raise StbenchError(f"{progress_label}: expected {total} clips, got {done}")
    return statistics.compute()


def frame_distance(real: GaussianStatistics, fake: GaussianStatistics) -> FrameDistance:
    """Fréchet distance between the frames of two sets of clips.

    Raises:
        StbenchError: no more frames on a side than features, which leaves its covariance singular.
    """
    width = len(real.mean)
    if min(real.num_samples, fake.num_samples) <= width:
        raise StbenchError(
            f"a per-frame distance needs more than {width} frames on each side, "
            f"got {real.num_samples} real and {fake.num_samples} generated"
        )
    return FrameDistance(frechet_between(real, fake).distance, real.num_samples, fake.num_samples)

"""Per-frame quality: the Fréchet distance between the features of single frames (FID, Heusel et al. 2017, 1706.08500).

It sees how frames look and nothing of how they follow one another, so it stands beside FVD and not in its place. Every
frame of every clip is a sample. Features are summed up by a torchmetrics Metric in constant memory; the distance is the
project's own, and equals torchmetrics' FrechetInceptionDistance on the same features.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from torch import Tensor

from stbench.data.clips import ClipRule
from stbench.data.loading import clips_to_tensor
from stbench.errors import StbenchError
from stbench.fvd.sources import ClipSource
from stbench.metrics.detectors.base import Detector
from stbench.metrics.frechet import GaussianStatistics, frechet_between
from stbench.metrics.streaming import FeatureStatistics
from stbench.progress import progress_bar
from stbench.runtime.processes import share

FRAME_DETECTOR = "inception"


@dataclass(frozen=True)
class FrameDistance:
    """A per-frame Fréchet distance and the numbers of frames it was measured on."""

    distance: float
    num_real: int
    num_fake: int


@dataclass(frozen=True)
class ChosenClips:
    """Clips that are known to be usable: those that an FVD was measured on, to be read once more.

    Attributes:
        source: where they lie.
        video_ids: which videos, one clip each.
        rule: which frames make a clip.
    """

    source: ClipSource
    video_ids: Sequence[str]
    rule: ClipRule

    @property
    def num_frames(self) -> int:
        """Of all clips together."""
        return len(self.video_ids) * self.rule.num_frames

    def statistics(self, detector: Detector, batch_size: int, name: str) -> GaussianStatistics:
        """Mean and covariance of the features of all frames; in a group each process reads its share."""
        mine = share(self.video_ids)
        return frame_statistics(detector, self._batches(mine, batch_size), len(mine), f"frames, {name}")

    def _batches(self, video_ids: Sequence[str], batch_size: int) -> Iterator[Tensor]:
        """Yield clips (N, 3, F, H, W) in [-1, 1], in the order in which the source reads them."""
        stream = self.source.readings(video_ids, self.rule)
        while readings := list(islice(stream, batch_size)):
            clips = [each.clip for each in readings if each.clip is not None]
            if len(clips) < len(readings):
                lost = next(each for each in readings if each.clip is None)
                raise StbenchError(f"{self.source.path}: {lost.video_id} changed while it was measured: {lost.reason}")
            yield clips_to_tensor(np.stack(clips))


def assess_frames(detector: Detector, real: ChosenClips, fake: ChosenClips, batch_size: int) -> dict[str, Any]:
    """Measure how far the single frames of two sets of clips are apart, in constant memory.

    In a group of processes each reads a part of the videos, and all return the whole.

    Args:
        detector: one with features per frame.
        real: the real clips.
        fake: the generated ones.
        batch_size: clips at once; changes nothing but rounding.

    Returns:
        fid, None where refused; refused, None or why there is no fid (known before a frame is read); num_real and
        num_fake, the numbers of frames; detector, weights_sha256, preprocessing.

    Raises:
        StbenchError: a video that could be read before and cannot any more.
    """
    refused = _too_few(detector.feature_dim, real.num_frames, fake.num_frames)
    fid = None
    if refused is None:
        sides = [clips.statistics(detector, batch_size, name) for name, clips in (("real", real), ("fake", fake))]
        fid = frame_distance(*sides).distance
    return {
        "fid": fid,
        "refused": refused,
        "num_real": real.num_frames,
        "num_fake": fake.num_frames,
        "detector": detector.name,
        "weights_sha256": detector.weights_sha256,
        "preprocessing": detector.preprocessing,
    }


def frame_statistics(
    detector: Detector, clip_batches: Iterable[Tensor], total: int, progress_label: str
) -> GaussianStatistics:
    """Mean and covariance of the features of all frames, in constant memory; in a group, of all processes' frames.

    Args:
        detector: one with features per frame, such as "inception".
        clip_batches: tensors (N, 3, F, H, W), float32 in [-1, 1]; sizes may differ.
        total: clips that this process's batches hold in all.
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
    return statistics.cpu().compute()  # processes exchange by gloo, which gathers from the CPU


def frame_distance(real: GaussianStatistics, fake: GaussianStatistics) -> FrameDistance:
    """Fréchet distance between the frames of two sets of clips.

    Raises:
        StbenchError: no more frames on a side than features, which leaves its covariance singular.
    """
    refused = _too_few(len(real.mean), real.num_samples, fake.num_samples)
    if refused is not None:
        raise StbenchError(refused)
    return FrameDistance(frechet_between(real, fake).distance, real.num_samples, fake.num_samples)


def _too_few(feature_dim: int, num_real: int, num_fake: int) -> str | None:
    """That the covariance of a side's frames would be singular, or None."""
    if min(num_real, num_fake) > feature_dim:
        return None
    return (
        f"a per-frame distance needs more than {feature_dim} frames on each side, "
        f"got {num_real} real and {num_fake} generated"
    )

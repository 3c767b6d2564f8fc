"""Per-frame quality: the Fréchet distance between the features of single frames (FID, Heusel et al. 2017, 1706.08500).

It sees how frames look and nothing of how they follow one another, so it stands beside FVD and not in its place. Every
frame of every clip is a sample. Features are summed up by a torchmetrics Metric in constant memory; the distance is the
project's own, and equals torchmetrics' FrechetInceptionDistance on the same features.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

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


@dataclass(frozen=True, kw_only=True)
class FrameQuality:
    """How far the single frames of two sets of clips are apart."""

    fid: float | None  # None where refused
    refused: str | None  # why there is no fid
    num_real: int  # frames, not clips
    num_fake: int
    detector: str
    weights_sha256: str
    preprocessing: str


@dataclass(frozen=True)
class ChosenClips:
    """Clips that are known to be usable: those that an FVD was measured on, to be read once more."""

    source: ClipSource  # where they lie
    video_ids: Sequence[str]  # which videos, one clip each
    rule: ClipRule  # which frames make a clip

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


def assess_frames(detector: Detector, real: ChosenClips, fake: ChosenClips, batch_size: int) -> FrameQuality:
    """Measure how far the single frames of two sets of clips are apart, in constant memory.

    No more frames on a side than features leave its covariance singular: that is refused before a frame is read. In a
    group of processes each reads a part of the videos, and all return the whole.

    Args:
        detector: one with features per frame.
        real: the real clips.
        fake: the generated ones.
        batch_size: clips at once; changes nothing but rounding.

    Raises:
        StbenchError: a video that could be read before and cannot any more.
    """
    refused = fid = None
    if min(real.num_frames, fake.num_frames) <= detector.feature_dim:
        refused = (
            f"a per-frame distance needs more than {detector.feature_dim} frames on each side, "
            f"got {real.num_frames} real and {fake.num_frames} generated"
        )
    else:
        statistics = [clips.statistics(detector, batch_size, name) for clips, name in ((real, "real"), (fake, "fake"))]
        fid = frechet_between(*statistics).distance
    return FrameQuality(
        fid=fid,
        refused=refused,
        num_real=real.num_frames,
        num_fake=fake.num_frames,
        detector=detector.name,
        weights_sha256=detector.weights_sha256,
        preprocessing=detector.preprocessing,
    )


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

"""From videos to features: one clip of each, in the order in which they are chosen, until there are enough.

Which videos those are, and which row is whose, depends on their names and content alone. A video that cannot be used is
listed with the reason, and the next in order takes its place, exactly as if the broken one had never been there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import NamedTuple

import numpy as np

from stbench.data.clips import Dropped
from stbench.data.loading import clips_to_tensor
from stbench.fvd.sides import Features, SideFeatures, clip_rule, conditions_of
from stbench.fvd.sources import Clip, ClipSource, Reading, ranked
from stbench.metrics.detectors import Detector, features_of
from stbench.progress import progress_bar
from stbench.records.protocol import Protocol, SideName
from stbench.runtime.processes import gather, share
from stbench.storage.hashing import hash_uint64


class _Measured(NamedTuple):
    """What came of one video: its features, or the reason why there are none."""

    video_id: str
    fingerprint: str
    reason: str | None
    features: Features | None
    shuffled: Features | None


def compute_features(
    source: ClipSource,
    detector: Detector,
    protocol: Protocol,
    side: SideName,
    *,
    asked: int | None,
    batch_size: int,
    control: bool,
) -> SideFeatures:
    """Read clips and compute their features, until as many videos as asked for could be used, or all were tried.

    Memory does not grow with the number of videos but by their features. In a group of processes each takes a part of
    the videos, and all return the whole.

    Args:
        source: the videos.
        detector: the protocol's.
        protocol: without open fields.
        side: "real" or "fake".
        asked: how many videos; None for all. Those with the smallest hash of (seed, id) that can be used.
        batch_size: clips at once; changes nothing but rounding.
        control: whether to compute features of the shuffled clips, too.
    """
    order = ranked(source.video_ids, protocol.clip_seed)
    wanted = len(order) if asked is None else min(asked, len(order))
    measured: list[_Measured] = []
    used = 0
    with progress_bar(f"features, {side}", wanted) as advance:
        while used < wanted and len(measured) < len(order):
            part = order[len(measured) : len(measured) + wanted - used]
            readings = source.readings(share(part), clip_rule(protocol, side))
            seed = protocol.clip_seed if control else None
            found = []
            for each in _measure(readings, detector, batch_size, seed):
                found.append(each)
                advance(each.reason is None)
            by_id = {each.video_id: each for each in gather(found)}
            measured += [by_id[video_id] for video_id in part]
            used = sum(each.reason is None for each in measured)
    usable = [each for each in measured if each.reason is None]
    return SideFeatures(
        features=_rows([each.features for each in usable], detector.feature_dim),
        shuffled=_rows([each.shuffled for each in usable], detector.feature_dim) if control else None,
        video_ids=[each.video_id for each in usable],
        conditions=conditions_of(protocol, side),
        asked=asked,
        found=len(order),
        tried=[(each.video_id, each.fingerprint) for each in measured],
        dropped=[Dropped(each.video_id, each.reason) for each in measured if each.reason is not None],
        ignored=source.ignored,
        storage=source.storage,
        origin=str(source.path),
    )


def shuffle_frames(clip: Clip, video_id: str, seed: int) -> Clip:
    """Return a clip (F,H,W,3) with its frames in an order drawn from (seed, video id)."""
    generator = np.random.Generator(np.random.Philox(key=hash_uint64("shuffle", seed, video_id)))
    return clip[generator.permutation(len(clip))]


def _measure(
    readings: Iterable[Reading], detector: Detector, batch_size: int, shuffle_seed: int | None
) -> Iterator[_Measured]:
    """Yield the features of each reading, and those of its shuffled frames where there is a seed; None for broken ones.

    The detector sees the usable clips among `batch_size` readings at once.
    """
    stream = iter(readings)
    while batch := list(islice(stream, batch_size)):
        clips = {each.video_id: each.clip for each in batch if each.clip is not None}
        rows, shuffled = _features(detector, clips), {}
        if shuffle_seed is not None:
            mixed = {name: shuffle_frames(clip, name, shuffle_seed) for name, clip in clips.items()}
            shuffled = _features(detector, mixed)
        for each in batch:
            name = each.video_id
            yield _Measured(name, each.fingerprint, each.reason, rows.get(name), shuffled.get(name))


def _features(detector: Detector, clips: Mapping[str, Clip]) -> dict[str, Features]:
    """The features of clips by the names of their videos."""
    if not clips:
        return {}
    batch = clips_to_tensor(np.stack(list(clips.values())))
    return dict(zip(clips, features_of(detector, batch, list(clips)), strict=True))


def _rows(rows: list[Features | None], feature_dim: int) -> Features:
    filled = [row for row in rows if row is not None]
    return np.stack(filled) if filled else np.empty((0, feature_dim), np.float32)

"""The protocol of a video distance: everything that moves the number, and a hash that says when two may be compared.

Published FVDs of one checkpoint differ by factors, through the split, the stride of the real clips, the number of
samples, the crop or the sampler. So all of that is one record here, its SHA-256 goes into every result, and results
whose hashes differ are not compared. What must not change the number (batch size, workers, processes) is not in it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from stbench.errors import StbenchError

# Raise it with every change of this package that changes a number.
METRIC_VERSION = 1
HASHED_OFFSET = "hash of seed and video"
FIRST_FRAME = "first frame"
OFFSET_RULES = (HASHED_OFFSET, FIRST_FRAME)
_COUNTS = (
    "feature_dim",
    "num_frames",
    "frame_stride_real",
    "frame_stride_fake",
    "resolution",
    "clips_per_video",
    "num_real",
    "num_fake",
    "num_sampling_steps",
)


@dataclass(frozen=True)
class Protocol:
    """Everything that moves a video distance. None stands for what only the run knows and fills in with `replace`.

    Attributes:
        detector: name in the catalogue, or "module:Class".
        detector_weights_sha256: of the weights file.
        detector_precision: arithmetic of the detector.
        preprocessing: named way to the detector's input.
        bn_eps: epsilon of its batch norms, None without any; published I3D code has 1e-3 and 1e-5 for the same names.
        feature_dim: width of the features.
        num_frames: frames of a judged clip.
        frame_stride_real: step between frames taken from real videos.
        frame_stride_fake: the same for generated clips.
        resolution: height and width of the clips handed to the detector's preprocessing, pixels.
        spatial_rule: how frames of videos get to that resolution, of `data.spatial.SPATIAL_RULES`.
        value_range: of the clips.
        storage: how clips are kept before they are judged.
        dataset: name of the real clips' data set.
        dataset_manifest_sha256: of the list of its files.
        split: part of the data set that the real clips come from.
        short_video_rule: what happens to a video shorter than its clip, (num_frames - 1) * stride + 1 frames.
        clips_per_video: real clips taken from one video; None is as many as fit.
        offset_rule: where in a real video its clip begins, one of `OFFSET_RULES`.
        offset_rule_fake: where in a generated video its clip begins.
        clip_seed: of the choice of videos and of the clips in them.
        num_real: number of real clips; None is every clip of the split.
        num_fake: number of generated clips.
        sampler: of the generated clips.
        num_sampling_steps: of the sampler.
        cfg_scale: of classifier-free guidance; 1 is none.
        ema: whether the averaged weights were sampled from.
        autoencoder: name.
        autoencoder_sha256: of its weights; None for pixels.
        sampling_seed: of the noise that sampling starts from.
        covariance_ddof: covariances divide by N minus this.
        metric_version: `METRIC_VERSION` of the code.
    """

    detector: str
    preprocessing: str
    feature_dim: int
    num_frames: int | None = None
    detector_weights_sha256: str | None = None
    detector_precision: str = "float32"
    bn_eps: float | None = 1e-5

    frame_stride_real: int | None = 1
    frame_stride_fake: int = 1
    resolution: int | None = None
    spatial_rule: str = "crop-resize-lanczos"
    value_range: tuple[float, float] = (-1.0, 1.0)
    storage: str = "uint8, lossless"

    dataset: str | None = None
    dataset_manifest_sha256: str | None = None
    split: str = "train"
    short_video_rule: str = "dropped"
    clips_per_video: int | None = 1
    offset_rule: str = HASHED_OFFSET
    offset_rule_fake: str = FIRST_FRAME
    clip_seed: int = 0

    num_real: int | None = 2048
    num_fake: int = 2048
    sampler: str | None = None
    num_sampling_steps: int | None = None
    cfg_scale: float | None = None
    ema: bool | None = None
    autoencoder: str | None = None
    autoencoder_sha256: str | None = None
    sampling_seed: int = 0

    covariance_ddof: int = 1
    metric_version: int = METRIC_VERSION

    def __post_init__(self) -> None:
        for name in _COUNTS:
            value = getattr(self, name)
            if value is not None and value < 1:
                raise StbenchError(f"protocol.{name}: expected at least 1, got {value}")
        if self.cfg_scale is not None:  # 7 and 7.0 are one protocol, and one hash
            object.__setattr__(self, "cfg_scale", float(self.cfg_scale))
        object.__setattr__(self, "value_range", tuple(float(bound) for bound in self.value_range))

    def as_dict(self) -> dict[str, Any]:
        """The fields as values that JSON knows."""
        return {**asdict(self), "value_range": list(self.value_range)}


def canonical_json(protocol: Protocol) -> str:
    """One spelling for one protocol: sorted keys, no spaces, ASCII, no NaN."""
    return json.dumps(protocol.as_dict(), sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def protocol_hash(protocol: Protocol) -> str:
    """SHA-256 of the canonical JSON, hexadecimal."""
    return hashlib.sha256(canonical_json(protocol).encode("ascii")).hexdigest()


def difference(a: Protocol | Mapping[str, Any], b: Protocol | Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """The fields in which two protocols differ, each with both values; empty when results may be compared.

    Args:
        a: a protocol, or the `protocol` section of a record.
        b: the other one.
    """
    left, right = (dict(side) if isinstance(side, Mapping) else side.as_dict() for side in (a, b))
    names = [*left, *(name for name in right if name not in left)]
    pairs = {name: (left.get(name, "(absent)"), right.get(name, "(absent)")) for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}

"""The protocol of a video distance: everything that moves the number, and a hash that says when two may be compared.

Published FVDs of one checkpoint differ by factors, through the split, the stride of the real clips, the number of
samples, the crop or the sampler. So all of that is one record here, its SHA-256 goes into every result, and results
whose hashes differ are not compared. What must not change the number (batch size, workers, processes) is not in it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import MISSING, asdict, dataclass, field
from enum import Enum
from typing import Any, Literal

from stbench.errors import StbenchError

# Raise it with every change of this package that changes a number.
METRIC_VERSION = 2
HASHED_OFFSET = "hash of seed and video"
FIRST_FRAME = "first frame"
OFFSET_RULES = (HASHED_OFFSET, FIRST_FRAME)

SideName = Literal["real", "fake"]


class _Open(Enum):
    OPEN = "the run's"

    def __str__(self) -> str:
        return self.value

    __repr__ = __str__


OPEN: Any = _Open.OPEN
"""What only the run knows: it stands in presets, and in no protocol that is hashed or written."""


def condition(
    about: str,
    default: Any = MISSING,
    *,
    at_least: int | None = None,
    told_by: Literal["detector", "dataset", "run"] | None = None,
    in_fvd: Literal["executed", "told"] | None = None,
    decides_features: bool = False,
) -> Any:
    """Declare one field of a protocol: one line of meaning, its default, and its role.

    Args:
        about: the meaning.
        default: of presets; `OPEN` where only the run knows.
        at_least: the smallest number that makes sense.
        told_by: whose fact it is when a run's protocol is filled in; None for what the preset alone says.
        in_fvd: whether a user of `stbench fvd` may say it, and the command does as it says or can only be told.
        decides_features: whether the features of both sides depend on it; see `Protocol.side` for one side's own.
    """
    roles = {"at_least": at_least, "told_by": told_by, "in_fvd": in_fvd, "decides_features": decides_features}
    return field(default=default, metadata={"about": about, **roles})


@dataclass(frozen=True)
class SideRule:
    """What a protocol says of one side of a comparison only."""

    frame_stride: int  # step between the frames of a clip
    offset_rule: str  # where in a video its clip begins, one of `OFFSET_RULES`
    num_clips: int | None  # None is all there are


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """Everything that moves a video distance; a preset leaves `OPEN` what only the run knows."""

    detector: str = condition('name in the catalogue, or "module:Class"', in_fvd="executed", decides_features=True)
    preprocessing: str = condition(
        "named way to the detector's input", told_by="detector", in_fvd="executed", decides_features=True
    )
    feature_dim: int = condition("width of the features", OPEN, at_least=1, told_by="detector", decides_features=True)
    num_frames: int = condition(
        "frames of a judged clip", OPEN, at_least=1, told_by="dataset", in_fvd="executed", decides_features=True
    )
    detector_weights_sha256: str = condition("of the weights file", OPEN, told_by="detector", decides_features=True)
    detector_code_sha256: str | None = condition(
        "of its code; None for what comes with stbench", OPEN, told_by="detector", decides_features=True
    )
    detector_precision: str = condition("arithmetic of the detector", "float32", decides_features=True)
    bn_eps: float | None = condition(
        "epsilon of its batch norms, None without any; published I3D code has 1e-3 and 1e-5 for the same names",
        OPEN,
        told_by="detector",
        decides_features=True,
    )

    frame_stride_real: int = condition(
        "step between frames taken from real videos", OPEN, at_least=1, told_by="dataset", in_fvd="executed"
    )
    frame_stride_fake: int = condition("the same for generated clips", 1, at_least=1, in_fvd="executed")
    resolution: int = condition(
        "height and width of the clips handed to the detector's preprocessing, pixels",
        OPEN,
        at_least=1,
        told_by="dataset",
        in_fvd="executed",
        decides_features=True,
    )
    spatial_rule: str = condition(
        "how frames of videos get to that resolution, of `data.spatial.SPATIAL_RULES`",
        "crop-resize-lanczos",
        told_by="dataset",
        in_fvd="executed",
        decides_features=True,
    )
    value_range: tuple[float, float] = condition("of the clips", (-1.0, 1.0), decides_features=True)
    storage: str = condition("how clips are kept before they are judged", "uint8, lossless")

    dataset: str | None = condition(
        "name of the real clips' data set, None where nobody named it", OPEN, told_by="dataset", in_fvd="told"
    )
    dataset_manifest_sha256: str = condition("of the list of its files", OPEN, told_by="dataset")
    dataset_code_sha256: str | None = condition(
        "of the code that reads or draws it and its arguments; None for what comes with stbench",
        OPEN,
        told_by="dataset",
    )
    split: str = condition(
        "part of the data set that the real clips come from", "train", told_by="dataset", in_fvd="told"
    )
    short_video_rule: str = condition(
        "what happens to a video shorter than its clip, (num_frames - 1) * stride + 1 frames",
        "dropped",
        decides_features=True,
    )
    clips_per_video: int | None = condition(
        "real clips taken from one video; None is as many as fit", 1, at_least=1, decides_features=True
    )
    offset_rule: str = condition(
        "where in a real video its clip begins, one of `OFFSET_RULES`", HASHED_OFFSET, in_fvd="executed"
    )
    offset_rule_fake: str = condition("where in a generated video its clip begins", FIRST_FRAME, in_fvd="executed")
    clip_seed: int = condition(
        "of the choice of videos and of the clips in them", 0, in_fvd="executed", decides_features=True
    )

    num_real: int | None = condition(
        "number of real clips; None is every clip of the split", 2048, at_least=1, told_by="run", in_fvd="executed"
    )
    num_fake: int = condition("number of generated clips", 2048, at_least=1, told_by="run", in_fvd="executed")
    # None in the next nine: nobody said, or the clips were not sampled, or not from latents.
    sampler: str | None = condition("of the generated clips", OPEN, told_by="run", in_fvd="told")
    num_sampling_steps: int | None = condition("of the sampler", OPEN, at_least=1, told_by="run", in_fvd="told")
    cfg_scale: float | None = condition("of classifier-free guidance; 1 is none", OPEN, told_by="run", in_fvd="told")
    guided_channels: int | None = condition(
        "how many channels that guidance changes; None without any", OPEN, at_least=1, told_by="run", in_fvd="told"
    )
    class_labels: str | None = condition(
        'of the generated clips: "none", or which classes in which shares', OPEN, told_by="run", in_fvd="told"
    )
    sampling_precision: str | None = condition("arithmetic of the sampled network", OPEN, told_by="run", in_fvd="told")
    ema: bool | None = condition("whether the averaged weights were sampled from", OPEN, told_by="run", in_fvd="told")
    autoencoder: str | None = condition("name", OPEN, told_by="run", in_fvd="told")
    autoencoder_sha256: str | None = condition("of its files; None for pixels", OPEN, told_by="run", in_fvd="told")
    sampling_seed: int = condition("of the noise that sampling starts from", 0, told_by="run", in_fvd="told")

    covariance_ddof: int = condition("covariances divide by N minus this", 1)
    metric_version: int = condition("`METRIC_VERSION` of the code", METRIC_VERSION, decides_features=True)

    def __post_init__(self) -> None:
        for declared in dataclasses.fields(self):
            value, at_least = getattr(self, declared.name), declared.metadata["at_least"]
            if at_least is not None and value is not None and value is not OPEN and value < at_least:
                raise StbenchError(f"protocol.{declared.name}: expected at least {at_least}, got {value}")
        if self.cfg_scale is not None and self.cfg_scale is not OPEN:  # 7 and 7.0 are one protocol, and one hash
            object.__setattr__(self, "cfg_scale", float(self.cfg_scale))
        object.__setattr__(self, "value_range", tuple(float(bound) for bound in self.value_range))

    def side(self, name: SideName) -> SideRule:
        """What holds for the real or for the generated clips only."""
        if name == "real":
            return SideRule(self.frame_stride_real, self.offset_rule, self.num_real)
        return SideRule(self.frame_stride_fake, self.offset_rule_fake, self.num_fake)

    def to_dict(self) -> dict[str, Any]:
        """The fields as values that JSON knows.

        Raises:
            StbenchError: a field is still open.
        """
        if left := open_fields(self):
            raise StbenchError(f"protocol.{left[0]} is open: only a protocol that is filled in says what was measured")
        return {**asdict(self), "value_range": list(self.value_range)}


def fields_where(**roles: object) -> list[str]:
    """Names of the fields of a protocol whose roles are these, such as `told_by="detector"`; see `condition`."""
    return [
        declared.name
        for declared in dataclasses.fields(Protocol)
        if all(declared.metadata[role] == value for role, value in roles.items())
    ]


def open_fields(protocol: Protocol) -> list[str]:
    """Names of the fields that are still open."""
    return [declared.name for declared in dataclasses.fields(protocol) if getattr(protocol, declared.name) is OPEN]


def protocol_hash(protocol: Protocol) -> str:
    """SHA-256, hexadecimal, of one spelling of a protocol as JSON: sorted keys, no spaces, ASCII, no NaN.

    Raises:
        StbenchError: a field is still open.
    """
    text = json.dumps(protocol.to_dict(), sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def difference(a: Protocol, b: Protocol) -> dict[str, tuple[Any, Any]]:
    """The fields in which two protocols differ, each with both values; empty when results may be compared."""
    left, right = a.to_dict(), b.to_dict()
    return {name: (left[name], right[name]) for name in left if left[name] != right[name]}

"""The named protocols, and how a protocol is filled in with what only the run knows. Imports without torch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from stbench.errors import StbenchError, unknown_name
from stbench.metrics.catalogue import DETECTORS
from stbench.records.protocol import HASHED_OFFSET, OPEN, Protocol, fields_where, open_fields
from stbench.runtime.code import code_sha256
from stbench.storage.hashing import sha256_of

if TYPE_CHECKING:
    from stbench.data.clips import ClipDataset
    from stbench.settings.components import Component


def _named(detector: str, **fields: Any) -> Protocol:
    info = DETECTORS[detector]
    of_detector = {
        "preprocessing": info.default_preprocessing,
        "feature_dim": info.feature_dim,
        "bn_eps": info.bn_eps,
    }
    return Protocol(**{"detector": detector, **of_detector, **fields})


_I3D = _named("i3d", num_frames=16, frame_stride_real=1, resolution=256)
_LATTE = replace(_I3D, frame_stride_real=3)
# cd-fvd's defaults: every real clip, generated clips from anywhere. It makes the frames of video files square in
# another way than folders of frames, so there is a protocol for each.
_CDFVD = replace(
    _I3D, preprocessing="cdfvd", num_real=None, spatial_rule="cdfvd-videos", offset_rule_fake=HASHED_OFFSET
)
# The same with features of a ViT-g finetuned on Something-Something v2, which has 1408 of them.
_CDFVD_VIDEOMAE = replace(_CDFVD, detector="videomae", feature_dim=1408, bn_eps=None)

PROTOCOLS: dict[str, Protocol] = {
    # Clips as long and as fast as the run's own. 256 of them are four times the width of the features: the fewest that
    # have an FVD_inf.
    "builtin": _named("shapes3d", num_real=256, num_fake=256),
    # StyleGAN-V's fvd2048_16f: one clip per real video of the training split.
    "styleganv-2048-16f": replace(_I3D, spatial_rule="resize-crop-lanczos"),
    # Its fvd2048_128f, for long videos.
    "styleganv-2048-128f": replace(_I3D, spatial_rule="resize-crop-lanczos", num_frames=128),
    # MoCoGAN-HD trains on every second frame, so real clips as fast as its samples have stride 2; its FVD of UCF101 is
    # the first TensorFlow code's, of all 13,320 videos at 128 pixels (MoCoGAN-HD issues 4 and 7).
    "mocogan-hd-2048-16f": replace(_I3D, preprocessing="cdfvd", resolution=128, frame_stride_real=2),
    # Latte's tools: strides 3 and 1 are written into the code; Taichi-HD took 6 (Latte issue 115). They also drop
    # videos that are up to stride - 1 frames longer than a clip.
    "latte-2048-16f": _LATTE,
    "latte-taichi": replace(_LATTE, frame_stride_real=6),
    "cdfvd-i3d": _CDFVD,
    "cdfvd-i3d-frames": replace(_CDFVD, spatial_rule="cdfvd-frames"),
    "cdfvd-videomae": _CDFVD_VIDEOMAE,
    "cdfvd-videomae-frames": replace(_CDFVD_VIDEOMAE, spatial_rule="cdfvd-frames"),
    # TGANv2's Inception Score of UCF101 (arXiv 1811.09245): 2048 clips at once. Clips as large as the run's own.
    "tganv2-is-2048-16f": _named("c3d", num_frames=16),
}


def get_protocol(name: str) -> Protocol:
    """Return the protocol called `name`, or raise the error that lists them.

    "module:Class" is the built-in one with another package's detector, which says the rest.
    """
    if ":" in name:
        return replace(PROTOCOLS["builtin"], detector=name, **dict.fromkeys(fields_where(told_by="detector"), OPEN))
    if name not in PROTOCOLS:
        raise unknown_name("protocol", name, PROTOCOLS)
    return PROTOCOLS[name]


@dataclass(frozen=True, kw_only=True)
class DetectorFacts:
    """What a detector tells of itself; the names are those of a protocol's fields, as below."""

    preprocessing: str
    feature_dim: int
    detector_weights_sha256: str
    detector_code_sha256: str | None
    bn_eps: float | None


@dataclass(frozen=True, kw_only=True)
class ClipFacts:
    """What the real clips tell; `OPEN` is for what is known only when they have been read."""

    num_frames: int
    frame_stride_real: int
    resolution: int
    spatial_rule: str
    dataset: str | None
    dataset_manifest_sha256: str
    dataset_code_sha256: str | None
    split: str


@dataclass(frozen=True, kw_only=True)
class SamplingFacts:
    """How the generated clips were sampled, and how many are compared: what the run that made them tells."""

    num_real: int | None
    num_fake: int
    sampler: str
    num_sampling_steps: int
    cfg_scale: float
    guided_channels: int | None
    class_labels: str
    sampling_precision: str
    ema: bool
    autoencoder: str
    autoencoder_sha256: str | None
    sampling_seed: int


# Arguments of datasets of which a protocol tells in other fields, or that cannot move a real clip.
_TOLD_OTHERWISE = ("root", "seed", "image_size", "num_frames", "frame_stride", "spatial_rule", "held_out")


def clip_facts(dataset: ClipDataset, component: Component) -> ClipFacts:
    """What a dataset of real clips tells, and the component that it was built of."""
    about = dataset.describe()
    return ClipFacts(
        num_frames=dataset.num_frames,
        frame_stride_real=dataset.frame_stride,
        resolution=dataset.image_size,
        spatial_rule=about.resize or "drawn at this resolution",
        dataset=component.name,
        dataset_manifest_sha256=about.manifest_sha256,
        dataset_code_sha256=_own_sha256(component),
        split=getattr(dataset, "split", "all"),
    )


def _own_sha256(component: Component) -> str | None:
    """SHA-256 of a dataset's code and arguments, of which its manifest need not tell; None where it is stbench's."""
    code = code_sha256(component.target, component.folder)
    arguments = {name: value for name, value in component.arguments.items() if name not in _TOLD_OTHERWISE}
    return code and sha256_of([code, arguments])


def filled_in(
    protocol: Protocol, *, detector: DetectorFacts, clips: ClipFacts, sampling: SamplingFacts | None = None
) -> Protocol:
    """Fill a protocol in: what the detector, the real clips and the run tell stands above what it says by itself.

    Args:
        protocol: a named one, or a protocol of one's own.
        detector: what judges the clips.
        clips: the real ones.
        sampling: how the others were sampled. None where they come from elsewhere, or are real, too: what a run would
            tell and nobody has said is None then.

    Raises:
        StbenchError: a field stays open that nobody has filled.
    """
    if sampling is None:
        told_by_run = {name: None for name in fields_where(told_by="run") if getattr(protocol, name) is OPEN}
    else:
        told_by_run = vars(sampling)
    facts: dict[str, Any] = {**vars(detector), **vars(clips), **told_by_run}
    filled = replace(protocol, **facts)
    if left := [name for name in open_fields(filled) if name not in facts]:
        raise StbenchError(f"protocol.{left[0]} is open, and neither detector nor clips nor run tell it")
    return filled

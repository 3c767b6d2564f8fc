"""The named protocols, and what a detector and a dataset tell of one. Imports without torch."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from stbench.errors import unknown_name
from stbench.metrics.catalogue import DETECTORS
from stbench.records.protocol import HASHED_OFFSET, Protocol

if TYPE_CHECKING:
    from stbench.data.clips import ClipDataset
    from stbench.metrics.detectors import Detector
    from stbench.settings.components import Component


def _preset(detector: str, **fields: Any) -> Protocol:
    info = DETECTORS[detector]
    of_detector = {"preprocessing": info.default_preprocessing, "feature_dim": info.feature_dim}
    return Protocol(**{"detector": detector, **of_detector, **fields})


_STYLEGANV = _preset("i3d", num_frames=16, resolution=256)
_LATTE = replace(_STYLEGANV, frame_stride_real=3)
# cd-fvd's defaults: every real clip, short side scaled with a low-pass filter, generated clips from anywhere.
_CDFVD = replace(
    _STYLEGANV,
    preprocessing="cdfvd",
    num_real=None,
    spatial_rule="resize-crop-lanczos",
    offset_rule_fake=HASHED_OFFSET,
)

PROTOCOLS: dict[str, Protocol] = {
    # Clips as long and as fast as the run's own. 256 of them are four times the width of the features: the fewest that
    # FVD_inf can be fitted to.
    "builtin": _preset("shapes3d", frame_stride_real=None, num_real=256, num_fake=256),
    # StyleGAN-V's fvd2048_16f: one clip per real video of the training split.
    "styleganv-2048-16f": _STYLEGANV,
    # Latte's tools: strides 3 and 1 are written into the code; Taichi-HD took 6 (Latte issue 115). They also drop
    # videos that are up to stride - 1 frames longer than a clip.
    "latte-2048-16f": _LATTE,
    "latte-taichi": replace(_LATTE, frame_stride_real=6),
    "cdfvd-i3d": _CDFVD,
    # The same with features of a ViT-g finetuned on Something-Something v2, which has 1408 of them and no batch norm.
    "cdfvd-videomae": replace(_CDFVD, detector="videomae", feature_dim=1408, bn_eps=None),
    # TGANv2's Inception Score of UCF101 (arXiv 1811.09245): 2048 clips at once. Clips as large as the run's own.
    "tganv2-is-2048-16f": _preset("c3d", num_frames=16, frame_stride_real=None, bn_eps=None),
}


def get_protocol(name: str) -> Protocol:
    """Return the preset called `name`, or raise the error that lists them."""
    if name not in PROTOCOLS:
        raise unknown_name("protocol", name, PROTOCOLS)
    return PROTOCOLS[name]


def described(detector: Detector, component: Component, dataset: ClipDataset) -> dict[str, Any]:
    """The fields of a protocol that a detector and a dataset of real clips tell of themselves."""
    about = dataset.describe()
    return {
        "feature_dim": detector.feature_dim,
        "detector_weights_sha256": detector.weights_sha256,
        "num_frames": dataset.num_frames,
        "frame_stride_real": dataset.frame_stride,
        "resolution": dataset.image_size,
        "spatial_rule": about.resize or "drawn at this resolution",
        "dataset": component.name,
        "dataset_manifest_sha256": about.manifest_sha256,
        "split": component.arguments.get("split", "all"),
    }

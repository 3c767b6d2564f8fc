"""What there is to choose from: the detectors and their preprocessings, as plain data that imports without torch."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Literal

from stbench.errors import unknown_name

PerChannel = float | tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """How clips in [-1, 1] are brought to a detector's input size and range."""

    size: int  # height and width of the detector's input, pixels
    # What is scaled to `size`: both sides, or the short one, the long one's size being rounded up or down (see
    # `data.spatial.scaled_up`), and then the centre cropped.
    scaled: Literal["stretched", "up", "down"]
    antialias: bool  # low-pass filter before shrinking
    scale: PerChannel = 1.0  # factor on the values after resizing, one for all channels or one for each
    shift: PerChannel = 0.0  # added to the values after `scale`
    resized: int | None = None  # size that frames are scaled to before the centre is cropped; `size` itself when None
    interpolation: str = "bilinear"  # or "bicubic"
    align_corners: bool = False  # whether the corner pixels' centres stay in place, instead of the image's corners
    source: str  # who does it like this


@dataclass(frozen=True, kw_only=True)
class DetectorInfo:
    """A detector that ships with stbench."""

    class_path: str  # "module:Class" of the `Detector`
    feature_dim: int | None  # width D of its features; None where the weights decide
    min_frames: int  # fewest frames a clip may have
    bn_eps: float | None  # epsilon of its batch norms; None without any
    description: str  # one line for people
    preprocessings: MappingProxyType[str, Preprocessing] = field(repr=False)  # by name; the first one is the default
    # Clips on each side at which its Fréchet distance counts as more than exploratory; None for a detector whose
    # numbers mean nothing outside stbench.
    standard_samples: int | None = None
    weights_variable: str | None = None  # environment variable that names the weights; None when they come with stbench
    weights_source: str | None = None  # where people get the weights
    cache_name: str = ""  # what to call them in the user's cache
    weights_may_be_folder: bool = False  # whether the weights may be a folder of files
    has_inception_score: bool = False  # whether its features are the logits that an Inception Score is taken of

    @property
    def default_preprocessing(self) -> str:
        """Name of the preprocessing that is taken when none is asked for."""
        return next(iter(self.preprocessings))


# Each reference was read. Those of I3D are all bilinear with align_corners False; they differ in crop and range, and of
# square frames in `scaled_up` alone.
_VIDEOGPT = Preprocessing(
    size=224, scaled="up", antialias=False, source="VideoGPT since 9 June 2021 (ce18ae8), PVDM and common_metrics"
)
_I3D_PREPROCESSINGS = {
    "styleganv": Preprocessing(
        size=224, scaled="stretched", antialias=False, source="StyleGAN-V and Latte, whose frames are square before"
    ),
    "videogpt": _VIDEOGPT,
    # In its first week the release subtracted 0.5 from [0, 1] and did not double: half of the range I3D was trained on.
    "videogpt-2021-06-02": replace(_VIDEOGPT, scale=0.5, source="VideoGPT of 2 to 9 June 2021: range [-0.5, 0.5]"),
    "cdfvd": Preprocessing(
        size=224, scaled="stretched", antialias=False, source="cd-fvd, and the first TensorFlow code"
    ),
}

# Mean and standard deviation of ImageNet's pixels in [0, 1], which VideoMAE was trained with.
_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_VIDEOMAE_PREPROCESSINGS = {
    # cd-fvd's preprocess_videomae stretches and stays in [0, 1]: it does not normalise as VideoMAE was trained to.
    "cdfvd": Preprocessing(
        size=224, scaled="stretched", antialias=False, scale=0.5, shift=0.5, source="cd-fvd as published, range [0, 1]"
    ),
    "imagenet": Preprocessing(
        size=224,
        scaled="down",
        antialias=True,
        scale=(0.5 / _IMAGENET_STD[0], 0.5 / _IMAGENET_STD[1], 0.5 / _IMAGENET_STD[2]),
        shift=(
            (0.5 - _IMAGENET_MEAN[0]) / _IMAGENET_STD[0],
            (0.5 - _IMAGENET_MEAN[1]) / _IMAGENET_STD[1],
            (0.5 - _IMAGENET_MEAN[2]) / _IMAGENET_STD[2],
        ),
        source="transformers' VideoMAE image processor: short side, centre crop, normalised by ImageNet's statistics",
    ),
}

# C3D sees pixels in 0..255; the mean clip is subtracted by the detector.
_C3D_PREPROCESSINGS = {
    "tgan2": Preprocessing(
        size=112,
        scaled="stretched",
        antialias=False,
        scale=127.5,
        shift=127.5,
        align_corners=True,
        source="TGANv2's chainer code",
    ),
    "tgan": Preprocessing(
        size=112,
        scaled="stretched",
        antialias=False,
        scale=127.5,
        shift=127.5,
        resized=128,
        interpolation="bicubic",
        source="TGAN's script",
    ),
}

_INCEPTION_PREPROCESSINGS = {
    "pytorch-fid": Preprocessing(
        size=299, scaled="stretched", antialias=False, source="pytorch-fid: stretched bilinearly, no low-pass filter"
    ),
    # (pixel - 128) / 128 of pixels in 0..255.
    "torchmetrics": Preprocessing(
        size=299,
        scaled="stretched",
        antialias=True,
        scale=127.5 / 128,
        shift=-0.5 / 128,
        source="torchmetrics' FrechetInceptionDistance, antialias=True",
    ),
}

DETECTORS: dict[str, DetectorInfo] = {
    "shapes3d": DetectorInfo(
        class_path="stbench.metrics.detectors.shapes3d:Shapes3DDetector",
        feature_dim=64,
        min_frames=4,
        bn_eps=1e-5,
        description="small 3-D convolutional network trained on synthetic clips, included; comparable within stbench",
        preprocessings=MappingProxyType(
            {"resize32": Preprocessing(size=32, scaled="stretched", antialias=True, source="stbench")}
        ),
    ),
    "i3d": DetectorInfo(
        class_path="stbench.metrics.detectors.i3d:I3DDetector",
        feature_dim=400,
        min_frames=9,  # fewer leave one time step, and the average pooling spans two
        bn_eps=1e-5,
        description="I3D trained on Kinetics-400, logits: the detector of published FVD",
        preprocessings=MappingProxyType(_I3D_PREPROCESSINGS),
        standard_samples=2048,  # StyleGAN-V (arXiv 2112.14683), Latte (arXiv 2401.03048)
        weights_variable="STBENCH_I3D",
        weights_source=(
            "TF-hub deepmind/i3d-kinetics-400/1 converted: i3d_torchscript.pt of the StyleGAN-V release "
            "or i3d_pretrained_400.pt of the VideoGPT and PVDM releases"
        ),
        cache_name="i3d.pt",
    ),
    "videomae": DetectorInfo(
        class_path="stbench.metrics.detectors.videomae:VideoMAEDetector",
        feature_dim=None,
        min_frames=2,  # one tubelet; the weights decide
        bn_eps=None,
        description="VideoMAE, patch tokens averaged: the detector of content-debiased FVD",
        preprocessings=MappingProxyType(_VIDEOMAE_PREPROCESSINGS),
        standard_samples=2048,  # cd-fvd's default number of generated clips (arXiv 2404.12391)
        weights_variable="STBENCH_VIDEOMAE",
        weights_source=(
            "vit_g_hybrid_pt_1200e_ssv2_ft.pth of VideoMAE v2, which cd-fvd uses, or a folder of a VideoMAE in the "
            "layout of transformers (config.json and weights)"
        ),
        cache_name="videomae.pth",
        weights_may_be_folder=True,
    ),
    "c3d": DetectorInfo(
        class_path="stbench.metrics.detectors.c3d:C3DDetector",
        feature_dim=101,
        min_frames=16,
        bn_eps=None,
        description="C3D finetuned on UCF101, logits: the classifier of the Inception Score of UCF101",
        preprocessings=MappingProxyType(_C3D_PREPROCESSINGS),
        standard_samples=2048,  # TGANv2's script compute_inception_score.py
        weights_variable="STBENCH_C3D",
        weights_source="conv3d_deepnetA_ucf.npz and, to lie beside it, mean2.npz of the TGANv2 release (rezoo/tgan2)",
        cache_name="c3d.npz",
        has_inception_score=True,
    ),
    "inception": DetectorInfo(
        class_path="stbench.metrics.detectors.inception:InceptionDetector",
        feature_dim=2048,
        min_frames=1,
        bn_eps=1e-3,
        description="Inception v3 of FID, one feature vector a frame: the detector of per-frame FID",
        preprocessings=MappingProxyType(_INCEPTION_PREPROCESSINGS),
        weights_variable="STBENCH_INCEPTION",
        weights_source=(
            "pt_inception-2015-12-05-6726825d.pth of pytorch-fid, or torch-fidelity's file of the same weights"
        ),
        cache_name="inception.pth",
    ),
}


def get_preprocessing(detector: str, name: str) -> Preprocessing:
    """Return a detector's preprocessing called `name`, or raise the error that lists them."""
    known = DETECTORS[detector].preprocessings
    if name not in known:
        raise unknown_name(f"preprocessing of {detector}", name, known)
    return known[name]

"""What there is to choose from: the detectors and their preprocessings, as plain data that imports without torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType

from stbench.errors import unknown_name


@dataclass(frozen=True)
class Preprocessing:
    """How clips in [-1, 1] are brought to a detector's input size and range.

    Attributes:
        size: height and width of the detector's input, pixels.
        crop: scale the short side and crop the centre; otherwise height and width are stretched.
        antialias: low-pass filter before shrinking.
        scale: factor on the values after resizing.
        source: who does it like this.
    """

    size: int
    crop: bool
    antialias: bool
    scale: float
    source: str


@dataclass(frozen=True)
class DetectorInfo:
    """A detector that ships with stbench.

    Attributes:
        class_path: "module:Class" of the `Detector`.
        feature_dim: width D of its features.
        min_frames: fewest frames a clip may have.
        description: one line for people.
        preprocessings: by name; the first one is the default.
        standard_samples: clips on each side at which its Fréchet distance counts as more than exploratory; None for a
            detector whose numbers mean nothing outside stbench.
        weights_variable: environment variable that names the weights file; None when the weights come with stbench.
        weights_source: where people get the weights.
    """

    class_path: str
    feature_dim: int
    min_frames: int
    description: str
    preprocessings: MappingProxyType[str, Preprocessing] = field(repr=False)
    standard_samples: int | None = None
    weights_variable: str | None = None
    weights_source: str | None = None

    @property
    def default_preprocessing(self) -> str:
        """Name of the preprocessing that is taken when none is asked for."""
        return next(iter(self.preprocessings))


# All bilinear with align_corners False. Each reference was read; they differ in the crop and in the range.
_I3D_PREPROCESSINGS = {
    "styleganv": Preprocessing(224, True, False, 1.0, "StyleGAN-V, Latte and PVDM; square frames are not cropped"),
    # VideoGPT subtracts 0.5 from [0, 1] and forgets to double: I3D sees half of the range it was trained on.
    "videogpt": Preprocessing(224, True, False, 0.5, "VideoGPT as published, range [-0.5, 0.5]"),
    "cdfvd": Preprocessing(224, False, False, 1.0, "cd-fvd, and the first TensorFlow code: stretched"),
}

DETECTORS: dict[str, DetectorInfo] = {
    "shapes3d": DetectorInfo(
        class_path="stbench.metrics.detectors.shapes3d:Shapes3DDetector",
        feature_dim=64,
        min_frames=4,
        description="small 3-D convolutional network trained on synthetic clips, included; comparable within stbench",
        preprocessings=MappingProxyType({"resize32": Preprocessing(32, False, True, 1.0, "stbench")}),
    ),
    "i3d": DetectorInfo(
        class_path="stbench.metrics.detectors.i3d:I3DDetector",
        feature_dim=400,
        min_frames=9,  # fewer leave one time step, and the average pooling spans two
        description="I3D trained on Kinetics-400, logits: the detector of published FVD; its weights are not included",
        preprocessings=MappingProxyType(_I3D_PREPROCESSINGS),
        standard_samples=2048,  # StyleGAN-V (arXiv 2112.14683), Latte (arXiv 2401.03048)
        weights_variable="STBENCH_I3D",
        weights_source=(
            "TF-hub deepmind/i3d-kinetics-400/1 converted: i3d_torchscript.pt of the StyleGAN-V release "
            "or i3d_pretrained_400.pt of the VideoGPT and PVDM releases"
        ),
    ),
}


def get_preprocessing(detector: str, name: str) -> Preprocessing:
    """Return a detector's preprocessing called `name`, or raise the error that lists them."""
    known = DETECTORS[detector].preprocessings
    if name not in known:
        raise unknown_name(f"preprocessing of {detector}", name, known)
    return known[name]

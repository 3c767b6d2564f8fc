"""What a detector is, how to get one by name, and how to run it over many clips.

A detector is a frozen network from clips (N, 3, F, H, W) in [-1, 1] to features (N, D), or (N * F, D) when it looks at
every frame by itself. Its result must depend on the clips and the weights only: hence evaluation mode, float32 with
TF32 and autocast off, and a check of the input.
"""

from __future__ import annotations

import hashlib
import inspect
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from stbench.errors import StbenchError, check_whole, error_with_place, unknown_name
from stbench.metrics.catalogue import DETECTORS, get_preprocessing
from stbench.metrics.detector_weights import find_weights
from stbench.metrics.protocol import DetectorFacts
from stbench.progress import progress_bar
from stbench.runtime.code import code_sha256
from stbench.storage.hashing import file_sha256

# Decoders overshoot a little; the first FVD code asserts the same bound.
_RANGE_TOLERANCE = 1e-3
_REQUIRED_ATTRIBUTES = ("name", "feature_dim", "min_frames", "weights_sha256", "preprocessing")


class Detector(nn.Module, ABC):
    """Base class of detectors; a subclass sets the attributes and defines `compute_features`.

    Another package's detector is named "module:Class" and is built as `Class(weights=..., preprocessing=...)`, each
    argument only when it was given.

    Attributes:
        name: in results and messages.
        feature_dim: width D of the features.
        min_frames: fewest frames a clip may have.
        max_frames: most frames a clip may have; None is no limit.
        per_frame: whether there is a row of features for every frame instead of every clip.
        weights_sha256: of the weights file.
        preprocessing: name of the way from clips to the network's input.
        bn_eps: epsilon of its batch norms; None without any.
        class_names: what it tells apart as a classifier, in the order of `class_scores`; nothing when it is none.
    """

    name: ClassVar[str]
    feature_dim: int
    min_frames: int
    max_frames: int | None = None
    per_frame: ClassVar[bool] = False
    weights_sha256: str
    preprocessing: str
    bn_eps: float | None = None
    class_names: Sequence[str] = ()

    @abstractmethod
    def compute_features(self, clips: Tensor) -> Tensor:
        """Map checked clips (N, 3, F, H, W), float32 in [-1, 1], to features (N, D), or (N * F, D) per frame."""

    def forward(self, clips: Tensor) -> Tensor:
        """Return features (N, D), float32, of clips (N, 3, F, H, W), float32 in [-1, 1].

        With `per_frame` they are (N * F, D), the frames of a clip one after the other.

        Raises:
            StbenchError: clips of another shape, type or range, or with too few or too many frames; says what was seen.
        """
        check_clips(clips, self.name, self.min_frames, self.max_frames)
        self.eval()  # the statistics of a batch must not reach its features
        with torch.no_grad(), full_precision(clips.device.type):
            features = self.compute_features(clips)
        if not isinstance(features, Tensor):
            raise StbenchError(f"{self.name}: compute_features returned {type(features).__name__}, expected a tensor")
        expected = (len(clips) * self.rows_per_clip(clips.shape[2]), self.feature_dim)
        if tuple(features.shape) != expected:
            raise StbenchError(f"{self.name}: expected features {expected}, got shape {tuple(features.shape)}")
        return features

    def class_scores(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return how likely each of `class_names` is, (N, classes), on any rising scale; features are often logits."""
        return features

    def check_num_frames(self, num_frames: int, setting: str) -> None:
        """Refuse a clip length that the detector cannot judge, before any clip is made.

        Args:
            num_frames: F of the clips to come.
            setting: where the user sets it, for the message.
        """
        if not self.min_frames <= num_frames <= (self.max_frames or num_frames):
            asked = _frames_asked(self.min_frames, self.max_frames)
            raise StbenchError(f"{setting}={num_frames}: the detector {self.name} needs {asked}")

    def rows_per_clip(self, num_frames: int) -> int:
        """How many rows of features a clip of `num_frames` frames has."""
        return num_frames if self.per_frame else 1

    @property
    def facts(self) -> DetectorFacts:
        """What it tells of itself to a protocol."""
        return DetectorFacts(
            preprocessing=self.preprocessing,
            feature_dim=self.feature_dim,
            detector_weights_sha256=self.weights_sha256,
            detector_code_sha256=code_sha256(f"{type(self).__module__}:{type(self).__name__}", None),
            bn_eps=self.bn_eps,
        )

    @property
    def device(self) -> torch.device:
        """Where the weights are; the CPU for a detector without any."""
        return next((parameter.device for parameter in self.parameters()), torch.device("cpu"))


class CatalogueDetector(Detector):
    """A detector of the catalogue: it stands there under its name, with its preprocessings and where its weights are.

    Args:
        weights: file or folder; found as the catalogue says when None.
        preprocessing: one of the catalogue's; its first when None.
    """

    def __init__(self, weights: str | Path | None = None, preprocessing: str | None = None) -> None:
        super().__init__()
        self.preprocessing = preprocessing or DETECTORS[self.name].default_preprocessing
        self.rule = get_preprocessing(self.name, self.preprocessing)
        self.bn_eps = DETECTORS[self.name].bn_eps
        self.load(find_weights(self.name, weights))

    @abstractmethod
    def load(self, path: Path) -> None:
        """Build the network, load the weights strictly, and set `weights_sha256`."""


def check_clips(clips: Tensor, name: str, min_frames: int, max_frames: int | None = None) -> None:
    """Refuse what is not a batch of clips (N, 3, F, H, W), float32 in [-1, 1]."""
    shape = tuple(clips.shape)
    if clips.ndim != 5 or shape[1] != 3:
        hint = "; this looks like (N, F, 3, H, W): swap the two" if clips.ndim == 5 and shape[2] == 3 else ""
        raise StbenchError(f"{name}: expected clips (N, 3, F, H, W), got shape {shape}{hint}")
    if 0 in shape:
        raise StbenchError(f"{name}: expected clips (N, 3, F, H, W), got an empty batch of shape {shape}")
    if not min_frames <= shape[2] <= (max_frames or shape[2]):
        asked = _frames_asked(min_frames, max_frames)
        raise StbenchError(f"{name}: needs {asked} frames a clip, got {shape[2]} (shape {shape})")
    if clips.dtype != torch.float32:
        raise StbenchError(f"{name}: expected float32 clips in [-1, 1], got {clips.dtype}")
    low, high = clips.min().item(), clips.max().item()
    if not -1 - _RANGE_TOLERANCE <= low <= high <= 1 + _RANGE_TOLERANCE:  # false for NaN, too
        raise StbenchError(f"{name}: expected values in [-1, 1], got {low:.4g} to {high:.4g} (shape {shape})")


def _frames_asked(min_frames: int, max_frames: int | None) -> str:
    if max_frames is None:
        return f"at least {min_frames}"
    return f"exactly {min_frames}" if min_frames == max_frames else f"{min_frames} to {max_frames}"


@contextmanager
def full_precision(device_type: str) -> Iterator[None]:
    """Switch autocast and all reduced-precision float32 arithmetic off, and back to what it was."""
    backends: Any = torch.backends  # torch's annotations leave the settings per kernel out
    with ExitStack() as stack:
        for kernel in (backends.cuda.matmul, backends.cudnn.conv, backends.mkldnn.matmul, backends.mkldnn.conv):
            stack.callback(setattr, kernel, "fp32_precision", kernel.fp32_precision)
            kernel.fp32_precision = "ieee"
        stack.enter_context(torch.autocast(device_type, enabled=False))
        yield


def build_detector(
    name: str,
    weights: str | Path | None = None,
    preprocessing: str | None = None,
    device: str | torch.device = "cpu",
) -> Detector:
    """Build a detector, ready to use.

    Args:
        name: in the catalogue ("shapes3d", "i3d"), or "module:Class" of a `Detector`.
        weights: file; by default what ships with stbench or is found as the catalogue says.
        preprocessing: name of one of the detector's preprocessings; its default when None.
        device: where to put it.

    Raises:
        StbenchError: unknown name or preprocessing; weights missing, damaged or of another network.
    """
    if name not in DETECTORS and ":" not in name:
        raise unknown_name("detector", name, DETECTORS)
    given = {"weights": weights, "preprocessing": preprocessing}
    arguments = {key: value for key, value in given.items() if value is not None}
    if name in DETECTORS:
        detector = pkgutil.resolve_name(DETECTORS[name].class_path)(**arguments)
    else:
        detector = _build_plugin(name, arguments)
    return detector.to(device)


def combined_sha256(paths: Iterable[Path]) -> str:
    """SHA-256 of weights that are several files: of their digests, in the given order; of one file, its own."""
    digests = [file_sha256(path) for path in paths]
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode("ascii")).hexdigest()


def extract_features(
    detector: Detector, clip_batches: Iterable[Tensor], total: int, progress_label: str
) -> NDArray[np.float32]:
    """Run a detector over batches of clips and return their features (N, D), in order.

    Args:
        detector: any detector; batches are moved to its device. With `per_frame` there are (total * F, D) features.
        clip_batches: tensors (N, 3, F, H, W), float32 in [-1, 1]; sizes may differ.
        total: clips that the batches hold in all; N may be smaller, where some could not be read.
        progress_label: shown on standard error.

    Raises:
        StbenchError: more clips than `total`, features that are not finite or not of width D.
    """
    parts: list[NDArray[np.float32]] = []
    done = 0
    with progress_bar(progress_label, total) as advance:
        for clips in clip_batches:
            if done + len(clips) > total:
                raise StbenchError(f"{progress_label}: expected {total} clips, got at least {done + len(clips)}")
            parts.append(features_of(detector, clips, range(done, done + len(clips))))
            done += len(clips)
            advance(len(clips))
    return np.concatenate([np.empty((0, detector.feature_dim), dtype=np.float32), *parts])


def features_of(detector: Detector, clips: Tensor, names: Sequence[object]) -> NDArray[np.float32]:
    """Run a detector over one batch of clips on its device and return their features, as `Detector.forward` has them.

    Args:
        detector: any detector.
        clips: (N, 3, F, H, W), float32 in [-1, 1].
        names: N names or numbers of the clips, for the message.

    Raises:
        StbenchError: features that are not finite; says of which clip.
    """
    features = detector(clips.to(detector.device)).float().cpu().numpy()
    finite = np.isfinite(features).all(axis=1)
    if not finite.all():
        name = names[int(np.argmin(finite)) // detector.rows_per_clip(clips.shape[2])]
        raise StbenchError(f"{detector.name}: features of clip {name} are not finite")
    return features


def _build_plugin(class_path: str, arguments: dict[str, Any]) -> Detector:
    """Build another package's detector, and see that it says all that a detector has to say."""
    where = f"detector {class_path!r}"
    try:
        detector_class = pkgutil.resolve_name(class_path)
    except (Exception, SystemExit) as error:  # a module of the user's may do anything
        raise StbenchError(f"{where}: cannot be imported as module:Class: {error_with_place(error)}") from error
    if not (isinstance(detector_class, type) and issubclass(detector_class, Detector)):
        raise StbenchError(f"{where}: expected a subclass of stbench's Detector, got {detector_class!r}")
    accepted = inspect.signature(detector_class).parameters
    refused = [key for key in arguments if key not in accepted]
    if refused and not any(each.kind is each.VAR_KEYWORD for each in accepted.values()):
        raise StbenchError(f"{where}: its constructor does not take {' and '.join(refused)}")
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)  # weights that are drawn are the same in every process
            detector = detector_class(**arguments)
    except (Exception, SystemExit) as error:  # so may its constructor
        raise StbenchError(f"{where}: cannot be built: {error_with_place(error)}") from error
    missing = [name for name in _REQUIRED_ATTRIBUTES if not hasattr(detector, name)]
    if missing:
        raise StbenchError(f"{where}: lacks {', '.join(missing)}; see Detector's attributes")
    check_whole(1, f"{where}: ", feature_dim=detector.feature_dim, min_frames=detector.min_frames)
    for name in ("name", "weights_sha256", "preprocessing"):
        if not isinstance(getattr(detector, name), str):
            raise StbenchError(f"{where}: {name}={getattr(detector, name)!r}: expected a text")
    return detector

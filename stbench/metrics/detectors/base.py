"""What a detector is, how to get one by name, and how to run it over many clips.

A detector is a frozen network from clips (N, 3, F, H, W) in [-1, 1] to features (N, D). Its result must depend on the
clips and the weights only: hence evaluation mode, float32 with TF32 and autocast off, and a check of the input.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from stbench.errors import StbenchError, unknown_name
from stbench.metrics.catalogue import DETECTORS
from stbench.progress import progress_bar

# Decoders overshoot a little; the first FVD code asserts the same bound.
_RANGE_TOLERANCE = 1e-3


class Detector(nn.Module, ABC):
    """Base class of detectors; a subclass sets the attributes and defines `compute_features`.

    Another package's detector is named "module:Class" and is built as `Class(weights=..., preprocessing=...)`, each
    argument only when it was given.

    Attributes:
        name: in results and messages.
        feature_dim: width D of the features.
        min_frames: fewest frames a clip may have.
        weights_sha256: of the weights file.
        preprocessing: name of the way from clips to the network's input.
    """

    name: ClassVar[str]
    feature_dim: ClassVar[int]
    min_frames: ClassVar[int]
    weights_sha256: str
    preprocessing: str

    @abstractmethod
    def compute_features(self, clips: Tensor) -> Tensor:
        """Map checked clips (N, 3, F, H, W), float32 in [-1, 1], to features (N, D)."""

    def forward(self, clips: Tensor) -> Tensor:
        """Return features (N, D), float32, of clips (N, 3, F, H, W), float32 in [-1, 1].

        Raises:
            StbenchError: clips of another shape, type or range, or with too few frames; says what was seen.
        """
        check_clips(clips, self.name, self.min_frames)
        self.eval()  # the statistics of a batch must not reach its features
        with torch.no_grad(), full_precision(clips.device.type):
            return self.compute_features(clips)

    @property
    def device(self) -> torch.device:
        """Where the weights are; the CPU for a detector without any."""
        return next((parameter.device for parameter in self.parameters()), torch.device("cpu"))


def check_clips(clips: Tensor, name: str, min_frames: int) -> None:
    """Refuse what is not a batch of clips (N, 3, F, H, W), float32 in [-1, 1]."""
    shape = tuple(clips.shape)
    if clips.ndim != 5 or shape[1] != 3:
        hint = "; this looks like (N, F, 3, H, W): swap the two" if clips.ndim == 5 and shape[2] == 3 else ""
        raise StbenchError(f"{name}: expected clips (N, 3, F, H, W), got shape {shape}{hint}")
    if 0 in shape:
        raise StbenchError(f"{name}: expected clips (N, 3, F, H, W), got an empty batch of shape {shape}")
    if shape[2] < min_frames:
        raise StbenchError(f"{name}: needs at least {min_frames} frames a clip, got {shape[2]} (shape {shape})")
    if clips.dtype != torch.float32:
        raise StbenchError(f"{name}: expected float32 clips in [-1, 1], got {clips.dtype}")
    low, high = clips.min().item(), clips.max().item()
    if not -1 - _RANGE_TOLERANCE <= low <= high <= 1 + _RANGE_TOLERANCE:  # false for NaN, too
        raise StbenchError(f"{name}: expected values in [-1, 1], got {low:.4g} to {high:.4g} (shape {shape})")


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
    info = DETECTORS.get(name)
    if info is None and ":" not in name:
        raise unknown_name("detector", name, DETECTORS)
    detector_class = _import_detector(info.class_path if info else name)
    given = {"weights": weights, "preprocessing": preprocessing}
    detector = detector_class(**{key: value for key, value in given.items() if value is not None})
    return detector.to(device)


def extract_features(
    detector: Detector, clip_batches: Iterable[Tensor], total: int, progress_label: str
) -> NDArray[np.float32]:
    """Run a detector over batches of clips and return their features (total, D), in order.

    Args:
        detector: any detector; batches are moved to its device.
        clip_batches: tensors (N, 3, F, H, W), float32 in [-1, 1]; sizes may differ.
        total: clips that the batches hold in all.
        progress_label: shown on standard error.

    Raises:
        StbenchError: more or fewer clips than `total`, features that are not finite or not of width D.
    """
    features = np.empty((total, detector.feature_dim), dtype=np.float32)
    done = 0
    with progress_bar(progress_label, total) as advance:
        for clips in clip_batches:
            batch = detector(clips.to(detector.device)).cpu().numpy()
            _check_batch(detector, batch, done, total)
            features[done : done + len(batch)] = batch
            done += len(batch)
            advance(len(batch))
    if done != total:
        raise StbenchError(f"{progress_label}: expected {total} clips, got {done}")
    return features


def _check_batch(detector: Detector, batch: NDArray[np.float32], done: int, total: int) -> None:
    if batch.ndim != 2 or batch.shape[1] != detector.feature_dim:
        raise StbenchError(f"{detector.name}: expected features (N, {detector.feature_dim}), got {batch.shape}")
    if done + len(batch) > total:
        raise StbenchError(f"{detector.name}: expected {total} clips, got at least {done + len(batch)}")
    finite = np.isfinite(batch).all(axis=1)
    if not finite.all():
        raise StbenchError(f"{detector.name}: features of clip {done + int(np.argmin(finite))} are not finite")


def _import_detector(class_path: str) -> type[Detector]:
    module_name, _, class_name = class_path.partition(":")
    try:
        found = getattr(importlib.import_module(module_name), class_name)
    except (ImportError, AttributeError, ValueError) as error:
        raise StbenchError(f"detector {class_path!r}: cannot be imported as module:Class: {error}") from error
    if not (isinstance(found, type) and issubclass(found, Detector)):
        raise StbenchError(f"detector {class_path!r}: expected a subclass of stbench's Detector, got {found!r}")
    return found

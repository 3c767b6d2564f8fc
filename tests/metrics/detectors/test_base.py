from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from stbench.errors import StbenchError
from stbench.metrics.detectors import Detector, build_detector, extract_features
from stbench.metrics.detectors.base import full_precision


class MeanColor(Detector):
    """Three features: the mean of each channel."""

    name = "mean-color"
    feature_dim = 3
    min_frames = 2
    weights_sha256 = "none"

    def __init__(self, preprocessing: str = "as-is") -> None:
        super().__init__()
        self.preprocessing = preprocessing
        self.dropout = nn.Dropout(0.5)

    def compute_features(self, clips: Tensor) -> Tensor:
        return self.dropout(clips.mean(dim=(2, 3, 4)))


class NotFinite(MeanColor):
    def compute_features(self, clips: Tensor) -> Tensor:
        return super().compute_features(clips) / (clips.amax(dim=(1, 2, 3, 4)) < 0.9).float()[:, None]


class Flattened(MeanColor):
    def compute_features(self, clips: Tensor) -> Tensor:
        return super().compute_features(clips).flatten()


class NotATensor(MeanColor):
    def compute_features(self, clips: Tensor) -> Tensor:
        return super().compute_features(clips).numpy()  # type: ignore[return-value]


class FixedLength(MeanColor):
    max_frames = 2


class FrameColor(MeanColor):
    per_frame = True

    def compute_features(self, clips: Tensor) -> Tensor:
        return clips.mean(dim=(3, 4)).transpose(1, 2).flatten(0, 1)


class Unnamed(Detector):
    feature_dim = 3
    min_frames = 1
    preprocessing = "none"

    def compute_features(self, clips: Tensor) -> Tensor:
        return clips.mean(dim=(2, 3, 4))


class Abstract(Detector):
    name = "abstract"


class Choosy(MeanColor):
    def __init__(self, weights: str) -> None:
        super().__init__()
        if weights != "right":
            raise ValueError(f"no such weights: {weights}")


def _clips(N: int = 4, F: int = 4) -> Tensor:
    return torch.rand((N, 3, F, 8, 8), generator=torch.Generator().manual_seed(0)) * 1.6 - 0.8


def test_forward_is_deterministic_without_gradients_even_after_train() -> None:
    detector = MeanColor().train()
    clips = _clips().requires_grad_()
    features = detector(clips)
    assert not features.requires_grad
    assert torch.equal(features, detector(clips))
    torch.testing.assert_close(features, clips.mean(dim=(2, 3, 4)).detach())


@pytest.mark.parametrize(
    ("clips", "message"),
    [
        (torch.zeros(3, 4, 8, 8), r"expected clips \(N, 3, F, H, W\), got shape \(3, 4, 8, 8\)"),
        (torch.zeros(1, 1, 4, 8, 8), r"got shape \(1, 1, 4, 8, 8\)"),
        (torch.zeros(1, 4, 3, 8, 8), r"this looks like \(N, F, 3, H, W\)"),
        (torch.zeros(0, 3, 4, 8, 8), "got an empty batch"),
        (torch.zeros(1, 3, 1, 8, 8), "at least 2 frames a clip, got 1"),
        (torch.zeros(1, 3, 4, 8, 8, dtype=torch.uint8), r"expected float32 clips in \[-1, 1\], got torch.uint8"),
        (torch.zeros(1, 3, 4, 8, 8, dtype=torch.float16), "got torch.float16"),
        (torch.linspace(0, 255, 768).view(1, 3, 4, 8, 8), r"in \[-1, 1\], got 0 to 255"),
        (torch.full((1, 3, 4, 8, 8), 1.01), "got 1.01 to 1.01"),
        (torch.full((1, 3, 4, 8, 8), float("nan")), "got nan to nan"),
    ],
)
def test_wrong_clips_are_refused_with_what_was_seen(clips: Tensor, message: str) -> None:
    with pytest.raises(StbenchError, match=f"mean-color: .*{message}|mean-color: {message}"):
        MeanColor()(clips)


def test_precision_is_full_inside_and_as_before_outside() -> None:
    backends: Any = torch.backends
    matmul = backends.mkldnn.matmul
    before = matmul.fp32_precision
    try:
        torch.set_float32_matmul_precision("high")
        outside = matmul.fp32_precision
        with torch.autocast("cpu", dtype=torch.bfloat16), full_precision("cpu"):
            assert matmul.fp32_precision == "ieee"
            assert backends.cuda.matmul.fp32_precision == "ieee"
            assert backends.cudnn.conv.fp32_precision == "ieee"
            assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32
        assert matmul.fp32_precision == outside
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision("highest")
        matmul.fp32_precision = before


def test_build_knows_names_and_import_paths() -> None:
    detector = build_detector(f"{__name__}:MeanColor", preprocessing="mine")
    assert isinstance(detector, MeanColor)
    assert detector.preprocessing == "mine"
    assert detector.device == torch.device("cpu")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("shape3d", "unknown detector 'shape3d': did you mean 'shapes3d'"),
        ("no.such.module:Thing", "cannot be imported as module:Class: ModuleNotFoundError: No module named 'no'"),
        ("stbench.errors:Nothing", "cannot be imported as module:Class"),
        ("stbench.errors:StbenchError", "expected a subclass of stbench's Detector"),
    ],
)
def test_unknown_detectors_are_named(name: str, message: str) -> None:
    with pytest.raises(StbenchError, match=message):
        build_detector(name)


def test_unknown_preprocessing_is_answered_with_the_known_ones() -> None:
    with pytest.raises(StbenchError, match="unknown preprocessing of shapes3d 'resize': did you mean 'resize32'"):
        build_detector("shapes3d", preprocessing="resize")


@pytest.mark.parametrize(
    ("class_name", "arguments", "message"),
    [
        ("MeanColor", {"weights": "file.pt"}, r"its constructor does not take weights"),
        ("Unnamed", {}, r"lacks name, weights_sha256; see Detector's attributes"),
        ("Abstract", {}, r"cannot be built: .*abstract"),
        ("Choosy", {}, r"cannot be built: .*missing 1 required .*'weights'"),
        ("Choosy", {"weights": "wrong"}, r"cannot be built: \w+: no such weights: wrong \(.*test_base\.py:\d+\)$"),
    ],
)
def test_faults_of_another_packages_detector_are_named(
    class_name: str, arguments: dict[str, str], message: str
) -> None:
    with pytest.raises(StbenchError, match=f"detector '{__name__}:{class_name}': {message}"):
        build_detector(f"{__name__}:{class_name}", **arguments)


def test_a_module_that_is_no_python_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_detector.py").write_text("class Mine(:")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(
        StbenchError, match="'broken_detector:Mine': cannot be imported as module:Class: SyntaxError: invalid syntax"
    ):
        build_detector("broken_detector:Mine")


@pytest.mark.parametrize(
    ("detector", "message"),
    [
        (Flattened(), r"expected features \(4, 3\), got shape \(12,\)"),
        (NotATensor(), "compute_features returned ndarray, expected a tensor"),
        (FixedLength(), r"needs exactly 2 frames a clip, got 4"),
    ],
)
def test_features_of_another_form_and_clips_of_another_length_are_refused(detector: Detector, message: str) -> None:
    with pytest.raises(StbenchError, match=f"mean-color: {message}"):
        detector(_clips())


def test_a_length_can_be_refused_before_there_are_clips() -> None:
    MeanColor().check_num_frames(2, "dataset.num_frames")
    with pytest.raises(StbenchError, match=r"dataset\.num_frames=1: the detector mean-color needs at least 2$"):
        MeanColor().check_num_frames(1, "dataset.num_frames")
    with pytest.raises(StbenchError, match=r"num_frames=3: the detector mean-color needs exactly 2$"):
        FixedLength().check_num_frames(3, "num_frames")


def test_a_detector_of_frames_gives_a_row_for_each_frame_in_order() -> None:
    clips = _clips(N=3, F=5)
    features = extract_features(FrameColor(), clips.split(2), 3, "frames")
    expected = torch.stack([clips[n, :, f].mean(dim=(1, 2)) for n in range(3) for f in range(5)])
    np.testing.assert_allclose(features, expected.numpy(), atol=1e-6)


@pytest.mark.parametrize("batch_sizes", [[10], [1, 9], [4, 4, 2]])
def test_features_keep_their_order_whatever_the_batches(
    batch_sizes: list[int], capfd: pytest.CaptureFixture[str]
) -> None:
    clips = _clips(N=10)
    features = extract_features(MeanColor(), clips.split(batch_sizes), 10, "colours")
    assert features.dtype == np.float32
    np.testing.assert_allclose(features, clips.mean(dim=(2, 3, 4)).numpy(), atol=1e-6)
    out, err = capfd.readouterr()
    assert out == ""
    assert "colours" in err


def test_more_clips_than_announced_are_an_error_and_fewer_are_what_could_be_read() -> None:
    with pytest.raises(StbenchError, match="expected 3 clips, got at least 4"):
        extract_features(MeanColor(), [_clips()], 3, "colours")
    assert len(extract_features(MeanColor(), [_clips()], 5, "colours")) == 4


def test_features_that_are_not_finite_name_the_clip() -> None:
    clips = _clips(N=6)
    clips[4] = 0.95
    with pytest.raises(StbenchError, match="mean-color: features of clip 4 are not finite"):
        extract_features(NotFinite(), clips.split(3), 6, "colours")

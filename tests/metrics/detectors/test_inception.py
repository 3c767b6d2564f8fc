"""FID's Inception v3 with random weights, against the published layers written out."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as functional
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance

from stbench.errors import StbenchError
from stbench.metrics.detectors import Detector, build_detector, extract_features
from stbench.metrics.detectors.inception import Inception

State = dict[str, Tensor]


@pytest.fixture(scope="module")
def state() -> State:
    torch.manual_seed(0)
    network = Inception()
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")  # so that frames still differ at the end
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 1.5)
            nn.init.normal_(module.bias, std=0.1)
    return network.state_dict()


@pytest.fixture(scope="module")
def weights(state: State, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file as published: with the classifier, without counters of batches."""
    path = tmp_path_factory.mktemp("inception") / "pt_inception.pth"
    kept = {name: value for name, value in state.items() if "num_batches_tracked" not in name}
    torch.save({**kept, "fc.weight": torch.zeros(1008, 2048), "fc.bias": torch.zeros(1008)}, path)
    return path


@pytest.fixture(scope="module")
def detector(weights: Path) -> Detector:
    return build_detector("inception", weights)


def _unit(s: State, name: str, x: Tensor, stride: int = 1, padding: int | tuple[int, int] = 0) -> Tensor:
    x = functional.conv2d(x, s[f"{name}.conv.weight"], stride=stride, padding=padding)
    mean, variance, weight, bias = (
        s[f"{name}.bn.{part}"][:, None, None] for part in ("running_mean", "running_var", "weight", "bias")
    )
    return ((x - mean) / (variance + 1e-3).sqrt() * weight + bias).relu()


def _mean_pool(x: Tensor) -> Tensor:
    ones = torch.ones_like(x[:1, :1])
    return functional.avg_pool2d(x, 3, 1, 1) / functional.avg_pool2d(ones, 3, 1, 1)  # padding is not counted


def _a(s: State, n: str, x: Tensor) -> Tensor:
    b5 = _unit(s, f"{n}.branch5x5_2", _unit(s, f"{n}.branch5x5_1", x), padding=2)
    b3 = _unit(s, f"{n}.branch3x3dbl_2", _unit(s, f"{n}.branch3x3dbl_1", x), padding=1)
    b3 = _unit(s, f"{n}.branch3x3dbl_3", b3, padding=1)
    return torch.cat([_unit(s, f"{n}.branch1x1", x), b5, b3, _unit(s, f"{n}.branch_pool", _mean_pool(x))], 1)


def _b(s: State, n: str, x: Tensor) -> Tensor:
    b3 = _unit(s, f"{n}.branch3x3dbl_2", _unit(s, f"{n}.branch3x3dbl_1", x), padding=1)
    b3 = _unit(s, f"{n}.branch3x3dbl_3", b3, stride=2)
    return torch.cat([_unit(s, f"{n}.branch3x3", x, stride=2), b3, functional.max_pool2d(x, 3, 2)], 1)


def _c(s: State, n: str, x: Tensor) -> Tensor:
    b7 = _unit(s, f"{n}.branch7x7_2", _unit(s, f"{n}.branch7x7_1", x), padding=(0, 3))
    b7 = _unit(s, f"{n}.branch7x7_3", b7, padding=(3, 0))
    twice = _unit(s, f"{n}.branch7x7dbl_1", x)
    for place, padding in ((2, (3, 0)), (3, (0, 3)), (4, (3, 0)), (5, (0, 3))):
        twice = _unit(s, f"{n}.branch7x7dbl_{place}", twice, padding=padding)
    return torch.cat([_unit(s, f"{n}.branch1x1", x), b7, twice, _unit(s, f"{n}.branch_pool", _mean_pool(x))], 1)


def _d(s: State, n: str, x: Tensor) -> Tensor:
    b3 = _unit(s, f"{n}.branch3x3_2", _unit(s, f"{n}.branch3x3_1", x), stride=2)
    b7 = _unit(s, f"{n}.branch7x7x3_2", _unit(s, f"{n}.branch7x7x3_1", x), padding=(0, 3))
    b7 = _unit(s, f"{n}.branch7x7x3_4", _unit(s, f"{n}.branch7x7x3_3", b7, padding=(3, 0)), stride=2)
    return torch.cat([b3, b7, functional.max_pool2d(x, 3, 2)], 1)


def _e(s: State, n: str, x: Tensor, pooled: Tensor) -> Tensor:
    b3 = _unit(s, f"{n}.branch3x3_1", x)
    b3a = _unit(s, f"{n}.branch3x3_2a", b3, padding=(0, 1))
    b3b = _unit(s, f"{n}.branch3x3_2b", b3, padding=(1, 0))
    d3 = _unit(s, f"{n}.branch3x3dbl_2", _unit(s, f"{n}.branch3x3dbl_1", x), padding=1)
    d3a = _unit(s, f"{n}.branch3x3dbl_3a", d3, padding=(0, 1))
    d3b = _unit(s, f"{n}.branch3x3dbl_3b", d3, padding=(1, 0))
    pooled = _unit(s, f"{n}.branch_pool", pooled)
    return torch.cat([_unit(s, f"{n}.branch1x1", x), b3a, b3b, d3a, d3b, pooled], 1)


def _reference(s: State, frames: Tensor) -> Tensor:
    x = _unit(s, "Conv2d_2a_3x3", _unit(s, "Conv2d_1a_3x3", frames, stride=2))
    x = functional.max_pool2d(_unit(s, "Conv2d_2b_3x3", x, padding=1), 3, 2)
    x = functional.max_pool2d(_unit(s, "Conv2d_4a_3x3", _unit(s, "Conv2d_3b_1x1", x)), 3, 2)
    for name in ("Mixed_5b", "Mixed_5c", "Mixed_5d"):
        x = _a(s, name, x)
    x = _b(s, "Mixed_6a", x)
    for name in ("Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"):
        x = _c(s, name, x)
    x = _d(s, "Mixed_7a", x)
    x = _e(s, "Mixed_7b", x, _mean_pool(x))
    x = _e(s, "Mixed_7c", x, functional.max_pool2d(x, 3, 1, 1))
    return functional.adaptive_avg_pool2d(x, 1).flatten(1)


def test_parameters_are_those_of_inception_v3_without_its_classifier(state: State) -> None:
    with torch.device("meta"):
        network = Inception()
    assert sum(parameter.numel() for parameter in network.parameters()) == 21_785_568
    assert state["Mixed_7c.branch3x3dbl_3b.conv.weight"].shape == (384, 384, 3, 1)
    assert state["Mixed_6b.branch7x7dbl_5.conv.weight"].shape == (192, 128, 1, 7)


def test_features_are_those_of_the_published_layers_frame_by_frame(detector: Detector, state: State) -> None:
    brightness = torch.linspace(-0.5, 0.5, 4).reshape(2, 1, 2, 1, 1)
    clips = torch.rand(2, 3, 2, 64, 48) - 0.5 + brightness
    frames = torch.stack([clips[n, :, f] for n in range(2) for f in range(2)])
    expected = _reference(state, functional.interpolate(frames, (299, 299), mode="bilinear", align_corners=False))
    features = detector(clips)
    assert features.shape == (4, 2048)
    assert expected.std(dim=0).mean() > 1e-2
    torch.testing.assert_close(features, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))


def test_features_do_not_depend_on_how_many_frames_are_taken_at_once(
    detector: Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips = torch.rand(1, 3, 3, 32, 32) * 2 - 1
    together = detector(clips)
    monkeypatch.setattr("stbench.metrics.detectors.inception.FRAMES_AT_ONCE", 2)
    torch.testing.assert_close(detector(clips), together, rtol=1e-5, atol=1e-5)


def test_extracted_features_have_a_row_for_every_frame(detector: Detector) -> None:
    clips = torch.rand(2, 3, 2, 32, 32) * 2 - 1
    features = extract_features(detector, clips.split(1), 2, "frames")
    assert features.shape == (4, 2048)


def test_torchmetrics_takes_the_network_as_its_feature(detector: Detector) -> None:
    network = detector.get_submodule("network")
    metric = FrechetInceptionDistance(feature=network)
    frames = torch.rand(2, 3, 299, 299) * 2 - 1
    with torch.no_grad():
        metric.update(frames, real=True)
        expected = network(frames).double().sum(dim=0)
    torch.testing.assert_close(metric.real_features_sum, expected)


def test_weights_of_torchvisions_network_are_refused(state: State, tmp_path: Path) -> None:
    others = {**state, "AuxLogits.fc.weight": torch.zeros(1)}
    torch.save(others, tmp_path / "inception_v3.pth")
    with pytest.raises(StbenchError, match=r"weights of another network: 1 left over \(AuxLogits.fc.weight\)"):
        build_detector("inception", tmp_path / "inception_v3.pth")

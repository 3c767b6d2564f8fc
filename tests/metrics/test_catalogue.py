"""What the catalogue says of each detector, held against the detectors' own code."""

from __future__ import annotations

import pkgutil
from pathlib import Path

import pytest
import torch
from torch import nn

from stbench.errors import StbenchError
from stbench.metrics.catalogue import DETECTORS, Preprocessing, get_preprocessing
from stbench.metrics.detectors.base import CatalogueDetector, build_detector
from stbench.metrics.detectors.c3d import C3D
from stbench.metrics.detectors.i3d_network import I3D
from stbench.metrics.detectors.inception import Inception
from stbench.metrics.detectors.shapes3d import Shapes3D

ALL = [(detector, name) for detector, info in DETECTORS.items() for name in info.preprocessings]


@pytest.mark.parametrize("name", DETECTORS)
def test_the_class_has_the_name_and_the_frames_of_its_entry(name: str) -> None:
    info = DETECTORS[name]
    found = pkgutil.resolve_name(info.class_path)
    assert issubclass(found, CatalogueDetector)
    assert found.name == name
    assert getattr(found, "min_frames", info.min_frames) == info.min_frames
    assert getattr(found, "feature_dim", info.feature_dim) == info.feature_dim


@pytest.mark.parametrize(
    ("name", "network"), [("shapes3d", Shapes3D), ("i3d", I3D), ("inception", Inception), ("c3d", C3D)]
)
def test_the_epsilon_is_that_of_the_networks_batch_norms(name: str, network: type[nn.Module]) -> None:
    with torch.device("meta"):
        norms = [each for each in network().modules() if isinstance(each, nn.modules.batchnorm._BatchNorm)]
    assert {norm.eps for norm in norms} == ({DETECTORS[name].bn_eps} if norms else set())
    assert bool(norms) == (DETECTORS[name].bn_eps is not None)


def test_a_detector_tells_what_its_entry_says() -> None:
    detector = build_detector("shapes3d")
    facts = detector.facts
    assert (facts.feature_dim, facts.preprocessing, facts.bn_eps) == (64, "resize32", 1e-5)
    assert facts.detector_weights_sha256 == detector.weights_sha256


@pytest.mark.parametrize(("detector", "name"), ALL)
def test_the_way_to_the_input_can_be_gone(detector: str, name: str) -> None:
    rule = get_preprocessing(detector, name)
    assert rule.interpolation in ("bilinear", "bicubic")
    assert rule.resized is None or rule.resized >= rule.size
    assert rule.source


def test_the_ranges_that_pixels_come_to() -> None:
    def reach(rule: Preprocessing) -> tuple[float, float]:
        assert isinstance(rule.scale, float)
        assert isinstance(rule.shift, float)
        return rule.shift - rule.scale, rule.shift + rule.scale

    one_for_all = {key: get_preprocessing(*key) for key in ALL if key != ("videomae", "imagenet")}
    assert {key: reach(rule) for key, rule in one_for_all.items()} == {
        ("shapes3d", "resize32"): (-1, 1),
        ("i3d", "styleganv"): (-1, 1),
        ("i3d", "videogpt"): (-1, 1),
        ("i3d", "videogpt-2021-06-02"): (-0.5, 0.5),
        ("i3d", "cdfvd"): (-1, 1),
        ("videomae", "cdfvd"): (0, 1),
        ("c3d", "tgan2"): (0, 255),
        ("c3d", "tgan"): (0, 255),
        ("inception", "pytorch-fid"): (-1, 1),
        ("inception", "torchmetrics"): (-1, pytest.approx(127 / 128)),
    }


def test_on_which_published_figures_differ() -> None:
    assert {name: (rule.scaled, rule.antialias) for name, rule in DETECTORS["i3d"].preprocessings.items()} == {
        "styleganv": ("stretched", False),
        "videogpt": ("up", False),
        "videogpt-2021-06-02": ("up", False),
        "cdfvd": ("stretched", False),
    }
    assert {name: info.default_preprocessing for name, info in DETECTORS.items()} == {
        "shapes3d": "resize32",
        "i3d": "styleganv",
        "videomae": "cdfvd",
        "c3d": "tgan2",
        "inception": "pytorch-fid",
    }


def test_weights_that_do_not_come_with_stbench_can_be_named_and_found() -> None:
    for name, info in DETECTORS.items():
        if name == "shapes3d":
            assert (info.weights_variable, info.weights_source, info.cache_name) == (None, None, "")
        else:
            assert info.weights_variable == f"STBENCH_{name.upper()}"
            assert info.weights_source
            assert Path(info.cache_name).stem == name


def test_an_unknown_preprocessing_is_answered_with_the_nearest() -> None:
    with pytest.raises(StbenchError, match="unknown preprocessing of i3d 'cdfdv': did you mean 'cdfvd'"):
        get_preprocessing("i3d", "cdfdv")

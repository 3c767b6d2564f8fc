from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from stbench.errors import StbenchError
from stbench.metrics.frechet import FloatArray, frechet_distance
from stbench.metrics.protocol import PROTOCOLS, Protocol, protocol_hash
from stbench.metrics.quality import assess

BUILTIN = PROTOCOLS["builtin"]
I3D = PROTOCOLS["styleganv-2048-16f"]


def _features(protocol: Protocol, n: int, seed: int) -> FloatArray:
    return np.random.default_rng(seed).standard_normal((n, protocol.feature_dim))


def _assess(protocol: Protocol, n_real: int, n_fake: int) -> dict[str, object]:
    asked = replace(protocol, num_real=n_real, num_fake=n_fake)
    return assess(asked, _features(protocol, n_real, 0), _features(protocol, n_fake, 1))


def test_a_full_section_holds_every_figure_and_is_json() -> None:
    real, fake = _features(BUILTIN, 256, 0), _features(BUILTIN, 256, 1)
    section = assess(BUILTIN, real, fake)
    assert json.loads(json.dumps(section, allow_nan=False)) == section
    assert section["protocol_hash"] == protocol_hash(BUILTIN)
    assert section["fvd"] == frechet_distance(real, fake)
    assert isinstance(section["fvd_inf"], float)
    assert section["kvd_interval"][0] < section["kvd"] < section["kvd_interval"][1]
    assert (section["n_real"], section["n_fake"], section["detector"]) == (256, 256, "shapes3d")
    assert (section["refused"], section["label"]) == (None, "internal")


@pytest.mark.parametrize(
    ("protocol", "n", "label"),
    [(I3D, 400, "refused"), (I3D, 401, "exploratory"), (I3D, 2048, "standard"), (BUILTIN, 64, "refused")],
)
def test_label_follows_the_number_of_clips(protocol: Protocol, n: int, label: str) -> None:
    section = _assess(protocol, n, n)
    assert section["label"] == label
    assert (section["fvd"] is None) == (label == "refused")


@pytest.mark.parametrize(("n_real", "n_fake"), [(64, 300), (300, 64)])
def test_no_more_clips_than_dimensions_gives_kvd_and_a_reason(n_real: int, n_fake: int) -> None:
    section = _assess(BUILTIN, n_real, n_fake)
    assert section["fvd"] is None
    assert section["fvd_inf"] is None
    assert isinstance(section["kvd"], float)
    reason = str(section["refused"])
    assert f"more than 64 clips on each side, got {n_real} real and {n_fake} generated; see kvd" in reason


@pytest.mark.parametrize("n_fake", [1, 15])
def test_a_handful_of_clips_gives_no_number_at_all(n_fake: int) -> None:
    section = _assess(BUILTIN, 300, n_fake)
    assert section["kvd"] is None
    assert section["kvd_interval"] is None
    assert "kvd needs at least 16" in str(section["refused"])


def test_fewer_clips_than_the_protocol_asks_for_are_not_padded_but_refused() -> None:
    section = assess(BUILTIN, _features(BUILTIN, 256, 0), _features(BUILTIN, 250, 1))
    assert section["fvd"] is None
    assert section["n_fake"] == 250
    assert "asks for 256 generated clips, got 250" in section["refused"]


def test_too_few_clips_for_the_extrapolation_leave_only_it_out() -> None:
    section = _assess(BUILTIN, 255, 255)
    assert isinstance(section["fvd"], float)
    assert section["fvd_inf"] is None
    assert section["refused"] is None


def test_features_of_another_detector_are_an_error() -> None:
    wrong = np.zeros((256, 400))
    with pytest.raises(StbenchError, match="protocol says 64 dimensions, got 400"):
        assess(BUILTIN, wrong, wrong)

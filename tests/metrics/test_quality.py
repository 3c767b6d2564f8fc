from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter

from stbench.errors import StbenchError
from stbench.metrics.frechet import FloatArray, frechet_distance
from stbench.metrics.intervals import frechet_jackknife
from stbench.metrics.kernel import biased_mmd
from stbench.metrics.neighbours import neighbour_scores
from stbench.metrics.protocol import PROTOCOLS
from stbench.metrics.quality import assess
from stbench.records.protocol import Protocol, open_fields, protocol_hash
from stbench.records.sections import Quality


def _filled(name: str) -> Protocol:
    """A preset with something in every field that is open: the figures do not depend on it."""
    told: dict[str, Any] = dict.fromkeys(open_fields(PROTOCOLS[name]))
    told |= {"num_frames": 16, "frame_stride_real": 1, "resolution": 256}
    told |= {"detector_weights_sha256": "0" * 64, "dataset_manifest_sha256": "1" * 64}
    return replace(PROTOCOLS[name], **told)


BUILTIN = _filled("builtin")
I3D = _filled("styleganv-2048-16f")
SHARES = ("precision", "recall", "density", "coverage")


def _features(protocol: Protocol, n: int, seed: int) -> FloatArray:
    return np.random.default_rng(seed).standard_normal((n, protocol.feature_dim))


def _assess(protocol: Protocol, n_real: int, n_fake: int) -> Quality:
    asked = replace(protocol, num_real=n_real, num_fake=n_fake)
    return assess(asked, _features(protocol, n_real, 0), _features(protocol, n_fake, 1))


def test_a_full_section_holds_every_figure_and_is_json() -> None:
    real, fake = _features(BUILTIN, 256, 0), _features(BUILTIN, 256, 1)
    section = assess(BUILTIN, real, fake)
    assert TypeAdapter(Quality).validate_json(json.dumps(asdict(section), allow_nan=False)) == section
    assert section.protocol_hash == protocol_hash(BUILTIN)
    assert section.fvd == frechet_distance(real, fake)
    for name in ("fvd", "fvd_inf", "kvd", "mmd"):  # each in the middle of an interval of its own
        low, high = getattr(section, f"{name}_interval")
        assert low < high
        assert getattr(section, name) == pytest.approx((low + high) / 2)
    found = frechet_jackknife(real, fake)
    assert (section.fvd_inf, section.fvd_inf_interval) == (found.at_infinity, found.interval_at_infinity)
    assert section.mmd_biased == biased_mmd(real, fake)
    assert {name: getattr(section, name) for name in SHARES} == asdict(neighbour_scores(real, fake))
    assert (section.n_real, section.n_fake, section.detector) == (256, 256, "shapes3d")
    assert (section.refused, section.label) == (None, "internal")


@pytest.mark.parametrize(
    ("protocol", "n", "label"),
    [
        (I3D, 400, "refused"),
        (I3D, 401, "exploratory"),
        (I3D, 2047, "exploratory"),
        (I3D, 2048, "standard"),
        (BUILTIN, 64, "refused"),
        (BUILTIN, 65, "internal"),
    ],
)
def test_label_follows_the_number_of_clips(protocol: Protocol, n: int, label: str) -> None:
    section = _assess(protocol, n, n)
    assert section.label == label
    assert (section.fvd is None) == (label == "refused")


@pytest.mark.parametrize(("n_real", "n_fake"), [(64, 300), (300, 64)])
def test_no_more_clips_than_dimensions_gives_kvd_and_a_reason(n_real: int, n_fake: int) -> None:
    section = _assess(BUILTIN, n_real, n_fake)
    assert section.fvd is None
    assert section.fvd_inf is None
    assert isinstance(section.kvd, float)
    reason = str(section.refused)
    assert f"more than 64 clips on each side, got {n_real} real and {n_fake} generated; see kvd" in reason


@pytest.mark.parametrize("n_fake", [1, 15])
def test_a_handful_of_clips_gives_no_number_at_all(n_fake: int) -> None:
    section = _assess(BUILTIN, 300, n_fake)
    assert section.kvd is None
    assert section.kvd_interval is None
    assert "kvd needs at least 16" in str(section.refused)


def test_fewer_clips_than_the_protocol_asks_for_are_not_padded_but_refused() -> None:
    section = assess(BUILTIN, _features(BUILTIN, 256, 0), _features(BUILTIN, 250, 1))
    assert section.fvd is None
    assert section.n_fake == 250
    assert "asks for 256 generated clips, got 250" in section.refused


def test_of_too_few_clips_the_figures_that_do_not_need_a_covariance_are_left() -> None:
    section = _assess(BUILTIN, 64, 64)
    assert all(isinstance(getattr(section, name), float) for name in (*SHARES, "mmd_biased"))
    fewer = assess(BUILTIN, _features(BUILTIN, 256, 0), _features(BUILTIN, 64, 1))  # not as many as the protocol says
    assert all(getattr(fewer, name) is None for name in (*SHARES, "mmd_biased", "fvd_interval"))
    assert isinstance(fewer.mmd, float)


def test_too_few_clips_for_infinitely_many_leave_only_those_out() -> None:
    section = _assess(BUILTIN, 255, 255)
    assert isinstance(section.fvd, float)
    assert section.fvd_interval is not None
    assert (section.fvd_inf, section.fvd_inf_interval, section.refused) == (None, None, None)


def test_a_handful_of_clips_of_a_narrow_detector_has_an_fvd_without_an_interval() -> None:
    section = _assess(replace(BUILTIN, feature_dim=3), 15, 15)
    assert isinstance(section.fvd, float)
    assert (section.fvd_interval, section.fvd_inf) == (None, None)


def test_features_of_another_detector_are_an_error() -> None:
    wrong = np.zeros((256, 400))
    with pytest.raises(StbenchError, match="protocol says 64 dimensions, got 400"):
        assess(BUILTIN, wrong, wrong)


@pytest.mark.parametrize(("count", "score"), [(505, 101.0), (100, None)])
def test_inception_score_of_a_classifier_s_logits(count: int, score: float | None) -> None:
    """Clips that are sure of a class each, all classes alike, score the number of classes."""
    protocol = replace(_filled("tganv2-is-2048-16f"), num_real=count, num_fake=count)
    logits = 50.0 * np.eye(101)[np.arange(count) % 101]
    section = assess(protocol, _features(protocol, count, 0), logits)
    assert section.inception_score == (None if score is None else pytest.approx(score))
    assert assess(replace(protocol, num_fake=count + 1), logits, logits).inception_score is None
    assert _assess(BUILTIN, 256, 256).inception_score is None  # features of a detector that is no such classifier

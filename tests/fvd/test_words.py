"""Protocols from words, and back: what may be said, what is refused, and what is printed."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest

from stbench.errors import StbenchError
from stbench.fvd.words import FIELDS, describe_protocol, protocol_from_words
from stbench.metrics.protocol import PROTOCOLS
from stbench.records.protocol import OPEN


def test_what_may_be_said() -> None:
    expected = (
        *("detector", "preprocessing", "num_frames", "frame_stride_real", "frame_stride_fake", "resolution"),
        *("spatial_rule", "offset_rule", "offset_rule_fake", "clip_seed", "num_real", "num_fake"),
        *("dataset", "split", "sampler", "num_sampling_steps", "cfg_scale", "guided_channels"),
        *("class_labels", "sampling_precision", "ema", "autoencoder"),
        *("autoencoder_sha256", "sampling_seed"),
    )
    assert expected == FIELDS


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["protocol=styleganv"], "unknown protocol 'styleganv': did you mean 'styleganv-2048-16f'"),
        (["protocol.frames=16"], r"unknown key 'protocol\.frames': did you mean 'protocol\.num_frames'"),
        (["protocol.covariance_ddof=0"], r"unknown key 'protocol\.covariance_ddof'"),
        (["protocol.num_fake=many"], r"protocol\.num_fake=many: expected int"),
        (["protocol.num_fake=null"], r"protocol\.num_fake=null: expected int"),
        (["protocol.num_real=2.5"], r"protocol\.num_real=2\.5: expected int or null"),
        (["protocol.num_frames=0"], r"protocol\.num_frames: expected at least 1, got 0"),
        (["protocol.num_frames=true"], r"protocol\.num_frames=True: expected int or null"),
        (["num_fake=8"], "unknown key 'num_fake'"),
    ],
)
def test_wrong_words_are_refused(words: list[str], message: str) -> None:
    with pytest.raises(StbenchError, match=message):
        protocol_from_words(words)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_named_protocols_are_taken_as_they_are(name: str) -> None:
    protocol = protocol_from_words([f"protocol={name}"])
    assert protocol == replace(PROTOCOLS[name], split="as given")
    assert describe_protocol(protocol) == name


def test_another_detector_brings_its_own_preprocessing() -> None:
    protocol = protocol_from_words(["protocol=latte-2048-16f", "protocol.detector=shapes3d", "protocol.dataset=sky"])
    assert (protocol.detector, protocol.preprocessing, protocol.frame_stride_real) == ("shapes3d", OPEN, 3)
    assert describe_protocol(protocol) == "latte-2048-16f, detector=shapes3d, dataset=sky"
    assert (protocol.bn_eps, protocol.feature_dim) == (OPEN, OPEN)
    named = protocol_from_words(["protocol.detector=i3d", "protocol.preprocessing=videogpt"])
    assert (named.detector, named.preprocessing) == ("i3d", "videogpt")
    assert describe_protocol(replace(PROTOCOLS["cdfvd-i3d"], split="as given", preprocessing="styleganv")) == (
        "cdfvd-i3d, preprocessing=styleganv"
    )


@pytest.mark.parametrize(
    ("word", "field", "value", "printed"),
    [
        ("protocol.num_frames=null", "num_frames", OPEN, "latte-2048-16f, num_frames=None"),
        ("protocol.resolution=null", "resolution", OPEN, "latte-2048-16f, resolution=None"),
        ("protocol.num_real=null", "num_real", None, "latte-2048-16f, num_real=None"),
        ("protocol.sampler=null", "sampler", OPEN, "latte-2048-16f"),
        ("protocol.cfg_scale=7", "cfg_scale", 7.0, "latte-2048-16f, cfg_scale=7.0"),
        ("protocol.ema=true", "ema", True, "latte-2048-16f, ema=True"),
        ("protocol.clip_seed=3", "clip_seed", 3, "latte-2048-16f, clip_seed=3"),
        ("protocol.frame_stride_real=6", "frame_stride_real", 6, "latte-taichi"),
    ],
)
def test_null_opens_a_field_or_means_all(word: str, field: str, value: Any, printed: str) -> None:
    protocol = protocol_from_words(["protocol=latte-2048-16f", word])
    assert getattr(protocol, field) == value
    assert describe_protocol(protocol) == printed


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("protocol.detector=3", "protocol.detector=3: expected str"),
        ("protocol.split=null", "protocol.split=null: expected str"),
        ("protocol.cfg_scale=high", "protocol.cfg_scale=high: expected float or null"),
        ("protocol.resolution=large", "protocol.resolution=large: expected int or null"),
        ("protocol.frame_stride_fake=null", "protocol.frame_stride_fake=null: expected int"),
    ],
)
def test_the_expected_type_is_named(word: str, message: str) -> None:
    with pytest.raises(StbenchError) as caught:
        protocol_from_words([word])
    assert str(caught.value) == message


def test_words_are_read_without_torch() -> None:
    code = "import sys, stbench.fvd.words; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_detector_of_ones_own_is_named_as_in_a_run() -> None:
    by_name = protocol_from_words(["protocol=my_module:MyDetector", "protocol.num_fake=512"])
    assert by_name == protocol_from_words(["protocol.detector=my_module:MyDetector", "protocol.num_fake=512"])

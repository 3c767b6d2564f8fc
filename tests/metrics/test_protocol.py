from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from typing import Any

import pytest

from stbench.errors import StbenchError
from stbench.metrics.catalogue import DETECTORS
from stbench.metrics.protocol import PROTOCOLS, get_protocol
from stbench.records.protocol import canonical_json, difference, protocol_hash

# Another value for every field: whatever moves the number must move the hash.
_OTHER_VALUES: dict[type, Any] = {
    str: "something else",
    int: 12345,
    float: 0.5,
    bool: True,
    tuple: (0.0, 1.0),
    type(None): 7,
}


@pytest.mark.parametrize("name", PROTOCOLS)
def test_presets_name_a_known_detector_and_its_preprocessing(name: str) -> None:
    protocol = get_protocol(name)
    info = DETECTORS[protocol.detector]
    assert info.feature_dim in (protocol.feature_dim, None)  # None: the weights decide, and cd-fvd's have 1408
    assert protocol.preprocessing in info.preprocessings
    assert protocol.num_frames is None or protocol.num_frames >= info.min_frames


def test_presets_differ_from_each_other() -> None:
    assert len({protocol_hash(protocol) for protocol in PROTOCOLS.values()}) == len(PROTOCOLS)


def test_latte_takes_every_third_real_frame_and_every_generated_one() -> None:
    latte, taichi = get_protocol("latte-2048-16f"), get_protocol("latte-taichi")
    assert (latte.frame_stride_real, latte.frame_stride_fake, latte.num_fake) == (3, 1, 2048)
    assert difference(latte, taichi) == {"frame_stride_real": (3, 6)}


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(PROTOCOLS["builtin"])])
def test_every_field_moves_the_hash_and_is_named_as_the_difference(field: str) -> None:
    before = PROTOCOLS["builtin"]
    after = dataclasses.replace(before, **{field: _OTHER_VALUES[type(getattr(before, field))]})
    assert protocol_hash(after) != protocol_hash(before)
    assert list(difference(before, after)) == [field]


def test_batch_size_workers_and_world_size_are_not_part_of_it() -> None:
    names = {field.name for field in dataclasses.fields(PROTOCOLS["builtin"])}
    assert not names & {"batch_size", "num_workers", "world_size", "device"}


def test_canonical_json_is_sorted_compact_and_reads_back() -> None:
    protocol = PROTOCOLS["builtin"]
    text = canonical_json(protocol)
    assert json.loads(text) == protocol.as_dict()
    assert list(json.loads(text)) == sorted(json.loads(text))
    assert ", " not in text.replace("crop to a square, then", "").replace("uint8, lossless", "")


def test_equal_numbers_of_two_types_are_one_protocol() -> None:
    whole = dataclasses.replace(PROTOCOLS["builtin"], cfg_scale=7, value_range=(-1, 1))
    real = dataclasses.replace(PROTOCOLS["builtin"], cfg_scale=7.0)
    assert protocol_hash(whole) == protocol_hash(real)


def test_difference_reads_records_too_and_notices_a_missing_field() -> None:
    protocol = PROTOCOLS["builtin"]
    record = json.loads(canonical_json(protocol))
    assert difference(protocol, record) == {}
    del record["ema"], record["split"]
    assert difference(protocol, record) == {"ema": (None, "(absent)"), "split": ("train", "(absent)")}


def test_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(StbenchError, match="did you mean 'latte-2048-16f'"):
        get_protocol("latte-2048-16")


@pytest.mark.parametrize("field", ["num_frames", "num_fake", "num_real", "frame_stride_real"])
def test_impossible_numbers_are_refused(field: str) -> None:
    impossible: dict[str, Any] = {field: 0}
    with pytest.raises(StbenchError, match=rf"protocol\.{field}: expected at least 1, got 0"):
        dataclasses.replace(PROTOCOLS["builtin"], **impossible)


def test_names_can_be_listed_without_torch() -> None:
    code = "import sys, stbench.metrics.catalogue, stbench.metrics.protocol; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

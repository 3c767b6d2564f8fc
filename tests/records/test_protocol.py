"""A protocol and its hash: what is in it, what is refused, and that hashes of before still hold."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stbench.errors import StbenchError
from stbench.records.protocol import (
    FIRST_FRAME,
    HASHED_OFFSET,
    OPEN,
    Protocol,
    SideRule,
    difference,
    fields_where,
    open_fields,
    protocol_hash,
)

FIELDS = [field.name for field in dataclasses.fields(Protocol)]
PRESET = Protocol(detector="i3d", preprocessing="styleganv")
_ANYTHING: dict[str, Any] = {name: None if name == "sampler" else 7 for name in open_fields(PRESET)}
FILLED = replace(PRESET, **_ANYTHING)
# Another value for every field: whatever moves the number must move the hash.
OTHER: dict[type, Any] = {str: "something else", int: 12345, float: 0.5, tuple: (0.0, 1.0), type(None): 8}


def written_protocols(reference: Path) -> list[tuple[dict[str, Any], str]]:
    """Protocols with their hashes, as records and studies in this repository keep them."""
    found = []
    for path in sorted(reference.rglob("*.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        section = content.get("quality", content)
        if "protocol_hash" in section:
            found.append((section["protocol"], section["protocol_hash"]))
    return found


def test_hashes_of_what_was_written_hold(reference: Path) -> None:
    written = written_protocols(reference)
    assert len(written) >= 3
    for fields, expected in written:
        assert protocol_hash(Protocol(**fields)) == expected
        assert Protocol(**fields).to_dict() == fields
        assert list(Protocol(**fields).to_dict()) == list(fields)  # reports show them in this order


def test_the_hash_is_that_of_one_spelling() -> None:
    assert protocol_hash(FILLED) == "0e583ce44268523457c45ad748e6a3e8e0f32ea15766a757fefe8573d4680213"


@pytest.mark.parametrize("name", FIELDS)
def test_every_field_moves_the_hash_and_is_named_as_the_difference(name: str) -> None:
    other = replace(FILLED, **{name: OTHER[type(getattr(FILLED, name))]})
    assert protocol_hash(other) != protocol_hash(FILLED)
    assert list(difference(FILLED, other)) == [name]


def test_batch_size_workers_and_world_size_are_not_part_of_it() -> None:
    assert not set(FIELDS) & {"batch_size", "num_workers", "world_size", "device"}


def test_equal_numbers_of_two_types_are_one_protocol() -> None:
    whole = replace(FILLED, cfg_scale=7, value_range=(-1, 1))
    real = replace(FILLED, cfg_scale=7.0, value_range=[-1.0, 1.0])  # type: ignore[arg-type]
    assert whole == real
    assert protocol_hash(whole) == protocol_hash(real)


def test_a_difference_is_named_with_both_values() -> None:
    assert difference(FILLED, replace(FILLED)) == {}
    assert difference(FILLED, replace(FILLED, ema=None)) == {"ema": (FILLED.ema, None)}


@pytest.mark.parametrize("name", fields_where(at_least=1))
def test_impossible_numbers_are_refused(name: str) -> None:
    impossible: dict[str, Any] = {name: 0}
    with pytest.raises(StbenchError) as caught:
        replace(FILLED, **impossible)
    assert str(caught.value) == f"protocol.{name}: expected at least 1, got 0"


def test_counts_begin_at_one() -> None:
    assert fields_where(at_least=1) == [
        *("feature_dim", "num_frames", "frame_stride_real", "frame_stride_fake", "resolution", "clips_per_video"),
        *("num_real", "num_fake", "num_sampling_steps", "guided_channels"),
    ]


def test_open_is_one_thing_that_prints_as_the_runs() -> None:
    assert copy.deepcopy(OPEN) is OPEN
    assert pickle.loads(pickle.dumps(OPEN)) is OPEN
    assert f"{OPEN}" == str(OPEN) == repr(OPEN) == "the run's"


def test_an_open_protocol_is_neither_written_nor_hashed() -> None:
    opened = replace(FILLED, resolution=OPEN)
    assert open_fields(FILLED) == []
    assert open_fields(opened) == ["resolution"]
    for use in (protocol_hash, Protocol.to_dict):
        with pytest.raises(
            StbenchError, match=r"^protocol\.resolution is open: only a protocol that is filled in says"
        ):
            use(opened)


def test_what_a_preset_leaves_open() -> None:
    assert open_fields(PRESET) == [
        *("feature_dim", "num_frames", "detector_weights_sha256", "detector_code_sha256", "bn_eps"),
        *("frame_stride_real", "resolution", "dataset", "dataset_manifest_sha256", "dataset_code_sha256"),
        *("sampler", "num_sampling_steps", "cfg_scale"),
        *("guided_channels", "class_labels", "sampling_precision", "ema", "autoencoder", "autoencoder_sha256"),
    ]


def test_each_side_has_its_own_rule() -> None:
    protocol = replace(FILLED, frame_stride_real=3, num_real=None, num_fake=9)
    assert protocol.side("real") == SideRule(frame_stride=3, offset_rule=HASHED_OFFSET, num_clips=None)
    assert protocol.side("fake") == SideRule(frame_stride=1, offset_rule=FIRST_FRAME, num_clips=9)


def test_every_field_says_what_it_means() -> None:
    for declared in dataclasses.fields(Protocol):
        about = declared.metadata["about"]
        assert about, declared.name
        assert "\n" not in about

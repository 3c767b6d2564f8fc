"""The sections of a record: frozen, and read back from JSON as what they were."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from pydantic import TypeAdapter

from stbench.records import sections
from stbench.records.protocol import Protocol
from stbench.records.sections import Cost, Counts, CurvePoint, Memory, Quality, Timing

SECTIONS = [value for value in vars(sections).values() if dataclasses.is_dataclass(value) and value is not Protocol]
TIMING = Timing(what="forward", samples=(1.0, 2.0), median=1.5, spread=0.5, batch_size=2, clips_per_s=4 / 3)


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.__name__)
def test_sections_are_frozen_and_given_by_name(section: Any) -> None:
    assert section.__dataclass_params__.frozen
    assert all(field.kw_only for field in dataclasses.fields(section))


@pytest.mark.parametrize(
    "section",
    [
        TIMING,
        Cost(
            counts=Counts(params_total=2, params_trainable=1, gmacs=0.5, gflops=1.0, gmacs_by_part={"mlp": 0.5}),
            timing={"forward": TIMING},
            memory=Memory(peak_rss_mib=1.0),
        ),
    ],
    ids=lambda section: type(section).__name__,
)
def test_json_and_back(section: Any) -> None:
    assert read_back(section) == section


def read_back(section: Any) -> Any:
    text = json.dumps(dataclasses.asdict(section), allow_nan=False)
    return TypeAdapter(type(section)).validate_json(text)


def test_quality_and_back(protocol: Protocol) -> None:
    quality = Quality(
        protocol=protocol,
        protocol_hash="p",
        detector="shapes3d",
        n_real=80,
        n_fake=80,
        fvd=1.5,
        fvd_interval=(1.0, 2.0),
        label="internal",
        curve=(CurvePoint(step=0, fvd=9.0, n_fake=70, protocol_hash="cheaper"),),
        curve_protocol=dataclasses.replace(protocol, num_real=70, num_fake=70),
    )
    assert read_back(quality) == quality


@pytest.mark.parametrize(
    ("memory", "peak"),
    [
        (Memory(peak_allocated_mib=900.0, peak_rss_mib=500.0), 900.0),
        (Memory(peak_rss_mib=500.0), 500.0),
        (Memory(), None),
    ],
)
def test_the_peak_is_the_device_s_or_else_the_process_s(memory: Memory, peak: float | None) -> None:
    assert memory.peak_mib == peak

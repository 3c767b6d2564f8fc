"""The record's schema: what goes in comes out, and a wrong field is named."""

from __future__ import annotations

import math
from typing import Any

import pytest

from stbench.errors import StbenchError
from stbench.records.schema import Record, value_at


def change(content: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    *parents, last = path.split(".")
    target = content
    for name in parents:
        target = target[name]
    target[last] = value
    return content


def test_round_trip(content: dict[str, Any]) -> None:
    assert Record.from_json(content).to_json() == content


def test_sections_may_be_null_or_absent(content: dict[str, Any]) -> None:
    content["quality"] = None
    del content["timing"]
    record = Record.from_json(content)
    assert (record.quality, record.timing) == ({}, {})


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("schema", 2, "schema: version 2, this stbench reads version 1; it was written by a newer stbench"),
        ("schema", None, "schema: missing; expected a stbench record of version 1"),
        ("run_id", "", "run_id: expected a non-empty string"),
        ("status", "done", "status: expected one of finished, failed, oom, nan, got 'done'"),
        ("status", "oom", "reason: a run with status 'oom' must say why"),
        ("created", "yesterday", "created: expected an ISO 8601 time, got 'yesterday'"),
        ("created", "2026-01-02T03:04:05", "created: expected a time in UTC"),
        ("config", [], "config: expected dict or null"),
        ("qualty", {}, "unknown record field 'qualty': did you mean 'quality'?"),
        ("counts.params_total", 1.5, "counts.params_total: expected int or null, got 1.5"),
        ("counts.gmacs", "many", "counts.gmacs: expected int or float or null, got 'many'"),
        ("counts.gmacs", True, "counts.gmacs: expected int or float or null, got True"),
        ("timing.forward.unit", "ms", "timing.forward.unit: expected 's', got 'ms'"),
        ("timing.forward.samples", [1.0, "2"], "timing.forward.samples[1]: expected int or float"),
        ("quality.curve", [{"step": "last"}], "quality.curve[0].step: expected int or float"),
        ("quality.detector", None, "quality.detector: missing; expected beside quality.fvd"),
        ("quality.protocol_hash", None, "quality.protocol_hash: missing; expected beside quality.fvd"),
        ("quality.fvd", math.nan, "quality.fvd: expected a finite number or null, got nan"),
    ],
)
def test_wrong_field_is_named(content: dict[str, Any], path: str, value: Any, message: str) -> None:
    with pytest.raises(StbenchError) as error:
        Record.from_json(change(content, path, value))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_run_that_failed_keeps_its_record_despite_nan(content: dict[str, Any]) -> None:
    content |= {"status": "nan", "reason": "loss is NaN at step 3"}
    content["training"]["loss_final"] = math.nan
    del content["schema"]
    assert Record(**content).to_json()["training"] == {"clips_per_s": 20.0, "loss_final": None}


def test_finished_run_may_not_hold_nan(content: dict[str, Any]) -> None:
    content["training"]["loss_final"] = math.inf
    del content["schema"]
    with pytest.raises(StbenchError, match=r"training\.loss_final: expected a finite number"):
        Record(**content).to_json()


def test_value_at_is_none_wherever_the_path_breaks() -> None:
    assert value_at({"a": {"b": 1}}, "a.b") == 1
    assert value_at({"a": {"b": 1}}, "a.b.c") is None
    assert value_at({"a": None}, "a.b") is None

"""The record's schema: what goes in comes out, and a wrong field is named."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest

from stbench.errors import StbenchError
from stbench.records.schema import Record, flatten, value_at


def change(content: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    *parents, last = path.split(".")
    target = content
    for name in parents:
        target = target[name]
    target[last] = value
    return content


def as_read(record: Record) -> Any:
    """What another program reads from the record's file."""
    return json.loads(json.dumps(record.to_json(), allow_nan=False))


def test_round_trip(content: dict[str, Any]) -> None:
    record = Record.from_json(content)
    assert Record.from_json(as_read(record)) == record
    given, written = flat(content), flat(as_read(record))
    assert {path: written[path] for path in given} == given  # what was given stands there unchanged


def flat(value: Any, path: str = "") -> dict[str, Any]:
    if not isinstance(value, dict) or not value:
        return {path: value}
    return {name: leaf for key, child in value.items() for name, leaf in flat(child, f"{path}.{key}").items()}


def test_sections_may_be_null_or_absent(content: dict[str, Any]) -> None:
    content["quality"] = None
    del content["timing"]
    record = Record.from_json(content)
    assert (record.quality, record.timing, record.detector) == (None, {}, None)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("schema", 3, "schema: version 3, this stbench reads versions 4 and 5; run again to renew it"),
        ("schema", 6, "schema: version 6, this stbench reads versions 4 and 5; it was written by a newer stbench"),
        ("schema", None, "schema: missing; expected a stbench record of version 5"),
        ("run_id", "", "run_id: expected a non-empty string"),
        ("status", "done", "status: expected 'finished', 'failed', 'oom' or 'nan', got 'done'"),
        ("status", "oom", "reason: a run with status 'oom' must say why"),
        ("created", "yesterday", "created: expected an ISO 8601 time, got 'yesterday'"),
        ("created", "2026-01-02T03:04:05", "created: expected a time in UTC"),
        ("config", [], "config: expected an object, got []"),
        ("config.train", {"lr": math.inf}, "config.train.lr: expected a finite number, got inf"),
        ("qualty", {}, "unknown record field 'qualty': did you mean 'quality'?"),
        ("quality.fdv", 1.0, "quality.fdv: unknown field of a record"),
        ("quality.protocol.detectr", "i3d", "quality.protocol.detectr: unknown field of a record"),
        ("counts.params_total", 1.5, "counts.params_total: expected a valid integer, got 1.5"),
        ("counts.gmacs", "many", "counts.gmacs: expected a valid number, got 'many'"),
        ("counts.gmacs", True, "counts.gmacs: expected a valid number, got True"),
        ("counts", {}, "counts.params_total: missing"),
        ("timing.forward.unit", "ms", "timing.forward.unit: expected 's', got 'ms'"),
        ("timing.forward.samples", [1.0, "2"], "timing.forward.samples[1]: expected a valid number, got '2'"),
        ("quality.curve", [{"step": "last"}], "quality.curve[0].step: expected a valid integer, got 'last'"),
        ("quality.detector", None, "quality.detector: expected a valid string, got None"),
        ("quality.protocol_hash", None, "quality.protocol_hash: expected a valid string, got None"),
        ("quality.fvd", math.nan, "quality.fvd: expected a finite number, got nan"),
        ("config.preset", ["demo"], "config.preset: expected a text, got ['demo']"),
        ("config.train.steps", "40", "config.train.steps: expected a whole number, got '40'"),
        ("config.seed", True, "config.seed: expected a whole number, got True"),
        ("config.variant", "latte1", "config.variant: expected an object, got 'latte1'"),
        ("config.seed", 10**40, "config.seed: expected a smaller number, got 1000000000"),
        ("quality.fvd", 1e308, "quality.fvd: expected a smaller number, got 1e+308"),
        ("run_id", "a\ud800", r"run_id: expected a text that can be written, got 'a\ud800'"),
        ("files.samples", "a\0b", r"files.samples: expected a text that can be written, got 'a\x00b'"),
        ("files.samples", "x" * 300, "files.samples: expected the name of a file, got 'xxx"),
        ("files.samples", "", "files.samples: expected the name of a file, got ''"),
        ("timing.forward.samples", [], "timing.forward: expected samples, all longer than 0 s"),
        ("timing.forward.median", 0.0, "timing.forward: expected samples, all longer than 0 s"),
        ("counts.conventions", {"thop": 1.0}, "counts.convention_notes: expected one for each of counts.conventions"),
    ],
)
def test_wrong_field_is_named(content: dict[str, Any], path: str, value: Any, message: str) -> None:
    with pytest.raises(StbenchError) as error:
        Record.from_json(change(content, path, value))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_run_that_failed_keeps_its_record_despite_nan(content: dict[str, Any]) -> None:
    record = Record.from_json(content | {"status": "nan", "reason": "loss is NaN at step 3"})
    assert record.training
    diverged = replace(record, training=replace(record.training, loss_final=math.nan))
    assert diverged.to_json()["training"] == {**record.to_json()["training"], "loss_final": None}


def test_finished_run_may_not_hold_nan(content: dict[str, Any]) -> None:
    record = Record.from_json(content)
    assert record.training
    wrong = replace(record, training=replace(record.training, loss_final=math.inf))
    with pytest.raises(StbenchError, match=r"training\.loss_final: expected a finite number"):
        wrong.to_json()


def test_a_run_that_finished_took_the_steps_that_were_asked_for(content: dict[str, Any]) -> None:
    change(content, "training.steps", 39)
    with pytest.raises(StbenchError, match=r"^training\.steps: a finished run of 40 steps cannot have taken 39$"):
        Record.from_json(content)
    assert Record.from_json({**content, "status": "failed", "reason": "killed"}).training is not None


def test_value_at_is_none_wherever_the_path_breaks() -> None:
    assert value_at({"a": {"b": 1}}, "a.b") == 1
    assert value_at({"a": {"b": 1}}, "a.b.c") is None
    assert value_at({"a": None}, "a.b") is None


def test_value_at_goes_through_sections_and_dicts(content: dict[str, Any]) -> None:
    record = Record.from_json(content)
    assert value_at(record, "timing.forward.samples") == (1.0, 2.0, 3.0)
    assert value_at(record, "config.variant.name") == "latte1"
    assert value_at(replace(record, quality=None), "quality.fvd") is None


def test_flatten() -> None:
    assert flatten({"a": {"b": 1, "c": {"d": [2]}}, "e": None}) == {"a.b": 1, "a.c.d": [2], "e": None}

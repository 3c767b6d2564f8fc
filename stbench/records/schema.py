"""The result record of one run: schema version 5, the content of `result.json`.

A record holds plain JSON values only, so that any program can read it, and every name carries its unit. Sections of a
run that failed early are null. Readers refuse another schema version by name: a figure read under a wrong meaning is
worse than none.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from stbench.errors import StbenchError, unknown_name
from stbench.records.sections import (
    CostConditions,
    Counts,
    Diagnostics,
    Machine,
    Memory,
    Quality,
    Software,
    Timing,
    Training,
    Validation,
)
from stbench.records.values import check_config, check_file_name, check_values

if TYPE_CHECKING:
    from pydantic import TypeAdapter
    from pydantic_core import ErrorDetails

SCHEMA_VERSION = 5
READ_VERSIONS = (4, SCHEMA_VERSION)  # 4 lacks fields that may be None
# Figures of the quality section, each one number for one run.
SCORES = (
    *("fvd", "fvd_inf", "kvd", "mmd", "mmd_biased", "precision", "recall", "density", "coverage"),
    "inception_score",
)
WITH_INTERVAL = ("fvd", "fvd_inf", "kvd", "mmd")  # scores that have a 95 % interval beside them
STEP_SAMPLES = "samples_step_"  # begins the names in `files` of clips that were drawn on the way, before the step
REFERENCES = ("fvd_untrained", "fvd_real_vs_real")  # what a score may be held against


@dataclass(frozen=True, kw_only=True)
class Record:
    """One run's configuration, machine, costs and quality."""

    # Types are exact, names are known, numbers are finite.
    __pydantic_config__: ClassVar[dict[str, Any]] = {"strict": True, "extra": "forbid", "allow_inf_nan": False}

    schema: int = SCHEMA_VERSION
    run_id: str  # unique among the runs it is compared with
    status: Literal["finished", "failed", "oom", "nan"]
    reason: str | None = None  # why the run did not finish, one line
    created: str  # UTC time at which the record was made, ISO 8601
    config: dict[str, Any]  # the resolved configuration, nested
    config_hash: str  # of everything in `config` that can move a result
    group_hash: str  # the same without the seed: runs that share it differ in their seed alone
    machine: Machine | None = None
    software: Software | None = None
    counts: Counts | None = None
    conditions: CostConditions | None = None  # of timing and memory
    timing: dict[str, Timing] = field(default_factory=dict)  # forward, train_step, sampling_step
    memory: Memory | None = None
    training: Training | None = None
    validation: Validation | None = None
    diagnostics: Diagnostics | None = None  # on the clips of the validation loss
    no_validation: str | None = None  # why a run that came to its end has none, one line
    quality: Quality | None = None
    files: dict[str, str] = field(default_factory=dict)  # names in the run's folder: samples, real, features, ...

    @property
    def finished(self) -> bool:
        """Whether every stage that was asked for came to its end."""
        return self.status == "finished"

    @property
    def detector(self) -> str | None:
        """The detector that judged the run, None for a run without quality."""
        return self.quality.detector if self.quality else None

    def to_json(self) -> dict[str, Any]:
        """Return the record as JSON values, validated.

        JSON has no NaN: in a run that did not finish, a non-finite number becomes null, as its status says why.

        Raises:
            StbenchError: a field is wrong, or a finished run holds a non-finite number.
        """
        content = dataclasses.asdict(self)
        if not self.finished:
            content = _without_nonfinite(content)
        Record.from_json(content)
        return content

    @classmethod
    def from_json(cls, content: Any) -> Record:
        """Build a record from the parsed content of a `result.json`.

        Raises:
            StbenchError: another schema version, or a field that is missing, unknown or wrong.
        """
        _check_version(content)
        check_values(content)
        from pydantic import ValidationError

        try:
            record = _adapter().validate_json(json.dumps(content))  # as JSON: lists are tuples there
        except ValidationError as error:
            raise _complaint(error.errors()[0]) from None
        _check_meaning(record)
        return record


def value_at(content: Any, path: str) -> Any:
    """Return the value at a dotted `path` of nested records, sections and dicts, or None where any part is missing."""
    for name in path.split("."):
        content = content.get(name) if isinstance(content, dict) else getattr(content, name, None)
    return content


def flatten(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a nested dict as one of dotted keys; lists are values."""
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


@functools.cache
def _adapter() -> TypeAdapter[Record]:
    from pydantic import TypeAdapter

    return TypeAdapter(Record)


def _check_version(content: Any) -> None:
    if not isinstance(content, dict):
        raise StbenchError(f"a record must be a JSON object, got {type(content).__name__}")
    version = content.get("schema")
    if version is None:
        raise StbenchError(f"schema: missing; expected a stbench record of version {SCHEMA_VERSION}")
    if version not in READ_VERSIONS:
        newer = isinstance(version, int) and version > SCHEMA_VERSION
        hint = "it was written by a newer stbench: update stbench to read it" if newer else "run again to renew it"
        known = " and ".join(map(str, READ_VERSIONS))
        raise StbenchError(f"schema: version {version!r}, this stbench reads versions {known}; {hint}")


def _complaint(error: ErrorDetails) -> StbenchError:
    """The first wrong field, what it holds and what was expected, in one line."""
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error["loc"]).removeprefix(".")
    if error["type"] == "unexpected_keyword_argument":
        if len(error["loc"]) > 1:
            return StbenchError(f"{path}: unknown field of a record")
        return unknown_name("record field", path, [declared.name for declared in dataclasses.fields(Record)])
    if error["type"].startswith("missing"):
        return StbenchError(f"{path}: missing")
    return StbenchError(f"{path}: {error['msg'].replace('Input should be', 'expected')}, got {error['input']!r:.60}")


def _check_meaning(record: Record) -> None:
    """Refuse values of the right type that contradict each other or say nothing."""
    for name in ("run_id", "config_hash", "group_hash"):
        if not getattr(record, name):
            raise StbenchError(f"{name}: expected a non-empty string")
    if not record.finished and not record.reason:
        raise StbenchError(f"reason: a run with status {record.status!r} must say why it did not finish")
    asked = value_at(record.config, "train.steps")
    if record.finished and record.training and isinstance(asked, int) and record.training.steps != asked:
        raise StbenchError(f"training.steps: a finished run of {asked} steps cannot have taken {record.training.steps}")
    try:
        # Python 3.10's fromisoformat does not know the suffix Z.
        time = datetime.fromisoformat(record.created.replace("Z", "+00:00"))
    except ValueError:
        raise StbenchError(f"created: expected an ISO 8601 time, got {record.created!r}") from None
    if time.tzinfo is None:
        raise StbenchError(f"created: expected a time in UTC (ending in Z or +00:00), got {record.created!r}")
    check_config(record.config)
    for name, file in record.files.items():
        check_file_name(f"files.{name}", file)
    for name, timing in record.timing.items():
        if not timing.samples or min(*timing.samples, timing.median, timing.clips_per_s) <= 0:
            raise StbenchError(f"timing.{name}: expected samples, all longer than 0 s")
    if record.counts and len(record.counts.convention_notes) != len(record.counts.conventions):
        raise StbenchError("counts.convention_notes: expected one for each of counts.conventions")


def _without_nonfinite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nonfinite(child) for name, child in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nonfinite(child) for child in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

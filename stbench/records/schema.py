"""The result record of one run: schema version 1, the content of `result.json`.

A record holds plain JSON values only, so that any program can read it, and every name carries its unit. Sections of a
run that failed early, or that only profiled, are empty. Readers refuse another schema version by name: a figure read
under a wrong meaning is worse than none.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from stbench.errors import StbenchError, unknown_name

SCHEMA_VERSION = 1
# Figures of the quality section, each one number for one run.
SCORES = (
    *("fvd", "fvd_inf", "kvd", "mmd", "mmd_biased", "precision", "recall", "density", "coverage"),
    "inception_score",
)
STATUSES = ("finished", "failed", "oom", "nan")
SECTIONS = ("config", "machine", "software", "counts", "timing", "memory", "training", "quality", "files")

NUMBER = (int, float)
# Fields that readers compute with. Each may be missing or null; anything else must have the type.
FIELD_TYPES: dict[str, type | tuple[type, ...]] = {
    "config.variant": dict,
    "config.dataset": dict,
    "config.train": dict,
    "config.seed": int,
    "machine.fingerprint": str,
    "counts.params_total": int,
    "counts.params_trainable": int,
    "counts.gmacs": NUMBER,
    "counts.gflops": NUMBER,
    "counts.gmacs_by_counter": dict,
    "counts.conventions": dict,
    "counts.incomplete": list,
    "timing.forward": dict,
    "timing.forward.samples": list,
    "timing.forward.median": NUMBER,
    "timing.train_step": dict,
    "timing.train_step.samples": list,
    "timing.train_step.median": NUMBER,
    "memory.peak_rss_mib": NUMBER,
    "memory.peak_allocated_mib": NUMBER,
    "memory.peak_reserved_mib": NUMBER,
    "training.steps": int,
    "training.loss_curve": str,
    "training.loss_final": NUMBER,
    "training.wall_s": NUMBER,
    "training.clips_per_s": NUMBER,
    "quality.protocol": dict,
    "quality.protocol_hash": str,
    "quality.detector": str,
    **{f"quality.{score}": NUMBER for score in SCORES},
    "quality.fvd_inf_fit": dict,
    "quality.fvd_interval": list,
    "quality.kvd_interval": list,
    "quality.mmd_interval": list,
    "quality.n_real": int,
    "quality.n_fake": int,
    "quality.refused": str,
    "quality.curve": list,
    "quality.curve_protocol": dict,
    "files.samples": str,
    "files.real": str,
}


@dataclass(frozen=True)
class Record:
    """One run's configuration, machine, costs and quality.

    Args:
        run_id: the run's name, unique among the runs it is compared with.
        status: one of `STATUSES`.
        created: UTC time at which the record was made, ISO 8601.
        config: the resolved configuration, nested dicts of JSON values.
        config_hash: hash of `config`.
        reason: why the run did not finish, one line; None where it did.

    The other fields are the sections of the record; DESIGN.md lists what they hold.
    """

    run_id: str
    status: str
    created: str
    config: dict[str, Any]
    config_hash: str
    reason: str | None = None
    machine: dict[str, Any] = field(default_factory=dict)
    software: dict[str, Any] = field(default_factory=dict)
    counts: dict[str, Any] = field(default_factory=dict)
    timing: dict[str, Any] = field(default_factory=dict)
    memory: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    quality: dict[str, Any] = field(default_factory=dict)
    files: dict[str, Any] = field(default_factory=dict)

    @property
    def finished(self) -> bool:
        """Whether every stage that was asked for came to its end."""
        return self.status == "finished"

    def to_json(self) -> dict[str, Any]:
        """Return the record as JSON values, validated.

        JSON has no NaN: in a run that did not finish, a non-finite number becomes null, as its status says why.

        Raises:
            StbenchError: a field is wrong, or a finished run holds a non-finite number.
        """
        content = {"schema": SCHEMA_VERSION, **dataclasses.asdict(self)}
        if not self.finished:
            content = _without_nonfinite(content)
        validate(content)
        return content

    @classmethod
    def from_json(cls, content: Any) -> Record:
        """Build a record from the parsed content of a `result.json`.

        Raises:
            StbenchError: another schema version, or a field that is missing, unknown or wrong.
        """
        validate(content)
        values = {name: value for name, value in content.items() if name != "schema"}
        return cls(**{name: {} if name in SECTIONS and value is None else value for name, value in values.items()})


def value_at(content: Any, path: str) -> Any:
    """Return the value at a dotted `path` of nested dicts, or None where any part of it is missing."""
    for name in path.split("."):
        if not isinstance(content, dict):
            return None
        content = content.get(name)
    return content


def validate(content: Any) -> None:
    """Check the parsed content of a record.

    Raises:
        StbenchError: naming the first wrong field, what it holds and what was expected.
    """
    if not isinstance(content, dict):
        raise StbenchError(f"a record must be a JSON object, got {type(content).__name__}")
    _validate_version(content)
    _validate_top_level(content)
    for path, kind in FIELD_TYPES.items():
        _validate_type(path, value_at(content, path), kind)
    for name in ("forward", "train_step"):
        _validate_timing(f"timing.{name}", value_at(content, f"timing.{name}"))
    _validate_curve(value_at(content, "quality.curve"))
    _validate_score(content.get("quality") or {})
    _validate_finite("", content)


def _validate_version(content: dict[str, Any]) -> None:
    version = content.get("schema")
    if version is None:
        raise StbenchError(f"schema: missing; expected a stbench record of version {SCHEMA_VERSION}")
    if version != SCHEMA_VERSION:
        hint = ""
        if isinstance(version, int) and version > SCHEMA_VERSION:
            hint = "; it was written by a newer stbench: update stbench to read it"
        raise StbenchError(f"schema: version {version!r}, this stbench reads version {SCHEMA_VERSION}{hint}")


def _validate_top_level(content: dict[str, Any]) -> None:
    known = [declared.name for declared in dataclasses.fields(Record)] + ["schema"]
    for name in content:
        if name not in known:
            raise unknown_name("record field", name, known)
    for name in ("run_id", "status", "created", "config_hash"):
        if not isinstance(content.get(name), str) or not content[name]:
            raise StbenchError(f"{name}: expected a non-empty string, got {content.get(name)!r}")
    if content["status"] not in STATUSES:
        raise StbenchError(f"status: expected one of {', '.join(STATUSES)}, got {content['status']!r}")
    if content["status"] != "finished" and not content.get("reason"):
        raise StbenchError(f"reason: a run with status {content['status']!r} must say why it did not finish")
    _validate_type("reason", content.get("reason"), str)
    for name in SECTIONS:
        _validate_type(name, content.get(name), dict)
    _validate_time(content["created"])


def _validate_time(created: str) -> None:
    try:
        # Python 3.10's fromisoformat does not know the suffix Z.
        time = datetime.fromisoformat(created.replace("Z", "+00:00"))
    except ValueError:
        raise StbenchError(f"created: expected an ISO 8601 time, got {created!r}") from None
    if time.tzinfo is None:
        raise StbenchError(f"created: expected a time in UTC (ending in Z or +00:00), got {created!r}")


def _validate_type(path: str, value: Any, kind: type | tuple[type, ...]) -> None:
    wrong = not isinstance(value, kind) or isinstance(value, bool)
    if value is not None and wrong:
        kinds = kind if isinstance(kind, tuple) else (kind,)
        expected = " or ".join(each.__name__ for each in kinds)
        raise StbenchError(f"{path}: expected {expected} or null, got {value!r:.60}")


def _validate_timing(path: str, timing: dict[str, Any] | None) -> None:
    if not timing:
        return
    if timing.get("unit") != "s":
        raise StbenchError(f"{path}.unit: expected 's', got {timing.get('unit')!r}")
    for index, sample in enumerate(timing.get("samples") or []):
        _validate_type(f"{path}.samples[{index}]", sample, NUMBER)


def _validate_curve(curve: list[Any] | None) -> None:
    for index, point in enumerate(curve or []):
        _validate_type(f"quality.curve[{index}]", point, dict)
        for name in ("step", "fvd", "n_fake"):
            _validate_type(f"quality.curve[{index}].{name}", value_at(point, name), NUMBER)


def _validate_score(quality: dict[str, Any]) -> None:
    """A score means something only beside the detector and the protocol that it was taken with."""
    scored = [name for name in SCORES if quality.get(name) is not None]
    for name in ("detector", "protocol_hash"):
        if scored and not quality.get(name):
            raise StbenchError(f"quality.{name}: missing; expected beside quality.{scored[0]}")


def _validate_finite(path: str, value: Any) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise StbenchError(f"{path}: expected a finite number or null, got {value!r}")
    for name, child in _children(value):
        _validate_finite(f"{path}.{name}" if path else str(name), child)


def _children(value: Any) -> list[tuple[Any, Any]]:
    if isinstance(value, dict):
        return list(value.items())
    return list(enumerate(value)) if isinstance(value, list | tuple) else []


def _without_nonfinite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nonfinite(child) for name, child in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nonfinite(child) for child in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

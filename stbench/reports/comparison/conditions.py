"""What must be equal before figures of several runs are compared, and what to say where it is not."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from stbench.records.measures import Kind
from stbench.records.protocol import difference
from stbench.records.schema import Record, value_at
from stbench.records.sections import CostConditions, Quality, Software, Validation

COMPARED_SOFTWARE = ("stbench", "commit", "dirty")  # these are what a comparison is of: they may differ
LIBRARIES = tuple(each.name for each in dataclasses.fields(Software) if each.name not in COMPARED_SOFTWARE)
OF_VALIDATION = ("n_clips", "draws", "edges")


def obstacle(runs: Sequence[Record], kind: Kind) -> str:
    """Why figures of a kind of these records cannot be compared: what differs, with its values; "" where nothing.

    Args:
        runs: of both sides, all of which have the figure.
        kind: of figure. Counts may always be compared; a loss curve only under the conditions of times, and with equal
            libraries.
    """
    if kind == "exact":
        return ""
    if kind == "quality":
        return _of_quality([record.quality for record in runs if record.quality])
    if kind == "validation":
        return _of_validation([record.validation for record in runs if record.validation])
    conditions = [record.conditions.but_load for record in runs if record.conditions]
    if len(conditions) < len(runs):
        return "the conditions are not recorded"
    fields = {each.name: [getattr(one, each.name) for one in conditions] for each in dataclasses.fields(CostConditions)}
    if kind == "memory":
        fields["peak_rss_source"] = [record.memory and record.memory.peak_rss_source for record in runs]
    if kind == "golden":
        fields = {name: [value_at(record, f"software.{name}") for record in runs] for name in LIBRARIES} | fields
        fields["chosen attention"] = [_chosen_attention(record) for record in runs]
    differing = _differing(fields)
    return f"the conditions differ: {differing}" if differing else ""


def _of_quality(qualities: Sequence[Quality]) -> str:
    if len({quality.protocol_hash for quality in qualities}) == 1:
        return ""
    protocols = [quality.protocol for quality in qualities]
    names = sorted({name for other in protocols for name in difference(protocols[0], other)})
    differing = _differing({f"protocol.{name}": [getattr(each, name) for each in protocols] for name in names})
    return f"the protocols differ: {differing or 'protocol_hash'}"


def _of_validation(validations: Sequence[Validation]) -> str:
    if len({each.protocol_hash for each in validations}) == 1:
        return ""
    differing = _differing({name: [getattr(each, name) for each in validations] for name in OF_VALIDATION})
    return f"the validation losses are of unlike draws or clips: {differing or 'validation.protocol_hash'}"


def _chosen_attention(record: Record) -> str:
    """What attention=auto chose for which call; the training's own figures move with it, by rounding."""
    choices = record.training.attention_choices if record.training else ()
    return ", ".join(sorted(f"{each.backend} for {each.shapes[0]}" for each in choices))


def _differing(fields: Mapping[str, Sequence[Any]]) -> str:
    """The fields that have several values, with these."""
    distinct = {name: list(dict.fromkeys(map(str, values))) for name, values in fields.items()}
    return ", ".join(f"{name} ({' / '.join(values)})" for name, values in distinct.items() if len(values) > 1)

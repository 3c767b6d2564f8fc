"""What must be equal before figures of several runs are compared, and what to say where it is not."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from stbench.records.protocol import difference
from stbench.records.schema import Record
from stbench.records.sections import CostConditions, Quality


def obstacle(runs: Sequence[Record], section: str) -> str:
    """Why figures of a section of these records cannot be compared: what differs, with its values; "" where nothing.

    Args:
        runs: of both sides, all of which hold the section.
        section: "quality", "timing" or "memory".
    """
    if section == "quality":
        return _of_quality([record.quality for record in runs if record.quality])
    conditions = [record.conditions.but_load for record in runs if record.conditions]
    if len(conditions) < len(runs):
        return "the conditions are not recorded"
    fields = {each.name: [getattr(one, each.name) for one in conditions] for each in dataclasses.fields(CostConditions)}
    if section == "memory":
        fields["peak_rss_source"] = [record.memory and record.memory.peak_rss_source for record in runs]
    differing = _differing(fields)
    return f"the conditions differ: {differing}" if differing else ""


def _of_quality(qualities: Sequence[Quality]) -> str:
    if len({quality.protocol_hash for quality in qualities}) == 1:
        return ""
    protocols = [quality.protocol for quality in qualities]
    names = sorted({name for other in protocols for name in difference(protocols[0], other)})
    differing = _differing({f"protocol.{name}": [getattr(each, name) for each in protocols] for name in names})
    return f"the protocols differ: {differing or 'protocol_hash'}"


def _differing(fields: Mapping[str, Sequence[Any]]) -> str:
    """The fields that have several values, with these."""
    distinct = {name: list(dict.fromkeys(map(str, values))) for name, values in fields.items()}
    return ", ".join(f"{name} ({' / '.join(values)})" for name, values in distinct.items() if len(values) > 1)

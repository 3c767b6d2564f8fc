"""Protocols for clips that are there already: from `protocol.FIELD=VALUE` words, and back. Imports no torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import replace
from types import NoneType
from typing import Any, get_args, get_type_hints

from stbench.errors import StbenchError, unknown_name
from stbench.metrics.protocol import PROTOCOLS, get_protocol
from stbench.records.protocol import OPEN, Protocol, fields_where
from stbench.settings.resolve import parse_overrides

DEFAULT_PROTOCOL = "builtin"
# What a user may say: first what is done as the protocol says, then what this command can only be told.
FIELDS = (*fields_where(in_fvd="executed"), *fields_where(in_fvd="told"))


def protocol_from_words(words: Iterable[str]) -> Protocol:
    """Return the protocol that words like "protocol=latte-2048-16f" and "protocol.num_fake=512" describe.

    Raises:
        StbenchError: an unknown name, a value of the wrong type, or a field that this command has no choice in.
    """
    given = parse_overrides(words)
    base = named_protocol(str(given.pop("protocol", DEFAULT_PROTOCOL)))
    known = [f"protocol.{name}" for name in FIELDS]
    changes = {}
    for key, value in given.items():
        if key not in known:
            raise unknown_name("key", key, ["protocol", *known])
        name = key.removeprefix("protocol.")
        changes[name] = _typed(name, value)
    if "detector" in changes:  # its own preprocessing, unless one is named
        changes = {**dict.fromkeys(fields_where(told_by="detector"), OPEN), **changes}
    return replace(base, **changes)


def named_protocol(name: str) -> Protocol:
    """The protocol of this name, which does not claim to know which split lies in a folder."""
    return replace(get_protocol(name), split="as given")


def describe_protocol(protocol: Protocol) -> str:
    """The nearest named protocol, with the fields that are changed."""
    changed = {}
    for name in PROTOCOLS:
        named = named_protocol(name)
        changed[name] = [field for field in FIELDS if getattr(protocol, field) != getattr(named, field)]
        if protocol.preprocessing is OPEN:
            changed[name].remove("preprocessing")  # it follows from the detector
    nearest = min(changed, key=lambda name: len(changed[name]))
    values = {field: getattr(protocol, field) for field in changed[nearest]}
    return ", ".join([nearest, *(f"{name}={None if value is OPEN else value}" for name, value in values.items())])


def _typed(name: str, value: Any) -> Any:
    """Return the value of a protocol's field, or raise the error that says which type it has.

    null opens a field that named protocols leave open, and elsewhere means "all" or "has none" where a field allows it.
    """
    default = next(declared.default for declared in dataclasses.fields(Protocol) if declared.name == name)
    hint = get_type_hints(Protocol)[name]
    types = get_args(hint) or (hint,)
    if default is OPEN:
        if value is None:
            return OPEN
        types = tuple(dict.fromkeys([*types, NoneType]))
    if type(value) in types or (float in types and type(value) is int):
        return value
    expected = " or ".join("null" if each is NoneType else each.__name__ for each in types)
    raise StbenchError(f"protocol.{name}={'null' if value is None else value}: expected {expected}")

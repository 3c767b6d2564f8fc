"""Protocols for clips that are there already: from `protocol.FIELD=VALUE` words, and back. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from types import NoneType
from typing import Any, get_args, get_type_hints

from stbench.errors import StbenchError, unknown_name
from stbench.metrics.protocol import PROTOCOLS, get_protocol
from stbench.records.protocol import Protocol
from stbench.settings.resolve import parse_overrides

DEFAULT_PROTOCOL = "builtin"

# What this command does as the protocol says, and what it can only be told about the clips.
_EXECUTED = (
    *("detector", "preprocessing", "num_frames", "frame_stride_real", "frame_stride_fake", "resolution"),
    *("spatial_rule", "offset_rule", "offset_rule_fake", "clip_seed", "num_real", "num_fake"),
)
_TOLD = (
    *("dataset", "split", "sampler", "num_sampling_steps", "cfg_scale", "ema", "autoencoder", "autoencoder_sha256"),
    "sampling_seed",
)


def protocol_from_words(words: Iterable[str]) -> Protocol:
    """Return the protocol that words like "protocol=latte-2048-16f" and "protocol.num_fake=512" describe.

    Raises:
        StbenchError: an unknown name, a value of the wrong type, or a field that this command has no choice in.
    """
    given = parse_overrides(words)
    base = unsplit_preset(str(given.pop("protocol", DEFAULT_PROTOCOL)))
    known = [f"protocol.{name}" for name in (*_EXECUTED, *_TOLD)]
    changes = {}
    for key, value in given.items():
        if key not in known:
            raise unknown_name("key", key, ["protocol", *known])
        changes[key.removeprefix("protocol.")] = _typed(key, value)
    if "detector" in changes:  # its own preprocessing, unless one is named
        eps = [each.bn_eps for each in PROTOCOLS.values() if each.detector == changes["detector"]]
        changes = {"preprocessing": "", "bn_eps": next(iter(eps), None), **changes}
    return replace(base, **changes)


def unsplit_preset(name: str) -> Protocol:
    """A preset that does not claim to know which split lies in a folder."""
    return replace(get_protocol(name), split="as given")


def _typed(key: str, value: Any) -> Any:
    """Return the value of a protocol's field, or raise the error that says which type it has."""
    hint = get_type_hints(Protocol)[key.removeprefix("protocol.")]
    types = get_args(hint) or (hint,)
    if type(value) in types or (float in types and type(value) is int):
        return value
    expected = " or ".join("null" if each is NoneType else each.__name__ for each in types)
    raise StbenchError(f"{key}={'null' if value is None else value}: expected {expected}")


def describe_protocol(protocol: Protocol) -> str:
    """The nearest preset's name, with the fields that are changed."""
    changed = {
        name: [field for field in (*_EXECUTED, *_TOLD) if getattr(protocol, field) not in ("", getattr(preset, field))]
        for name in PROTOCOLS
        for preset in [unsplit_preset(name)]
    }
    nearest = min(changed, key=lambda name: len(changed[name]))
    return ", ".join([nearest, *(f"{field}={getattr(protocol, field)}" for field in changed[nearest])])

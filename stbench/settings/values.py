"""Values as words give them, and as a declaration wants them: of one type, one spelling, finite, and plain.

A value goes into records and hashes as JSON, so 1000, 1e3 and "1000" must not be three values of one whole number, and
what JSON does not know (infinities, bytes, dates) is no value at all.
"""

from __future__ import annotations

import functools
import json
import math
import types
from collections.abc import Collection, Mapping
from dataclasses import is_dataclass
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from omegaconf import OmegaConf
from pydantic import PydanticSchemaGenerationError, PydanticUserError, TypeAdapter, ValidationError

from stbench.errors import StbenchError, brief

_WHOLE_NUMBERS = 2**63  # what torch and numpy hold
_NAMES = {int: "a whole number", float: "a number", bool: "true or false", str: "text", types.NoneType: "null"}


def parse_value(text: str) -> Any:
    """Read a value as YAML: a number, a text, true, false, null, or a list or mapping of these.

    Raises:
        StbenchError: nothing, or no YAML.
    """
    if not text.strip():
        raise StbenchError("has no value")
    try:
        return OmegaConf.to_container(OmegaConf.from_dotlist([f"value={text}"]))["value"]  # type: ignore[index,call-overload]
    except Exception as error:  # the YAML and grammar errors of the parser share no base class
        raise StbenchError(f"cannot be read: {brief(' '.join(str(error).split()))}") from error


def checked(key: str, value: Any, declared: Any) -> Any:
    """Return a value in the one spelling of its declared type.

    Args:
        key: whose value it is, for the message.
        value: of words, YAML or JSON.
        declared: an annotation such as `int`, `float | None`, `Sequence[str]` or a `Literal`; what cannot be checked
            (`Any`, classes) takes anything plain.

    Raises:
        StbenchError: another type, a number that is not finite or too large, or something that is not plain.
    """
    _check_plain(key, value)
    adapter = _adapter(declared)
    if adapter is None:
        return value
    candidates = [value]
    if isinstance(value, float) and value.is_integer():
        candidates.append(int(value))  # 1e3 is a whole number that YAML reads as another one
    for candidate in candidates:
        try:  # as JSON: there a list may become a tuple, and a text never a number
            return adapter.validate_json(json.dumps(candidate), strict=True)
        except ValidationError:
            continue
    raise StbenchError(f"{key}={brief(value)}: expected {describe_type(declared)}{_hint(value, declared)}")


def annotations_of(target: type) -> dict[str, Any]:
    """The annotations of a constructor's arguments by their names; none where they cannot be read."""
    try:
        return get_type_hints(target if is_dataclass(target) else target.__init__)  # type: ignore[misc]
    except Exception:  # names that only a type checker imports, and whatever else stands in annotations
        return {}


def describe_type(declared: Any) -> str:
    """A declared type in words, such as "a whole number or null"."""
    arguments = get_args(declared)
    if get_origin(declared) in (Union, types.UnionType):
        return " or ".join(describe_type(argument) for argument in arguments)
    if get_origin(declared) is Literal:
        return f"one of {', '.join(map(str, arguments))}"
    if _is_list(declared):
        return "a list"
    return _NAMES.get(declared, str(getattr(declared, "__name__", declared)))


def _check_plain(key: str, value: Any) -> None:
    """Refuse what JSON does not hold."""
    if isinstance(value, Mapping):
        for name, each in value.items():
            if not isinstance(name, str):
                raise StbenchError(f"{key}: the name {name!r} is not text: put it in quotes")
            _check_plain(f"{key}.{name}", each)
    elif isinstance(value, list | tuple):
        for each in value:
            _check_plain(key, each)
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise StbenchError(f"{key}={value}: expected a finite number")
    elif isinstance(value, int):
        if abs(value) >= _WHOLE_NUMBERS:
            raise StbenchError(f"{key}={brief(value, 30)}: expected a whole number below 2^63")
    elif isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise StbenchError(f"{key}={value!a}: expected text in UTF-8") from None
    elif value is not None:
        raise StbenchError(f"{key}={brief(value)}: expected a number, text, list or null, got {type(value).__name__}")


@functools.cache
def _adapter(declared: Any) -> TypeAdapter[Any] | None:
    try:
        return TypeAdapter(declared)
    except (PydanticSchemaGenerationError, PydanticUserError):  # a class of its own
        return None


def _is_list(declared: Any) -> bool:
    origin = get_origin(declared) or declared
    return isinstance(origin, type) and issubclass(origin, Collection) and not issubclass(origin, str | Mapping)


def _hint(value: Any, declared: Any) -> str:
    """What to write instead."""
    alternatives = get_args(declared) if get_origin(declared) in (Union, types.UnionType) else (declared,)
    if isinstance(value, str) and any(map(_is_list, alternatives)):
        return f" such as [{brief(value, 30)}]"
    if isinstance(value, str) and "," in value:
        return "; one value, not several"
    if str in alternatives and isinstance(value, int | float):
        return f": put it in quotes, '\"{brief(value, 30)}\"'"
    return ""

"""A value has the type that is declared and one spelling, or is refused in one line."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Optional

import pytest
from torch import nn

from stbench.errors import StbenchError
from stbench.settings.values import annotations_of, checked, describe_type, parse_value


@pytest.mark.parametrize(
    ("value", "declared", "expected"),
    [
        (3, int, 3),
        (1e3, int, 1000),
        (3, float, 3.0),
        (None, int | None, None),
        (True, bool, True),
        ("a", str, "a"),
        ("a", Literal["a", "b"], "a"),
        (["a", "b"], Sequence[str], ["a", "b"]),
        (["a", "b"], tuple[str, ...], ("a", "b")),
        ([2, 3], list[float], [2.0, 3.0]),
        ({"a": 1}, dict[str, Any], {"a": 1}),
        ({"a": 1}, Mapping[str, int], {"a": 1}),
        ("text", nn.Module, "text"),  # nobody can check that
        ([1, "a", None], Any, [1, "a", None]),
    ],
)
def test_a_value_gets_the_spelling_of_its_type(value: Any, declared: Any, expected: Any) -> None:
    found = checked("k", value, declared)
    assert found == expected
    assert type(found) is type(expected)
    assert json.loads(json.dumps(found)) is not NotImplemented  # plain


@pytest.mark.parametrize(
    ("value", "declared", "message"),
    [
        ("3", int, "k=3: expected a whole number"),
        (1.5, int, "k=1.5: expected a whole number"),
        (True, int, "k=True: expected a whole number"),
        (1, bool, "k=1: expected true or false"),
        (None, float, "k=None: expected a number"),
        (5, str | None, "k=5: expected text or null: put it in quotes, '\"5\"'"),
        ("c", Literal["a", "b"], "k=c: expected one of a, b"),
        ("a", Sequence[str], "k=a: expected a list such as [a]"),
        ([1], list[str], "k=[1]: expected a list"),
        (float("inf"), Any, "k=inf: expected a finite number"),
        ([float("nan")], Any, "k=nan: expected a finite number"),
        ({"a": {1: 2}}, Any, "k.a: the name 1 is not text: put it in quotes"),
        (b"a", Any, "k=b'a': expected a number, text, list or null, got bytes"),
        (2**63, float, "k=9223372036854775808: expected a whole number below 2^63"),
        ("\udce9", str, "k='\\udce9': expected text in UTF-8"),
    ],
)
def test_a_value_of_another_type_is_refused(value: Any, declared: Any, message: str) -> None:
    with pytest.raises(StbenchError) as caught:
        checked("k", value, declared)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("3", 3),
        ("null", None),
        ("[a, 2]", ["a", 2]),
        ("{a: 1}", {"a": 1}),
        ("true", True),
        ("a=b", "a=b"),
    ],
)
def test_words_are_read_as_yaml(text: str, value: Any) -> None:
    assert parse_value(text) == value


@pytest.mark.parametrize("text", ["", "  ", "[1", "{", "a: b: c"])
def test_what_is_no_value_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(StbenchError) as caught:
        parse_value(text)
    assert "\n" not in str(caught.value)


def test_types_in_words() -> None:
    assert describe_type(Optional[int]) == "a whole number or null"  # noqa: UP045
    assert describe_type(Sequence[str] | None) == "a list or null"
    assert describe_type(nn.Module) == "Module"


def test_annotations_are_those_of_the_constructor() -> None:
    class Plain:
        def __init__(self, width: int, deep: "NoSuchName | None" = None) -> None: ...  # type: ignore[name-defined] # noqa: F821, UP037

    class Readable:
        def __init__(self, width: int, free: Any = None) -> None: ...

    @dataclass
    class Declared:
        width: float = 1

    assert annotations_of(Plain) == {}
    assert annotations_of(Readable)["width"] is int
    assert annotations_of(Declared)["width"] is float

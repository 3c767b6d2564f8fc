"""Values that are JSON and cannot stand in a record."""

from __future__ import annotations

from typing import Any

import pytest

from stbench.errors import StbenchError
from stbench.records.values import DEEPEST, LARGEST, LONGEST_TEXT, check_config, check_file_name, check_values


def nested(depth: int) -> Any:
    return 1 if depth == 0 else {"a": nested(depth - 1)}


@pytest.mark.parametrize(
    "content",
    [
        {"a": [1, 2.5, None, True, "text", ("in", {"b": ""})]},
        {"large": [LARGEST, -LARGEST, 2**63 - 1, 1 - 2**63]},
        {"text": "grüße 视频 🎥\n" + "x" * 1000},
        nested(DEEPEST),
    ],
)
def test_what_can_be_shown_passes(content: Any) -> None:
    check_values(content)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"a": [0, {"b": float("inf")}]}, "a.1.b: expected a finite number, got inf"),
        ({"a": -(10**40)}, "a: expected a smaller number, got -1000000000000000000"),
        ({"a": 2 * LARGEST}, "a: expected a smaller number, got 2e+100"),
        ({"a": "x" * (LONGEST_TEXT + 1)}, f"a: expected a text of at most {LONGEST_TEXT} characters, got 100001"),
        ({"a": "\udfff"}, r"a: expected a text that can be written, got '\udfff'"),
        ({"a": {"\ud800": 1}}, r"a: expected a short printable name, got '\ud800'"),
        ({"a\nb": 1}, r"record: expected a short printable name, got 'a\nb'"),
        ({"x" * 300: 1}, "record: expected a short printable name, got 'xxx"),
        (nested(DEEPEST + 1), f"{'.'.join('a' * DEEPEST)}: sections lie too deep in each other"),
    ],
)
def test_what_cannot_is_named_in_one_line(content: Any, message: str) -> None:
    with pytest.raises(StbenchError) as error:
        check_values(content)
    assert str(error.value).startswith(message)
    assert str(error.value).isprintable() and len(str(error.value)) < 200


@pytest.mark.parametrize(
    "config", [{}, {"variant": None, "seed": None}, {"train": {"steps": 3, "ema_decay": 0}, "more": [{}]}]
)
def test_a_configuration_may_lack_what_readers_know(config: dict[str, Any]) -> None:
    check_config(config)


@pytest.mark.parametrize("name", ["samples.npz", "folder/samples.npz", "x" * 255])
def test_names_of_files(name: str) -> None:
    check_file_name("files.samples", name)


@pytest.mark.parametrize("name", ["", "ü" * 128, "a/" * 30])
def test_no_names_of_files(name: str) -> None:
    with pytest.raises(StbenchError, match=r"files\.samples: expected the name of a file, got"):
        check_file_name("files.samples", name)

"""Errors for people: which exit status each has, near matches for an unknown name, and the one line of a reason."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from stbench.errors import (
    CheckFailed,
    FinishedInPart,
    NotComparable,
    StbenchError,
    brief,
    check_whole,
    error_with_place,
    first_line,
    is_of_own_code,
    unknown_name,
)


@pytest.mark.parametrize(
    ("error", "status"), [(StbenchError, 2), (CheckFailed, 1), (FinishedInPart, 3), (NotComparable, 4)]
)
def test_exit_status_of_every_kind(error: type[StbenchError], status: int) -> None:
    assert error("why").exit_status == status
    assert issubclass(error, StbenchError)  # the command line catches this one alone


@pytest.mark.parametrize(
    ("name", "known", "message"),
    [
        ("late", ["vdm", "latte"], "unknown variant 'late': did you mean 'latte'? known: latte, vdm"),
        (
            "latte",
            ["latte2", "latte1"],
            "unknown variant 'latte': did you mean 'latte2' or 'latte1'? known: latte1, latte2",
        ),
        ("zzz", ["latte1"], "unknown variant 'zzz': known: latte1"),
        ("zzz", [], "unknown variant 'zzz': known: none"),
    ],
    ids=["near", "nearest first", "far", "nothing known"],
)
def test_an_unknown_name_is_answered_with_near_matches_and_the_list(name: str, known: list[str], message: str) -> None:
    assert str(unknown_name("variant", name, known)) == message


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("out of range"), "out of range"),
        (RuntimeError("CUDA error\nCompile with TORCH_USE_CUDA_DSA"), "CUDA error"),
        (RuntimeError("\n  CUDA error\n"), "CUDA error"),
        (AssertionError(), "AssertionError"),
        (NotImplementedError(" \n"), "NotImplementedError"),
        (KeyError("size"), "'size'"),
    ],
    ids=["one", "several", "after an empty one", "none", "blanks", "as python writes it"],
)
def test_first_line(error: BaseException, line: str) -> None:
    assert first_line(error) == line


def raised_by(source: str, file: Path) -> BaseException:
    """What a user's file raises."""
    file.write_text(source)
    with pytest.raises(BaseException) as caught:
        exec(compile(source, str(file), "exec"), {})
    return caught.value


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("import json\nx = {}['width']", "KeyError: 'width' ({file}:2)"),
        ("import json\n\njson.loads('[')", "JSONDecodeError: Expecting value: line 1 column 2 (char 1) ({file}:3)"),
        ("import sys\nsys.exit(0)", "SystemExit: 0 ({file}:2)"),
        ("assert False", "AssertionError ({file}:1)"),
        ("def f(:\n  pass", "SyntaxError: invalid syntax ({file}:1)"),
        ("raise RuntimeError('a\\nb')", "RuntimeError: a ({file}:1)"),
        ("from stbench.errors import StbenchError\nraise StbenchError('depth=3 is odd')", "depth=3 is odd"),
    ],
    ids=["own", "in a library", "exit", "without words", "syntax", "several lines", "ours"],
)
def test_an_error_of_a_users_code_names_their_line(
    source: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "mine.py"
    assert error_with_place(raised_by(source, file)) == line.format(file=file)
    monkeypatch.chdir(tmp_path)
    assert error_with_place(raised_by(source, file)) == line.format(file="mine.py")


def test_an_error_without_a_traceback_has_no_place() -> None:
    assert error_with_place(ValueError("narrow")) == "ValueError: narrow"
    assert not is_of_own_code(ValueError("narrow"))


def test_whose_code_an_error_comes_from(tmp_path: Path) -> None:
    assert is_of_own_code(raised_by("import json\njson.loads('[')", tmp_path / "mine.py"))
    with pytest.raises(FileNotFoundError) as caught:
        json.loads((tmp_path / "nowhere").read_text())
    assert is_of_own_code(caught.value)  # of this test
    assert not is_of_own_code(caught.value.with_traceback(caught.tb.tb_next))


def test_whole_numbers() -> None:
    check_whole(0, "dataset.", seed=0, length=7, index=np.int64(3))
    with pytest.raises(StbenchError, match=r"^dataset\.length=0: expected a whole number, at least 1$"):
        check_whole(1, "dataset.", seed=1, length=0)


def test_what_stands_in_a_message_is_short_and_on_one_line() -> None:
    assert brief("a" * 500, 10) == "aaaaaaa..."
    assert brief("a\nb") == "'a\\nb'"
    assert brief([1, 2]) == "[1, 2]"
    assert len(str(unknown_name("variant", "x" * 5000, ["latte1"]))) < 150


def test_where_names_are_many_the_command_that_lists_them_is_named() -> None:
    message = str(unknown_name("key", "train.stepz", ["train.steps", "seed"], see="stbench list settings"))
    assert message == "unknown key 'train.stepz': did you mean 'train.steps'? see `stbench list settings`"

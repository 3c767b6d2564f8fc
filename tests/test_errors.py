"""Errors for people: which exit status each has, near matches for an unknown name, and the one line of a reason."""

from __future__ import annotations

import pytest

from stbench.errors import CheckFailed, FinishedInPart, NotComparable, StbenchError, first_line, unknown_name


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

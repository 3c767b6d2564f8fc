"""Errors meant for people: one line that says what was wrong, where, and what was expected.

Every error that a user can cause is a `StbenchError`; the command line prints its one line and exits with its status
(DESIGN: 1 a regression or a failed check, 2 wrong use, 3 finished in part, 4 not comparable).
"""

from __future__ import annotations

import difflib
import os
import sysconfig
import traceback
from collections.abc import Iterable
from numbers import Integral
from pathlib import Path
from typing import Any

# Code that a user did not write: stbench, torch and whatever else was installed, Python itself, and what has no file.
_INSTALLED = (str(Path(__file__).parent), *(sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")))
_LIBRARIES = (*(f"{folder}{os.sep}" for folder in _INSTALLED), "<")


class StbenchError(Exception):
    """Wrong use: an unknown name, an impossible value, a missing or unreadable file."""

    exit_status = 2


class CheckFailed(StbenchError):
    """A check that was asked for did not hold, or a comparison found a regression."""

    exit_status = 1


class FinishedInPart(StbenchError):
    """Some of the work was done and kept, some of it failed."""

    exit_status = 3


class NotComparable(StbenchError):
    """Two results were measured under conditions that do not allow a comparison."""

    exit_status = 4


def unknown_name(kind: str, name: str, known: Iterable[str], see: str | None = None) -> StbenchError:
    """Build the error for a `name` that is not among the `known` ones, nearest matches first.

    Args:
        kind: what the name was meant to be, e.g. "variant".
        name: what the user wrote.
        known: every name that would have been right.
        see: the command that lists them, where they are too many for a line.
    """
    choices = sorted(known)
    near = difflib.get_close_matches(name, choices, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(repr(match) for match in near)}? " if near else ""
    listing = f"see `{see}`" if see else f"known: {', '.join(choices) or 'none'}"
    return StbenchError(f"unknown {kind} {brief(name)!r}: {hint}{listing}")


def check_whole(least: int, prefix: str = "", **values: object) -> None:
    """Refuse arguments of a constructor that are not whole numbers, or too small ones.

    Args:
        least: the smallest that is allowed.
        prefix: what stands before an argument's name where a user sets it.
        values: the arguments by their names.
    """
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
            raise StbenchError(f"{prefix}{name}={value}: expected a whole number, at least {least}")


def first_line(error: BaseException) -> str:
    """The first line of what an error says, or the name of its type where it says nothing."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def error_with_place(error: BaseException) -> str:
    """What a user's code raised, in one line: its type, what it says, and the line of theirs that it came from.

    An error that never passed through their code has no place; a `StbenchError` is its own line.
    """
    if isinstance(error, StbenchError):
        return str(error)
    what = f"{type(error).__name__}: {first_line(error)}" if str(error).strip() else type(error).__name__
    if isinstance(error, SyntaxError) and error.filename:
        return f"{type(error).__name__}: {error.msg} ({_short(error.filename)}:{error.lineno})"
    own = _own_frames(error)
    return f"{what} ({_short(own[-1].filename)}:{own[-1].lineno})" if own else what


def is_of_own_code(error: BaseException) -> bool:
    """Whether an error came from code that a user wrote, or passed through it."""
    return bool(_own_frames(error))


def _own_frames(error: BaseException) -> list[traceback.FrameSummary]:
    frames = traceback.extract_tb(error.__traceback__)
    return [frame for frame in frames if not frame.filename.startswith(_LIBRARIES)]


def _short(filename: str) -> str:
    """A file as one would name it from here."""
    path = Path(filename)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else filename


def brief(value: Any, limit: int = 80) -> str:
    """A value as it may stand in a message: on one line, and not long."""
    text = value if isinstance(value, str) and value.isprintable() else repr(value)
    return text if len(text) <= limit else f"{text[: limit - 3]}..."

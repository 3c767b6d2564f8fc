"""Errors meant for people: one line that says what was wrong, where, and what was expected.

Every error that a user can cause is a `StbenchError`; the command line prints its one line and exits with its status
(DESIGN: 1 a regression or a failed check, 2 wrong use, 3 finished in part, 4 not comparable).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


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


def unknown_name(kind: str, name: str, known: Iterable[str]) -> StbenchError:
    """Build the error for a `name` that is not among the `known` ones, nearest matches first.

    Args:
        kind: what the name was meant to be, e.g. "variant".
        name: what the user wrote.
        known: every name that would have been right.
    """
    choices = sorted(known)
    near = difflib.get_close_matches(name, choices, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(repr(match) for match in near)}? " if near else ""
    return StbenchError(f"unknown {kind} {name!r}: {hint}known: {', '.join(choices) or 'none'}")


def first_line(error: BaseException) -> str:
    """The first line of what an error says, or the name of its type where it says nothing."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)

"""Work that may fail without ending what goes on around it: its result, or a `Failure` in its place."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ParamSpec, TypeVar

from stbench.errors import first_line
from stbench.runtime.machine import is_out_of_memory

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class Failure:
    """Why there is no result."""

    status: str  # "oom" or "failed"
    reason: str  # one line
    error: Exception = field(repr=False, compare=False)


def attempt(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | Failure:
    """The result of a call, or the failure that ended it.

    What the failed call held in its variables is let go: tensors on a device that may have run out of memory.
    """
    try:
        return work(*args, **kwargs)
    except Exception as error:
        each: BaseException | None = error
        while each is not None:
            traceback.clear_frames(each.__traceback__)
            each = each.__cause__ or each.__context__
        return Failure("oom" if is_out_of_memory(error) else "failed", first_line(error), error)


def value_of(outcome: T | Failure) -> T:
    """The result, where there is one.

    Raises:
        Exception: the one that ended the work, where there is none.
    """
    if isinstance(outcome, Failure):
        raise outcome.error
    return outcome

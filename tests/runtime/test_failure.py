"""Work that fails: what is kept of it, what is let go, and how it goes up again."""

from __future__ import annotations

import traceback
import weakref

import pytest
import torch

from stbench.errors import StbenchError
from stbench.runtime.failure import Failure, attempt, value_of

BROKEN = RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB\nand a second line")


def raise_it(error: Exception) -> int:
    raise error


def test_what_succeeds_is_its_result() -> None:
    assert attempt(divmod, 7, 2) == (3, 1)
    assert attempt(int, "11", base=2) == 3
    assert value_of(5) == 5


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (BROKEN, "oom", "CUDA out of memory. Tried to allocate 2.00 GiB"),
        (torch.OutOfMemoryError("full"), "oom", "full"),
        (MemoryError(), "oom", "MemoryError"),
        (StbenchError("depth=3 is odd"), "failed", "depth=3 is odd"),
        (ZeroDivisionError("division by zero"), "failed", "division by zero"),
    ],
)
def test_what_fails_has_a_status_and_a_reason_of_one_line(error: Exception, status: str, reason: str) -> None:
    outcome = attempt(raise_it, error)
    assert outcome == Failure(status, reason, error)
    assert isinstance(outcome, Failure)
    assert outcome.error is error


def test_a_failure_goes_up_as_what_it_was() -> None:
    outcome = attempt(raise_it, BROKEN)
    with pytest.raises(RuntimeError, match="out of memory") as caught:
        value_of(outcome)
    assert caught.value is BROKEN
    assert [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)][-1] == "raise_it"


def test_what_the_failed_work_held_is_let_go() -> None:
    """Tensors in the variables of the frames that an exception remembers, and of the exception that it came from."""
    held: list[weakref.ref[torch.Tensor]] = []

    def inner() -> None:
        tensor = torch.zeros(3)
        held.append(weakref.ref(tensor))
        raise RuntimeError("inner")

    def outer() -> None:
        tensor = torch.zeros(3)
        held.append(weakref.ref(tensor))
        try:
            inner()
        except RuntimeError as error:
            raise ValueError("outer") from error

    outcome = attempt(outer)
    assert isinstance(outcome, Failure)
    assert outcome.reason == "outer"
    assert [reference() for reference in held] == [None, None]


def test_an_interrupt_is_no_failure() -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        attempt(interrupt)

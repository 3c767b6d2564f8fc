"""Calls in a process of their own, which takes what they built with it: models, memory of a GPU, a user's modules."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import ParamSpec, TypeVar, cast

from stbench.errors import StbenchError

P = ParamSpec("P")
T = TypeVar("T")


def call_aside(function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    """Call a function in a process of its own; all that goes there and comes back can be pickled.

    Raises:
        StbenchError: it raised one, or its process ended without an answer.
    """
    context = multiprocessing.get_context("spawn")  # a fork could not use a GPU that this process has touched
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(there, function, arguments, named))
    process.start()
    there.close()
    try:
        answer = here.recv()
    except EOFError:
        process.join()
        raise StbenchError(f"{function.__name__}: its process ended with status {process.exitcode}") from None
    finally:
        process.kill()
        process.join()
    if isinstance(answer, StbenchError):
        raise answer
    return cast(T, answer)


def _answer(there: Connection, function: Callable[..., object], arguments: tuple[object, ...], named: object) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the parent as well, which ends this process
    try:
        answer = function(*arguments, **cast(dict[str, object], named))
    except StbenchError as error:
        answer = StbenchError(str(error))  # one whose class has other arguments could not be built again there
    with contextlib.suppress(BrokenPipeError):
        there.send(answer)

"""Work in a process of its own, whose memory allocator nobody has touched, called as if it were here."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from types import TracebackType

from stbench.runtime.timing import Work

READY = "ready"


class OwnProcess:
    """Context manager around a process that builds a piece of work and does it whenever this is called.

    A call returns when the work is done. The pipe between the processes costs some ten microseconds.

    Args:
        build: builds the work, there; a function that can be pickled.
        arguments: of `build`.
    """

    def __init__(self, build: Callable[..., Work], *arguments: object) -> None:
        context = multiprocessing.get_context("spawn")  # a fork would inherit this process's allocator
        self._here, there = context.Pipe()
        self._process = context.Process(target=_serve, args=(there, build, arguments), daemon=True)

    def __enter__(self) -> OwnProcess:
        self._process.start()
        self._wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.join()

    def __call__(self) -> None:
        """Do the work once."""
        self._here.send(True)
        self._wait()

    def _wait(self) -> None:
        answer = self._here.recv()
        if answer != READY:
            raise RuntimeError(f"in a process of its own: {answer}")


def _serve(connection: Connection, build: Callable[..., Work], arguments: tuple[object, ...]) -> None:
    """Do the work as often as asked, and answer each time; an exception is an answer too."""
    try:
        work = build(*arguments)
        connection.send(READY)
        while connection.recv():
            work()
            connection.send(READY)
    except Exception as error:
        connection.send(repr(error))

"""Work in a process of its own, whose memory allocator nobody has touched, called as if it were here."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection

from stbench.runtime.timing import Work

READY = "ready"


@contextmanager
def own_process(build: Callable[..., Work], *arguments: object) -> Iterator[Work]:
    """Start a process that builds a piece of work, and yield what does it there.

    A call returns when the work is done. The pipe between the processes costs some ten microseconds.

    Args:
        build: builds the work, there; a function that can be pickled.
        arguments: of `build`.

    Raises:
        RuntimeError: with what went wrong there, while it was built or done.
    """
    context = multiprocessing.get_context("spawn")  # a fork would inherit this process's allocator
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(there, build, arguments), daemon=True)

    def wait() -> None:
        if (answer := here.recv()) != READY:
            raise RuntimeError(f"in a process of its own: {answer}")

    def work() -> None:
        here.send(True)
        wait()

    process.start()
    try:
        wait()  # until it is built
        yield work
    finally:
        process.terminate()
        process.join()


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

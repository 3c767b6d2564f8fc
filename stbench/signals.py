"""Signals that ask a process to end: heeded at once, but never in the middle of a training step."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU)
GRACE_S = 30  # that a process which reads clips outlives a signal, for its parent to take the step it is in

_deferring = False
_deferred: int | None = None  # the signal that came meanwhile


class Interrupted(BaseException):  # like KeyboardInterrupt, it is no error that a program may go on after
    """A signal asked this process to end.

    Args:
        signum: which.
        advice: what has become of the work, and how to go on with it.
    """

    def __init__(self, signum: int, advice: str = "") -> None:
        super().__init__(f"stopped by {signal.Signals(signum).name}" + (advice and f": {advice}"))
        self.signum = signum

    @property
    def exit_status(self) -> int:
        """As shells tell it."""
        return 128 + self.signum


@contextlib.contextmanager
def heeded() -> Iterator[None]:
    """While the block runs, the first such signal raises `Interrupted` in it; a second ends the process at once.

    What was ignored before, as `nohup` does with SIGHUP, stays ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may
        return
    before = {each: signal.getsignal(each) for each in ENDING}
    for each, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(each, _heed)
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


@contextlib.contextmanager
def deferred() -> Iterator[None]:
    """Let the block come to its end before `Interrupted` is raised."""
    global _deferring, _deferred
    _deferring = True
    try:
        yield
    finally:
        signum, _deferring, _deferred = _deferred, False, None
    if signum is not None:
        raise Interrupted(signum)


def leave_to_parent(*_: object) -> None:
    """In a process that reads clips: a signal to the whole group, as Ctrl-C or a scheduler's, is for the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for each in set(ENDING) - {signal.SIGINT}:
        signal.signal(each, lambda *_: signal.alarm(GRACE_S))


def _heed(signum: int, _: Any) -> None:
    global _deferred
    for each in ENDING:
        if signal.getsignal(each) is _heed:
            signal.signal(each, signal.SIG_DFL)
    if _deferring:
        _deferred = signum
    else:
        raise Interrupted(signum)

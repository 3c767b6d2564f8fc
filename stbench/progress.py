"""Progress on standard error, so that standard output stays free for what programs read: a bar, or lines in a log."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, Task, TextColumn, TimeRemainingColumn

Advance = Callable[..., None]
"""advance(count=1, note="") moves the bar and sets the text behind it."""

# How often a log is told: after every twentieth of the steps, or as often as asked, and at least every ten minutes.
LOG_LINES, LOG_SECONDS = 20, 600


class _StandardError(Console):
    def on_broken_pipe(self) -> None:
        """Go on in silence where nobody reads any more (`2>&1 | head`): what counts is in files."""
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def console() -> Console:
    """The console that people read: standard error."""
    return _StandardError(stderr=True, highlight=False)


def say(message: str) -> None:
    """Tell people something, in one line as it is."""
    console().print(message, markup=False, emoji=False, soft_wrap=True)


@contextlib.contextmanager
def progress_bar(label: str, total: int, done: int = 0, log_lines: int = LOG_LINES) -> Iterator[Advance]:
    """Show a bar of `total` steps while the block runs; where standard error is no terminal, a line now and then.

    Args:
        label: what is going on.
        total: how many steps there are.
        done: how many of them were done before.
        log_lines: how many lines a log gets of it.
    """
    columns = (
        TextColumn("{task.description:<22}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.fields[note]}"),
    )
    screen = console()
    in_lines = not screen.is_terminal
    # Four times a second are enough: the work needs the cores.
    with Progress(*columns, console=screen, refresh_per_second=4, disable=in_lines) as progress:
        bar = progress.add_task(label, total=total, completed=done, note="")
        log = _Log(progress.tasks[0], log_lines)

        def advance(count: int = 1, note: str | None = None) -> None:
            progress.advance(bar, count)
            if note is not None:
                progress.update(bar, note=note)
            if in_lines:
                log.tell_when_due()

        yield advance


class _Log:
    """The lines of one bar."""

    def __init__(self, task: Task, lines: int) -> None:
        self.task, self.lines, self.done_before = task, lines, task.completed
        self.told_share, self.told_at = self._share(), 0.0

    def tell_when_due(self) -> None:
        """Write a line where enough was done, or enough time has passed, since the last."""
        task = self.task
        share, seconds = self._share(), task.elapsed or 0.0
        if share == self.told_share and seconds - self.told_at < LOG_SECONDS:
            return
        self.told_share, self.told_at = share, seconds
        parts = [f"{task.description}: {task.completed:.0f}/{task.total:.0f}", task.fields["note"]]
        if done := task.completed - self.done_before:
            # At the pace so far, pauses included: rich's own is of the last half minute, which may be all pause.
            left = seconds / done * ((task.total or 0) - task.completed)
            parts += [f"{timedelta(seconds=round(left))} left"] if round(left) > 0 else []
        say(", ".join(filter(None, parts)))

    def _share(self) -> int:
        return int(self.lines * self.task.completed / max(self.task.total or 0, 1))

"""Progress bars on standard error, so that standard output stays free for what programs read."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

Advance = Callable[..., None]
"""advance(count=1, note="") moves the bar and sets the text behind it."""


def console() -> Console:
    """The console that people read: standard error."""
    return Console(stderr=True, highlight=False)


@contextlib.contextmanager
def progress_bar(label: str, total: int, done: int = 0) -> Iterator[Advance]:
    """Show a bar of `total` steps while the block runs.

    Args:
        label: what is going on.
        total: how many steps there are.
        done: how many of them were done before.
    """
    columns = (
        TextColumn("{task.description:<22}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console(), refresh_per_second=4) as progress:  # the work needs the cores
        task = progress.add_task(label, total=total, completed=done, note="")

        def advance(count: int = 1, note: str | None = None) -> None:
            progress.advance(task, count)
            if note is not None:
                progress.update(task, note=note)

        yield advance

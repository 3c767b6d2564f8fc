"""How busy the machine is with other work, as the threads of this process feel it.

Linux counts for each thread how long it ran and how long it stood ready while another had its processor
(sched-stats.rst of the kernel, /proc/PID/schedstat). That share is what slows a computation down; a load average or the
work of other processes says little on a machine with processors to spare.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

THREADS = Path("/proc/self/task")


def load_average() -> float | None:
    """Threads of all processes that ran or wanted to, a mean over the last minute; None where it is not told."""
    try:
        return os.getloadavg()[0]
    except OSError:
        return None


class WaitedShare:
    """Context manager that measures how long this process's threads waited for a processor.

    Attributes:
        value: once the block has ended, the share of the time in which they ran or could have run; None where the
            system does not tell.
    """

    value: float | None = None

    def __enter__(self) -> WaitedShare:
        self._before = _ran_and_waited()
        return self

    def __exit__(self, *exception: object) -> None:
        spent = [
            (ran - before[0], waited - before[1])
            for thread, (ran, waited) in _ran_and_waited().items()
            for before in [self._before.get(thread, (0, 0))]
        ]
        ran, waited = (sum(column) for column in zip(*spent, strict=True)) if spent else (0, 0)
        self.value = waited / (ran + waited) if ran + waited > 0 else None


def _ran_and_waited() -> dict[str, tuple[int, int]]:
    """Nanoseconds for each thread; nothing where the kernel does not count them."""
    counted = {}
    with contextlib.suppress(OSError):
        for thread in THREADS.iterdir():
            with contextlib.suppress(OSError, ValueError):  # a thread that ended meanwhile
                ran, waited, _ = map(int, (thread / "schedstat").read_text().split())
                counted[thread.name] = ran, waited
    return counted

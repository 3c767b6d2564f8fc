"""Cells run, so many at once: each is `stbench run` in a process of its own, and what becomes of one is no other's.

`run_cells` is all that a sweep asks of whoever runs its cells; what has become of them, each one's folder tells.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from stbench.launch.cells import Cell, State, state_of
from stbench.launch.display import sweep_display
from stbench.launch.logs import begin_log, end_log
from stbench.signals import Interrupted, deferred

COMMAND = (sys.executable, "-m", "stbench", "run")
POLL_S = 0.2
GPUS = Path("/proc/driver/nvidia/gpus")  # a folder for each, told without torch


def run_cells(cells: Sequence[Cell], jobs: int) -> None:
    """Run cells from where each stands; of one that is finished or another process's, nothing is done.

    Args:
        cells: in the order in which they begin.
        jobs: how many run at once; the threads of this process are divided among them.

    Raises:
        Interrupted: by a signal, which is passed on to the processes; they have ended.
    """
    waiting, running, environment = deque(cells), list[_Running](), _environment(jobs)
    with sweep_display(cells) as display, _ended_together(running):
        while waiting or running:
            while waiting and len(running) < jobs:
                cell = waiting.popleft()
                if (state := state_of(cell)).name in ("finished", "running"):
                    display.tell(cell, state)
                else:
                    with deferred():
                        running.append(_Running(cell, environment))
            time.sleep(POLL_S)
            for each in [each for each in running if each.has_ended]:
                running.remove(each)
                display.tell(each.cell, each.ended())
            display.show([each.cell for each in running])


class _Running:
    """A cell's process."""

    def __init__(self, cell: Cell, environment: Mapping[str, str]) -> None:
        self.cell, self._killed_before = cell, _killed_for_memory()
        words = [*cell.words, "--out", str(cell.out), "--resume"]
        with begin_log(cell.log, shlex.join(["stbench", "run", *words])) as log:
            self._process = subprocess.Popen(
                [*COMMAND, *words],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C goes to the parent, which passes it on: a second one would kill
            )

    @property
    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def send(self, signum: int) -> None:
        self._process.send_signal(signum)

    def ended(self) -> State:
        """Wait for the end of the process, and say what it left."""
        status = self._process.wait()
        if state_of(self.cell).name != "running":  # else the log is another's, which has the run's lock
            end_log(self.cell.log, status, _killed_for_memory() > self._killed_before)
        return state_of(self.cell)


def usual_jobs(cells: Sequence[Cell]) -> int:
    """How many cells run at once unless somebody says: two on a CPU, each with half of the threads; one on a GPU.

    Two tiny networks with a core each took 1.25 to 1.8 times as many steps an hour as one with two cores
    (docs/performance.md). On a GPU they would share its memory.
    """
    only_cpu = all(cell.config.settings.device == "cpu" for cell in cells)
    return 2 if only_cpu or not any(GPUS.glob("*")) else 1


def threads_of(jobs: int) -> int | None:
    """How many threads each of so many cells has; None for one alone, which has as many as torch takes."""
    threads = int(os.environ.get("OMP_NUM_THREADS") or len(os.sched_getaffinity(0)))
    return max(1, threads // jobs) if jobs > 1 else None


def _environment(jobs: int) -> dict[str, str]:
    """Of each process."""
    threads = threads_of(jobs)
    divided = {} if threads is None else {"OMP_NUM_THREADS": str(threads)}
    return {**os.environ, **divided, "PYTHONFAULTHANDLER": "1"}  # a crash in compiled code then says where it was


@contextlib.contextmanager
def _ended_together(running: list[_Running]) -> Iterator[None]:
    """Pass a signal that ends the block on to the processes, and wait until they have written their checkpoints."""
    try:
        yield
    except BaseException as error:
        for each in running:
            each.send(error.signum if isinstance(error, Interrupted) else signal.SIGTERM)
        for each in running:
            each.ended()
        raise


def _killed_for_memory() -> int:
    """How many processes of this machine the kernel has ended for want of memory; 0 where it does not tell."""
    with contextlib.suppress(OSError):
        found = re.search(r"^oom_kill (\d+)$", Path("/proc/vmstat").read_text(), flags=re.MULTILINE)
        return int(found[1]) if found else 0
    return 0

"""Work in another process: done there, waited for here, with its errors."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from stbench.bench.own_process import own_process
from stbench.runtime.timing import Work


def note_process(path: Path) -> Work:
    def work() -> None:
        with path.open("a") as file:
            file.write(f"{os.getpid()}\n")

    return work


def fail(when: str) -> Work:
    if when == "building":
        raise ValueError("no such thing")

    def work() -> None:
        raise MemoryError("too large")

    return work


def test_work_is_done_elsewhere_and_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "process"
    with own_process(note_process, path) as work:
        for calls in (1, 2, 3):
            work()
            processes = path.read_text().split()
            assert len(processes) == calls
    assert len(set(processes)) == 1
    assert processes[0] != str(os.getpid())


def test_what_fails_there_is_said_here() -> None:
    with pytest.raises(RuntimeError, match="no such thing"), own_process(fail, "building"):
        pass
    with own_process(fail, "working") as work, pytest.raises(RuntimeError, match="MemoryError"):
        work()

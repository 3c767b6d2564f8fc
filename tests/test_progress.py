"""Progress: shown on standard error, as a bar or in lines, with the count, the note, and what was done before."""

from __future__ import annotations

import os
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from rich.progress import Task, TaskID

from stbench.progress import LOG_LINES, LOG_SECONDS, _Log, progress_bar, say


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What was written to standard error, but for the time left; what was written to standard output is nothing."""
    out, err = capsys.readouterr()
    assert out == ""
    return [line.removesuffix(" left").rpartition(", 0:")[0] or line for line in err.splitlines()]


def test_a_log_gets_a_line_for_every_twentieth_and_the_last(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar("training", total=1000, done=890) as advance:
        for step in range(890, 1000):
            advance(note=f"loss {step}")
    assert lines(capsys) == [
        "training: 900/1000, loss 899",
        "training: 950/1000, loss 949",
        "training: 1000/1000, loss 999",
    ]


def test_a_log_gets_as_many_lines_as_were_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar("validation", total=40, log_lines=1) as advance:
        for _ in range(5):
            advance(8)
    assert lines(capsys) == ["validation: 40/40"]


def test_a_log_is_told_what_takes_long(capsys: pytest.CaptureFixture[str]) -> None:
    task: Any = SimpleNamespace(
        completed=0, total=100 * LOG_LINES, elapsed=0.0, description="training",
        fields={"note": "loss 0.25"},
    )  # fmt: skip
    log = _Log(task, LOG_LINES)
    task.completed = 50
    for share in (0.5, 0.9, 1.0, 1.5, 1.9, 2.1):
        task.elapsed = share * LOG_SECONDS
        log.tell_when_due()
    told = [f"training: 50/2000, loss 0.25, {left} left" for left in ("6:30:00", "13:39:00")]
    assert capsys.readouterr().err.splitlines() == told


def test_the_time_left_is_at_the_pace_so_far_after_a_pause_too(capsys: pytest.CaptureFixture[str]) -> None:
    """30 steps done before, and 30 in 90 seconds, 60 of which were an evaluation: the next 30 may take as long."""
    now = [0.0]
    task = Task(TaskID(0), "training", total=90, completed=30, _get_time=lambda: now[0], fields={"note": ""})
    task.start_time = 0.0
    log = _Log(task, LOG_LINES)
    now[0], task.completed = 90.0, 60
    log.tell_when_due()
    assert capsys.readouterr().err == "training: 60/90, 0:01:30 left\n"
    now[0], task.completed = 120.0, 90
    log.tell_when_due()
    assert capsys.readouterr().err == "training: 90/90\n"


def test_a_note_stays_until_the_next_one(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar("sampling", total=3) as advance:
        advance(note="first")
        advance(2)
    assert lines(capsys) == ["sampling: 1/3, first", "sampling: 3/3, first"]


def test_nothing_to_do_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar("training", total=0) as advance:
        advance(0)
    assert lines(capsys) == []


def test_a_terminal_gets_a_bar(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"TTY_COMPATIBLE": "1", "COLUMNS": "100", "NO_COLOR": "1"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match="broken"), progress_bar("decoding", total=3, done=1) as advance:
        advance()
        raise ValueError("broken")
    assert "decoding" in (shown := capsys.readouterr().err) and "2/3" in shown and "━" in shown


@pytest.mark.parametrize("message", ["resumed at step 3 of run-1", "[red]runs/[a][/red] :warning:", "x" * 300])
def test_messages_go_to_standard_error_as_they_are(message: str, capsys: pytest.CaptureFixture[str]) -> None:
    say(message)
    assert capsys.readouterr() == ("", message + "\n")


def test_work_goes_on_where_nobody_reads_its_progress() -> None:
    code = "from stbench.progress import *\nwith progress_bar('a', 9) as go:\n for _ in range(9): go()\nprint('done')"
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([sys.executable, "-c", code], stderr=writing, stdout=subprocess.PIPE, text=True)
    os.close(writing)
    assert (done.returncode, done.stdout) == (0, "done\n")

"""A cell's log tells how its last process ended, whatever the process had printed."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from stbench.errors import StbenchError
from stbench.launch.logs import begin_log, end_log, read_ending


@pytest.mark.parametrize(
    ("status", "out_of_memory", "ending"),
    [
        (2, False, ("failed", "no such variant (exit status 2)")),
        (2, True, ("failed", "no such variant (exit status 2)")),
        (-signal.SIGSEGV, False, ("failed", "no such variant (crashed by SIGSEGV)")),
        (-signal.SIGKILL, False, ("interrupted", "no such variant (killed by SIGKILL)")),
        (-signal.SIGTERM, False, ("interrupted", "no such variant (killed by SIGTERM)")),
        (128 + signal.SIGTERM, False, ("interrupted", "no such variant (stopped by SIGTERM)")),
        (128 + signal.SIGINT, False, ("interrupted", "no such variant (stopped by SIGINT)")),
    ],
)
def test_the_ending_is_told_with_the_last_words(
    status: int, out_of_memory: bool, ending: tuple[str, str], tmp_path: Path
) -> None:
    path = tmp_path / "runs" / "cell.log"
    with begin_log(path, "stbench run") as log:
        log.write(b"training: 1/6\nstbench: no such variant\nand half a li")
    assert read_ending(path) is None
    end_log(path, status, out_of_memory)
    assert read_ending(path) == ending


def test_the_kernel_s_want_of_memory_is_a_failure(tmp_path: Path) -> None:
    path = tmp_path / "cell.log"
    begin_log(path, "stbench run").close()
    end_log(path, -signal.SIGKILL, out_of_memory=True)
    ending = read_ending(path)
    assert ending
    assert ending[0] == "failed"
    assert "memory ran out" in ending[1]


def test_a_log_goes_on_and_words_of_an_earlier_process_are_not_the_last_one_s(tmp_path: Path) -> None:
    path = tmp_path / "cell.log"
    with begin_log(path, "stbench run") as log:
        log.write(b"stbench: the first time")
    end_log(path, 2, False)
    begin_log(path, "stbench run").close()
    assert read_ending(path) is None
    end_log(path, -signal.SIGKILL, False)
    assert read_ending(path) == ("interrupted", "killed by SIGKILL")
    assert path.read_text() == (
        "=== begun: stbench run\nstbench: the first time\n=== failed: exit status 2\n"
        "=== begun: stbench run\n=== interrupted: killed by SIGKILL\n"
    )


def test_no_log_tells_nothing(tmp_path: Path) -> None:
    assert read_ending(tmp_path / "cell.log") is None


def test_a_log_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")
    with pytest.raises(StbenchError, match=r"cannot write .*cell\.log"):
        begin_log(tmp_path / "runs" / "cell.log", "stbench run")

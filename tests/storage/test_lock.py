"""A folder is one process's at a time, and free again when that process is gone, however it went."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from stbench.errors import StbenchError
from stbench.storage.lock import LOCK_NAME, holder_of, is_held, locked

# Holds a folder, has a child of its own as a loader of clips is one, and says so; then waits.
HOLDER = """
import os, sys, time
from pathlib import Path
from stbench.storage.lock import locked
with locked(Path(sys.argv[1])):
    child = os.fork()
    if child:
        print(child, flush=True)
    time.sleep(600)
"""


def test_a_second_process_is_told_who_the_first_is_and_a_kill_frees_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(folder)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    child = int(holder.stdout.readline())
    with pytest.raises(StbenchError, match=rf"{folder} is in use by process {holder.pid} on .*: wait"), locked(folder):
        pass
    assert str(holder_of(folder)).startswith(f"process {holder.pid} on ")
    holder.kill()
    holder.wait()
    assert holder_of(folder) is None
    with locked(folder):  # the child that the holder left behind has no part in it
        assert is_held(folder) and holder_of(folder) == "this process"
    os.kill(child, signal.SIGKILL)
    assert list(folder.iterdir()) == []


def test_a_process_does_not_share_a_folder_with_itself(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "run")
    with locked(tmp_path / "run"):
        with pytest.raises(StbenchError, match="in use by this process"), locked(tmp_path / "link"):
            pass
        assert is_held(tmp_path / "run")
    assert not is_held(tmp_path / "run")


def test_what_is_empty_is_removed_and_what_was_there_stays(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    for folder in (tmp_path / "runs" / "one", tmp_path / "there"):
        with locked(folder):
            assert (folder / LOCK_NAME).is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["there"]
    with locked(tmp_path / "there" / "two"):
        (tmp_path / "there" / "two" / "kept").touch()
    assert [path.name for path in tmp_path.rglob("*")] == ["there", "two", "kept"]


def test_a_folder_that_was_deleted_is_held_no_more(tmp_path: Path) -> None:
    with locked(tmp_path / "run"):
        shutil.rmtree(tmp_path / "run")
        assert not is_held(tmp_path / "run")
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / LOCK_NAME).write_text("process 1 on another machine")
        assert not is_held(tmp_path / "run")
    assert (tmp_path / "run" / LOCK_NAME).exists()  # it is somebody else's


def test_what_cannot_be_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "run", tmp_path / ("long" * 100)):
        message = f"^cannot make the folder {re.escape(str(folder))}: [A-Z]"
        with pytest.raises(StbenchError, match=message), locked(folder):
            pass


@pytest.mark.parametrize("call", ["lockf", "write"])
def test_a_disk_that_takes_no_lock_is_one_line_and_keeps_nothing(
    call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if call == "lockf":
        monkeypatch.setattr(fcntl, "lockf", refuse)
    else:
        monkeypatch.setattr("stbench.storage.lock.socket.gethostname", refuse)  # called between the lock and the write
    message = f"^cannot lock {tmp_path / 'run'}: No space left on device$"
    with pytest.raises(StbenchError, match=message), locked(tmp_path / "run"):
        pass
    assert [path.name for path in tmp_path.rglob("*")] == (["run", LOCK_NAME] if call == "lockf" else [])
    monkeypatch.undo()
    with locked(tmp_path / "run"):
        assert is_held(tmp_path / "run")

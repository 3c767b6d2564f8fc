"""The log of a cell: all that its processes printed, and between them how each began and ended.

It lies beside the run's folder, as a run that is refused leaves no folder. That a run is finished stands in its record
alone; the log tells why one is not.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import IO

from stbench.errors import StbenchError
from stbench.signals import ENDING
from stbench.storage.files import reason

FAILED, INTERRUPTED = "failed", "interrupted"

_MARK = "=== "  # begins the lines that no process of the cell printed
_TAIL_BYTES = 2**16  # of a log that are looked through for its end
# What a person or a scheduler sends, after which a cell goes on; a process that ends by another one has crashed.
_FROM_OUTSIDE = (*ENDING, signal.SIGKILL)


def begin_log(path: Path, command: str) -> IO[bytes]:
    """Open the log for what a process that runs `command` prints, after what earlier ones did.

    Raises:
        StbenchError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _mark(path, f"begun: {command}")
        return path.open("ab")
    except OSError as error:
        raise StbenchError(f"cannot write {path}: {reason(error)}") from error


def end_log(path: Path, status: int, out_of_memory: bool) -> None:
    """Write how the process ended.

    Args:
        path: of the log.
        status: as `Popen.returncode` tells it.
        out_of_memory: whether the kernel ended a process for want of memory meanwhile.
    """
    signum = -status if status < 0 else status - 128
    if status == -signal.SIGKILL and out_of_memory:
        ending, how = FAILED, "killed by SIGKILL while memory ran out: the kernel ends the process that takes most"
    elif signum in _FROM_OUTSIDE:
        ending, how = INTERRUPTED, f"{'killed' if status < 0 else 'stopped'} by {signal.Signals(signum).name}"
    else:
        ending, how = FAILED, f"crashed by {signal.Signals(signum).name}" if status < 0 else f"exit status {status}"
    _mark(path, f"{ending}: {how}")


def read_ending(path: Path) -> tuple[str, str] | None:
    """How the last process of a cell ended, `FAILED` or `INTERRUPTED`, and why; None where nobody saw its end."""
    lines = _last_lines(path)
    if not lines or not lines[-1].startswith(_MARK):
        return None
    ending, _, how = lines.pop().removeprefix(_MARK).partition(": ")
    if ending == "begun":
        return None
    told = next((line for line in reversed(lines) if line.startswith(("stbench: ", _MARK))), _MARK)
    return ending, how if told.startswith(_MARK) else f"{told.removeprefix('stbench: ')} ({how})"


def _mark(path: Path, text: str) -> None:
    """Add a line of its own, wherever a killed process stopped writing."""
    with path.open("ab+") as file:
        file.seek(-min(1, file.tell()), os.SEEK_END)
        begun = file.read(1) not in (b"", b"\n")
        file.write(f"{chr(10) * begun}{_MARK}{text}\n".encode())


def _last_lines(path: Path) -> list[str]:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
            return [line for line in file.read().decode(errors="replace").splitlines() if line.strip()]
    except FileNotFoundError:
        return []

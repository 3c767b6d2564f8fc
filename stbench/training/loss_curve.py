"""The loss curve of a run: `loss.csv`, one line a step.

It is a log: a run counts its steps in its state. A line that is missing or damaged costs the figures of that line, and
nothing else.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from stbench.errors import StbenchError
from stbench.progress import say
from stbench.storage.files import reason, write_bytes

LOSS_COLUMNS = ("step", "loss", "mse", "vb", "grad_norm", "lr", "seconds")


@dataclass(frozen=True, kw_only=True)
class StepLog:
    """One step, as the loss curve keeps it; terms of the loss are means over the batch."""

    step: int  # optimizer steps taken, with this one
    loss: float
    mse: float
    vb: float | None  # None for objectives that learn no variance
    grad_norm: float  # before clipping
    lr: float

    def line(self, seconds: float) -> dict[str, str]:
        """The texts of `LOSS_COLUMNS`; `seconds` is how long the step took, the wait for its batch included."""
        values = {name: "" if value is None else f"{value:.7g}" for name, value in asdict(self).items()}
        return {**values, "step": str(self.step), "seconds": f"{seconds:.6f}"}


class LossCurve:
    """The file, open for the line of the next step. What was written after the last checkpoint is written anew.

    Args:
        path: where it lies, or is to lie.
        step: steps taken so far; their lines are kept, as far as they are whole.
    """

    def __init__(self, path: Path, step: int) -> None:
        self.path, kept = path, read_lines(path, step)
        if len(kept) < step:
            say(f"{path} lacks the lines of {step - len(kept)} of {step} steps: they are lost")
        write_bytes(path, b"".join(map(_text, [LOSS_COLUMNS, *(line.values() for line in kept)])))
        self._file = path.open("ab", buffering=0)

    def append(self, line: dict[str, str]) -> None:
        """Write the line of a step.

        Raises:
            StbenchError: the disk refused it.
        """
        try:
            self._file.write(_text(line.values()))
        except OSError as error:
            raise StbenchError(f"cannot write {self.path}: {reason(error)}") from error

    def flush(self) -> None:
        """Wait until the disk has every line."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read_lines(path: Path, steps: int) -> list[dict[str, str]]:
    """The whole lines of the first `steps` steps, in order.

    Raises:
        StbenchError: the file is there and cannot be read.
    """
    try:
        lines = path.read_bytes().decode(errors="replace").splitlines(keepends=True)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StbenchError(f"cannot read {path}: {reason(error)}") from error
    split = (line.rstrip("\r\n").split(",") for line in lines if line.endswith("\n"))  # the last may be cut short
    whole = {int(cells[0]): dict(zip(LOSS_COLUMNS, cells, strict=True)) for cells in split if _is_whole(cells)}
    return [whole[step] for step in sorted(whole) if step <= steps]


def summarise_loss_curve(path: Path, steps: int, batch_size: int) -> dict[str, Any]:
    """What the loss curve tells of a training of so many steps: the first fields of the record's `Training`.

    The final loss is a mean over the last tenth of the steps, because single steps are drawn at random timesteps.
    """
    lines = read_lines(path, steps)
    seconds = sum(float(line["seconds"]) for line in lines)
    last = [float(line["loss"]) for line in lines if int(line["step"]) > steps - max(1, steps // 10)]
    return {
        "steps": steps,
        "unlogged_steps": steps - len(lines),
        "loss_curve": path.name,
        "loss_final": sum(last) / len(last) if last else None,
        "wall_s": round(seconds, 3),
        "clips_per_s": round(len(lines) * batch_size / seconds, 3) if seconds else None,
    }


def _text(cells: Iterable[str]) -> bytes:
    return (",".join(cells) + "\r\n").encode()


def _is_whole(cells: list[str]) -> bool:
    if len(cells) != len(LOSS_COLUMNS) or not (cells[0].isascii() and cells[0].isdigit() and int(cells[0])):
        return False
    try:
        return all(
            isfinite(float(text)) for text, name in zip(cells, LOSS_COLUMNS, strict=True) if text or name != "vb"
        )
    except ValueError:
        return False

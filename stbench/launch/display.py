"""One display for a whole sweep: the steps of all its cells, the time left, and a line for each cell that has ended."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from stbench.launch.cells import Cell, State
from stbench.progress import Advance, progress_bar, say

LOSS_CURVE = "loss.csv"  # of a run's folder: one line a step
_LINE_BYTES = 512  # more than a line of it has


@contextmanager
def sweep_display(cells: Sequence[Cell]) -> Iterator[SweepDisplay]:
    """Show the progress of cells that are to be run, while the block runs them."""
    taken = {cell: steps_of(cell) for cell in cells}
    with progress_bar("sweep", sum(cell.steps for cell in cells), sum(taken.values())) as advance:
        yield SweepDisplay(taken, advance)


class SweepDisplay:
    """How far cells have come, as their folders tell.

    Args:
        taken: steps of each cell so far.
        advance: moves the bar.
    """

    def __init__(self, taken: dict[Cell, int], advance: Advance) -> None:
        self._taken, self._advance, self._ended = taken, advance, 0

    def show(self, running: Sequence[Cell]) -> None:
        """Show how far these have come."""
        names = "; ".join(cell.label for cell in running)
        note = f"{self._ended} of {len(self._taken)} cells ended" + (f", now {names}" if names else "")
        self._advance(sum(self._moved(cell, steps_of(cell)) for cell in running), note=note)

    def tell(self, cell: Cell, state: State) -> None:
        """Tell what has become of a cell that is no longer run here; nothing is left to do of it."""
        self._ended += 1
        self._advance(self._moved(cell, cell.steps))
        say(f"{cell.label}: " + ": ".join(filter(None, (state.name, state.reason))))

    def _moved(self, cell: Cell, steps: int) -> int:
        """How many steps it took since the last time; a resumed one may fall behind what was counted."""
        moved = max(0, steps - self._taken[cell])
        self._taken[cell] += moved
        return moved


def steps_of(cell: Cell) -> int:
    """How many steps a cell's training has taken, by the last whole line of its loss curve."""
    try:
        with (cell.folder / LOSS_CURVE).open("rb") as file:
            file.seek(-min(_LINE_BYTES, file.seek(0, os.SEEK_END)), os.SEEK_END)
            lines = file.read().decode(errors="replace").split("\n")[:-1]
    except OSError:  # not begun, or deleted meanwhile
        return 0
    step = lines[-1].partition(",")[0] if lines else ""
    return int(step) if step.isascii() and step.isdigit() else 0

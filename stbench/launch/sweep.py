"""`stbench sweep`: read the cells, run what is not finished, and say what came of it.

There is no file of the sweep's own: the words say which cells there are, and each one's folder how far it has come.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from stbench.errors import FinishedInPart
from stbench.launch.arms import read_arms
from stbench.launch.cells import Cell, State, prepare_cells, state_of
from stbench.launch.execution import run_cells
from stbench.launch.terminal import print_sweep
from stbench.progress import say
from stbench.settings.options import SweepOptions
from stbench.signals import Interrupted
from stbench.storage.files import check_folder


def sweep(words: Sequence[str], options: SweepOptions, out: Path) -> None:
    """Run the cells that words describe, and print what came of them.

    Args:
        words: of all arms; values may be lists.
        options: what to do.
        out: the folder of runs.

    Raises:
        StbenchError: for what a run would refuse, before anything runs.
        FinishedInPart: some cells are not finished.
        Interrupted: by a signal; what ran has written its checkpoints.
    """
    check_folder(out)
    cells = prepare_cells(read_arms(words, options.arm or []), out)
    states = run_missing(cells, options.jobs, options.retry)
    print_sweep(states, out)
    raise_if_missing(states)


def run_missing(cells: Sequence[Cell], jobs: int = 1, retry: bool = False) -> dict[Cell, State]:
    """Run the cells that are not finished.

    Args:
        cells: in the order in which they begin.
        jobs: how many run at once.
        retry: whether those that failed are run as well.

    Returns:
        How far each has come in the end.

    Raises:
        Interrupted: by a signal; what ran has written its checkpoints.
    """
    wanted = ("new", "interrupted", "failed") if retry else ("new", "interrupted")
    before = {cell: state_of(cell) for cell in cells}
    missing = [cell for cell, state in before.items() if state.name in wanted]
    if len(missing) < len(cells):
        say(f"{len(missing)} of {len(cells)} cells to run; left as they are: {_counted(before, but=wanted)}")
    try:
        run_cells(missing, jobs)
    except Interrupted as error:
        so_far = _counted({cell: state_of(cell) for cell in cells})
        raise Interrupted(error.signum, f"{so_far}; the same command goes on") from None
    return {cell: state_of(cell) for cell in cells}


def raise_if_missing(states: Mapping[Cell, State]) -> None:
    """End with exit status 3 where cells are not finished.

    Raises:
        FinishedInPart: saying what to do.
    """
    missing = [state.name for state in states.values() if state.name != "finished"]
    if missing:
        advice = "--retry runs what failed once more" if "failed" in missing else "the same command goes on"
        raise FinishedInPart(f"{len(missing)} of {len(states)} cells are not finished ({_counted(states)}): {advice}")


def _counted(states: Mapping[Cell, State], but: Iterable[str] = ()) -> str:
    """How many cells are in which state."""
    counts = Counter(state.name for state in states.values())
    return ", ".join(f"{number} {name}" for name, number in counts.items() if name not in but)

"""`stbench sweep`: read the cells, run what is not finished, and say what came of it.

There is no file of the sweep's own: the words say which cells there are, and each one's folder how far it has come.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from stbench import paths
from stbench.errors import FinishedInPart
from stbench.launch.arms import Arm, read_arms
from stbench.launch.cells import Cell, State, counted, prepare_cells, state_of, to_run
from stbench.launch.execution import run_cells, threads_of
from stbench.launch.outlook import earlier_records, look_ahead
from stbench.launch.terminal import print_plan, print_price, print_sweep, print_verdicts
from stbench.launch.verdicts import Question, Verdicts, finished_runs, judge, question_of, with_next_round, with_seeds
from stbench.progress import say
from stbench.records.noise_card import NoiseCard, known_cards
from stbench.settings.options import SweepOptions
from stbench.signals import Interrupted
from stbench.storage.files import check_folder


def sweep(words: Sequence[str], options: SweepOptions, out: Path) -> None:
    """Run the cells that words describe and print what came of them, or print only what they would take.

    Args:
        words: of all arms; values may be lists.
        options: what to do.
        out: the folder of runs.

    Raises:
        StbenchError: for what a run would refuse, before anything runs.
        FinishedInPart: some cells are not finished.
        Interrupted: by a signal; what ran has written its checkpoints.
    """
    arms = read_arms(words, options.arm or [])
    question, cards = question_of(options, arms), known_cards([out])
    if question.rule:
        arms = [with_seeds(arm, question.rule.first_look) for arm in arms]
    if options.plan:
        states = {cell: state_of(cell) for cell in prepare_cells(arms, out)}
        outlooks = look_ahead(arms, threads_of(options.jobs), earlier_records([out, paths.DEFAULT_RUNS]))
        print_plan(states, outlooks, options)
        print_price(question, outlooks, cards, options.jobs)
        return
    check_folder(out)
    states, verdicts = _run_in_rounds(arms, question, cards, options, out)
    print_sweep(states, out)
    print_verdicts(question, verdicts)
    raise_if_missing(states)


def _run_in_rounds(
    arms: Sequence[Arm], question: Question, cards: Sequence[NoiseCard], options: SweepOptions, out: Path
) -> tuple[dict[Cell, State], Verdicts]:
    """Run the cells, and as long as the rule asks for more seeds, those as well."""
    while True:
        states = run_missing(prepare_cells(arms, out), options.jobs, options.retry)
        verdicts = judge(question, finished_runs(states), cards)
        more = with_next_round(arms, verdicts, question.rule) if question.rule else arms
        if more == arms:
            return states, verdicts
        say(f"{verdicts.undecided} of {len(verdicts.decisions)} pairs of arms are undecided: another round of seeds")
        arms = more


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
    before = {cell: state_of(cell) for cell in cells}
    missing = to_run(before, retry)
    if left := {cell: state for cell, state in before.items() if cell not in missing}:
        say(f"{len(missing)} of {len(cells)} cells to run; left as they are: {counted(left)}")
    try:
        run_cells(missing, jobs)
    except Interrupted as error:
        so_far = counted({cell: state_of(cell) for cell in cells})
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
        raise FinishedInPart(f"{len(missing)} of {len(states)} cells are not finished ({counted(states)}): {advice}")

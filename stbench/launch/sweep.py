"""`stbench sweep`: read the cells, run what is not finished, and say what came of it.

There is no file of the sweep's own: the words say which cells there are, and each one's folder how far it has come.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from stbench import paths
from stbench.errors import FinishedInPart
from stbench.launch.arms import Arm, read_arms
from stbench.launch.budgets import Planning, take_planning, with_equal_budget
from stbench.launch.cells import Cell, State, counted, prepare_cells, state_of, to_run
from stbench.launch.execution import run_cells, threads_of, usual_jobs
from stbench.launch.outlook import Outlook, earlier_records, look_ahead
from stbench.launch.terminal import (
    print_across_budgets,
    print_budget,
    print_orders,
    print_plan,
    print_price,
    print_sweep,
    print_verdicts,
)
from stbench.launch.tuning import at_rate, chosen_rate, grids_of, told
from stbench.launch.verdicts import (
    Question,
    Verdicts,
    finished_runs,
    judge,
    question_of,
    runs_by_rate,
    with_next_round,
    with_seeds,
)
from stbench.progress import say
from stbench.records.budgets import Budget
from stbench.records.learning_rates import check_orders
from stbench.records.measures import Measure
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
    planning, words = take_planning(words)
    arms = read_arms(words, options.arm or [])
    question, cards = question_of(options, arms), known_cards([out])
    if question.rule:
        arms = [with_seeds(arm, question.rule.first_look) for arm in arms]
    if options.plan:
        _print_plans(arms, planning, question, cards, options, out)
        return
    check_folder(out)
    states, by_budget = dict[Cell, State](), dict[Budget | None, Verdicts]()
    if planning.tries:
        grids = grids_of(arms, planning.tries, planning.tried_seeds)
        arms, tries = _tuned(grids, question.measure, options, out)
        states |= tries
    for budget in planning.budgets:
        spending = with_equal_budget(arms, budget, out)
        own, by_budget[budget] = _run_in_rounds(spending, question, cards, options, out)
        print_budget(budget)
        print_sweep(own, out)
        print_verdicts(question, by_budget[budget])
        states |= own
    print_across_budgets(by_budget)
    print_orders(question, check_orders(runs_by_rate(states), question.measure, cards, question.margin))
    raise_if_missing(states)


def _print_plans(
    arms: Sequence[Arm],
    planning: Planning,
    question: Question,
    cards: Sequence[NoiseCard],
    options: SweepOptions,
    out: Path,
) -> None:
    """Print what would run: the tries of learning rates first, then the arms under each budget."""
    known = earlier_records([out, paths.DEFAULT_RUNS])

    def outlook(some: Sequence[Arm]) -> tuple[dict[Arm, Outlook], int]:
        states = {cell: state_of(cell) for cell in prepare_cells(some, out)}
        jobs = options.jobs or usual_jobs([*states])
        ahead = look_ahead(some, threads_of(jobs), known)
        print_plan(states, ahead, jobs, options.retry)
        return ahead, jobs

    if planning.tries:
        grids = grids_of(arms, planning.tries, planning.tried_seeds)
        outlook([each for grid in grids.values() for each in grid.values()])
        print("then each arm at the rate that these choose; told for its own:")
    for budget in planning.budgets:
        print_budget(budget)
        ahead, jobs = outlook(with_equal_budget(arms, budget, out, keep=False))
        print_price(question, ahead, cards, jobs)


def _tuned(
    grids: Mapping[Arm, Mapping[float, Arm]], measure: Measure, options: SweepOptions, out: Path
) -> tuple[list[Arm], dict[Cell, State]]:
    """Run the tries of every arm, print what they found, and return each arm at its best rate, and the tries.

    Raises:
        StbenchError: too few of an arm's tries have a figure.
    """
    cells = prepare_cells([each for grid in grids.values() for each in grid.values()], out)
    states = run_missing(cells, options.jobs, options.retry)
    finished = finished_runs(states)
    chosen = []
    for arm, grid in grids.items():
        curve = chosen_rate(arm.label, {rate: [*finished[each].values()] for rate, each in grid.items()}, measure)
        print(told(arm.label, curve, measure))
        chosen.append(at_rate(arm, curve.best))
    return chosen, states


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


def run_missing(cells: Sequence[Cell], jobs: int | None = None, retry: bool = False) -> dict[Cell, State]:
    """Run the cells that are not finished.

    Args:
        cells: in the order in which they begin.
        jobs: how many run at once; None for as many as usual.
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
        run_cells(missing, jobs or usual_jobs(missing))
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

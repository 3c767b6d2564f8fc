"""What a training spent, and what its quality was when it had spent less.

Arms are compared at an equal budget, and there are several: equal steps are no equal operations where one network costs
four times the other. So whoever compares says by which, and a finding under one budget is one under that budget.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

from stbench.records.measures import Measure
from stbench.records.schema import Record, value_at

Budget = Literal["steps", "gflops", "seconds", "params"]
BUDGETS: tuple[Budget, ...] = get_args(Budget)
WITHIN = 0.01  # largest relative difference of budgets that are called equal
TITLES: dict[Budget, str] = {
    "steps": "equal training steps",
    "gflops": "equal training operations",
    "seconds": "equal training time",
    "params": "equal parameters",
}


def per_step(record: Record, budget: Budget) -> float | None:
    """What one step of training spends: a step, its executed GFLOPs, or its seconds; None where it is not known.

    A step's seconds are those of the measured step, with nothing else going on; its operations are those of the forward
    and the backward passes of its clips, and of its images in joint training.
    """
    if budget == "steps":
        return 1.0
    if budget == "seconds":
        step = record.timing.get("train_step")
        return step.median if step else None
    if budget == "gflops":
        clips = value_at(record.config, "train.batch_size")
        gmacs = record.counts and record.counts.gmacs_train_step
        return 2 * gmacs * clips if gmacs and clips else None
    return None


def spent(record: Record, budget: Budget) -> float | None:
    """What the whole training spent: steps, GFLOPs or seconds; of "params", how many parameters it trained."""
    if budget == "params":
        return float(record.counts.params_total) if record.counts else None
    one = per_step(record, budget)
    return None if one is None or record.training is None else record.training.steps * one


def shared_budgets(records: Sequence[Record]) -> tuple[Budget, ...]:
    """The budgets that all of these runs spent equally, within 1 %."""
    found: list[Budget] = []
    for budget in BUDGETS:
        amounts = [spent(record, budget) for record in records]
        known = [amount for amount in amounts if amount is not None]
        if known and len(known) == len(amounts) and max(known) - min(known) <= WITHIN * max(known):
            found.append(budget)
    return tuple(found)


def describe_budgets(records: Sequence[Record]) -> str:
    """What these runs may be compared at, for the caption of a table or a plot."""
    shared = shared_budgets(records)
    return "at " + " and ".join(TITLES[budget] for budget in shared) if shared else "at unequal budgets"


def at_budget(record: Record, measure: Measure, budget: Budget, amount: float) -> float | None:
    """The quality when the training had spent less: read off the curve of the run, linear between its points.

    Args:
        record: of a finished run.
        measure: one that has a curve.
        budget: "steps", "gflops" or "seconds".
        amount: in its unit.

    Returns:
        None beyond the curve, or where the point would not be the end of a shorter run: the learning rate of a cosine
        falls to 0 only at the last step.
    """
    one, curve = per_step(record, budget), measure.curve(record)
    schedule = value_at(record.config, "train.lr_schedule")
    if not one or not curve or (schedule not in (None, "constant") and amount < (spent(record, budget) or 0)):
        return None
    step = amount / one
    if not curve[0][0] <= step <= curve[-1][0] * (1 + WITHIN):
        return None
    return _interpolated(curve, min(step, curve[-1][0]))


def _interpolated(curve: Sequence[tuple[int, float]], step: float) -> float:
    """The figure at a step within the curve."""
    before = max(point for point in curve if point[0] <= step)
    after = min(point for point in curve if point[0] >= step)
    if after[0] == before[0]:
        return before[1]
    share = (step - before[0]) / (after[0] - before[0])
    return (1 - share) * before[1] + share * after[1]

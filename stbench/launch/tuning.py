"""`tune.lr=5`: every arm at the same small grid of learning rates, and then at the best of its own.

Each rate is twice the one before it, the arm's own in the middle, so that half and twice the rate of an optimum inside
of the grid are there as well. The tries are runs like others, with an arm's first seed, or with as many as `tune.seeds`
says: enough of them tell whether the order of the arms holds at half and at twice the rates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from stbench.errors import StbenchError
from stbench.launch.arms import Arm
from stbench.launch.aside import call_aside
from stbench.records.learning_rates import TuningCurve, tuning_curve
from stbench.records.measures import Measure
from stbench.records.schema import Record
from stbench.reports.text import format_number

STEP = 2.0  # between two neighbouring rates
FEWEST = 3


def parse_tries(text: str) -> int:
    """How many rates an arm is tried at.

    Raises:
        StbenchError: fewer than three, or an even number, which would leave out the arm's own.
    """
    if not text.isdecimal() or int(text) < FEWEST or int(text) % 2 == 0:
        raise StbenchError(f"tune.lr={text}: expected an odd number of rates from {FEWEST} on, such as 5")
    return int(text)


def parse_seeds(text: str) -> int:
    """How many seeds of an arm are tried at each rate.

    Raises:
        StbenchError: none at all.
    """
    if not text.isdecimal() or int(text) < 1:
        raise StbenchError(f"tune.seeds={text}: expected how many seeds of an arm are tried, such as 3")
    return int(text)


def tried(arm: Arm, rate: float, tries: int, seeds: int = 1) -> dict[float, Arm]:
    """An arm at each rate of its grid, by the rate.

    Args:
        arm: of a sweep.
        rate: its own.
        tries: how many rates, an odd number.
        seeds: how many of the arm's seeds, from the first on.
    """
    rates = [rate * STEP ** (place - tries // 2) for place in range(tries)]
    return {each: at_rate(replace(arm, seeds=arm.seeds[:seeds]), each) for each in rates}


def grids_of(arms: Sequence[Arm], tries: int, seeds: int = 1) -> dict[Arm, dict[float, Arm]]:
    """The tries of every arm, by its learning rates: see `tried`.

    Raises:
        StbenchError: the arms have learning rates of their own to begin with.
    """
    given = {arm.values.get("train.lr") for arm in arms}
    if len(given) > 1:
        raise StbenchError(
            f"tune.lr={tries} finds train.lr for each arm: expected one, the middle of the grid, for all"
        )
    rates = call_aside(rates_of, list(arms))
    return {arm: tried(arm, rate, tries, seeds) for arm, rate in zip(arms, rates, strict=True)}


def at_rate(arm: Arm, rate: float) -> Arm:
    """An arm at another rate, which its label then says."""
    return replace(arm.with_words(f"train.lr={rate:g}"), label=f"{arm.label} train.lr={rate:g}")


def chosen_rate(label: str, records: Mapping[float, Sequence[Record]], measure: Measure) -> TuningCurve:
    """What the tries of an arm found.

    Args:
        label: of the arm.
        records: of the finished tries at each rate, none where they did not finish.
        measure: what a rate is chosen by.

    Raises:
        StbenchError: fewer than two of the tries have that figure.
    """
    curve = tuning_curve(records, measure)
    if curve is None:
        raise StbenchError(f"{label}: fewer than two learning rates gave a {measure.title}: nothing can be chosen")
    return curve


def told(label: str, curve: TuningCurve, measure: Measure) -> str:
    """What the tries of an arm found, in one line with every figure."""
    figures = ", ".join(f"{rate:g}: {format_number(figure)}" for rate, figure in curve.points)
    failed = f"; failed at {', '.join(f'{rate:g}' for rate in curve.failed)}" if curve.failed else ""
    edge = "; the best lies on the edge of the grid, and a better one may lie beyond it" if curve.on_edge else ""
    cost = f"; {format_number(curve.gflops / 1e3)} TFLOPs of training" if curve.gflops else ""
    return f"{label}: train.lr={curve.best:g} by {measure.title} ({figures}{failed}{cost}){edge}"


def rates_of(arms: Sequence[Arm]) -> list[float]:
    """The learning rate of each arm as its words say."""
    from stbench.settings.resolve import resolve

    return [resolve(arm.words).settings.train.lr for arm in arms]

"""What `stbench sweep` prints: what is missing, and a line for each arm. Imports no torch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path

from stbench.launch.arms import Arm
from stbench.launch.cells import Cell, State, counted, to_run
from stbench.launch.outlook import Outlook
from stbench.launch.verdicts import EFFECTS, Question, Verdicts, price_of
from stbench.records.budgets import TITLES, Budget, describe_budgets
from stbench.records.decisions import Decision
from stbench.records.estimates import MIN_SEEDS
from stbench.records.learning_rates import NEARBY, OrderCheck
from stbench.records.measures import MEASURES, Measure
from stbench.records.noise_card import NoiseCard, card_of
from stbench.records.schema import Record
from stbench.records.statistics import ALPHA, summarise_seeds
from stbench.records.store import read_record
from stbench.reports.terminal import print_rows
from stbench.reports.text import effect_in_words

# The columns of the table, as far as any cell has such a figure.
MAIN_FIGURES = ("validation_loss", "fvd", "class_agreement", "motion_all", "params", "train_step_ms")


def print_sweep(states: Mapping[Cell, State], out: Path) -> None:
    """Print what is missing and why, the figures of each arm, and how to see more."""
    for cell, state in states.items():
        if state.name != "finished":
            print(f"missing: {cell.label}: {': '.join(filter(None, (state.name, state.reason)))}; log: {cell.log}")
    records = {cell: read_record(cell.folder) for cell, state in states.items() if state.name == "finished"}
    if records:
        print_rows(_table(states, records))
        print(f"figures are compared {describe_budgets(list(records.values()))}")
        print(f"whole report: stbench report {out} --out {out}-report")


def print_budget(budget: Budget | None) -> None:
    """Print what the arms of the next table spend equally, where that was asked for."""
    if budget:
        print(f"\n{TITLES[budget]}, those of the first arm:")


def print_across_budgets(by_budget: Mapping[Budget | None, Verdicts]) -> None:
    """Print which verdicts hold under one budget and not under another."""
    pairs: dict[tuple[str, str], dict[str, str]] = {}
    for budget, verdicts in by_budget.items():
        for comparison, decision in zip(verdicts.comparisons, verdicts.decisions, strict=True):
            pairs.setdefault(comparison.names, {})[TITLES[budget] if budget else ""] = decision.verdict
    for (first, second), found in pairs.items():
        if len(set(found.values())) > 1:
            told = ", ".join(f"{verdict} at {title}" for title, verdict in found.items())
            print(f"{second} against {first} depends on the budget: {told}")


def print_orders(question: Question, orders: Mapping[tuple[str, str], OrderCheck]) -> None:
    """Print whether the order of each pair of arms holds at half and at twice their learning rates."""
    if not orders:
        return
    print(f"order by {question.measure.title} at other learning rates:")
    rows: list[tuple[str, ...]] = [("arm", "against", *(f"at {factor:g} times" for factor in NEARBY), "order")]
    for (first, second), check in orders.items():
        verdicts = (check.decisions[factor].verdict for factor in NEARBY)
        rows.append((second, first, *verdicts, check.answer))
    print_rows(rows)


def print_plan(states: Mapping[Cell, State], outlooks: Mapping[Arm, Outlook], jobs: int, retry: bool) -> None:
    """Print the cells of each arm, what a run of it takes, and what all that are to be run take."""
    missing = to_run(states, retry)
    rows = [("arm", "seeds", "to run", "time of a run", "peak of memory")]
    for arm, ahead in outlooks.items():
        own = sum(cell.arm == arm for cell in missing)
        time, memory = duration(ahead.seconds), f"{ahead.memory_mib:.0f} MiB"
        rows.append(
            (arm.label, str(len(arm.seeds)), str(own), f"{time}, {ahead.seconds_by}", f"{memory}, {ahead.memory_by}")
        )
    print_rows(rows)
    seconds = [outlooks[cell.arm].seconds for cell in missing]
    known = [each for each in seconds if each is not None]
    in_all = duration(sum(known) / jobs if len(known) == len(seconds) else None)
    print(f"{len(states)} cells ({counted(states)}), {len(missing)} to run, {jobs} at once: {in_all}")


def print_price(question: Question, outlooks: Mapping[Arm, Outlook], cards: Sequence[NoiseCard], jobs: int) -> None:
    """Print how many seeds an arm a verdict takes, by the noise card that holds for all arms."""
    measure, pairs = question.measure, math.comb(len(outlooks), 2)
    if not pairs:
        return
    runs = [(each.config, each.judged_by.get(measure.kind)) for each in outlooks.values()]
    card = card_of(measure, runs, cards)
    if card is None:
        print(
            f"price of a verdict by {measure.title}: not known, as no noise card holds for all arms; `stbench study "
            f"seeds` makes one of 10 seeds of one arm. Without one it takes at least {MIN_SEEDS} seeds an arm"
        )
        return
    noise, seconds = card.noise[measure.name], [each.seconds for each in outlooks.values()]
    a_seed = sum(each or math.nan for each in seconds) / jobs
    print(f"price of a verdict by {measure.title} (sd over seeds {noise.sd:.2g}, {pairs} pairs judged together):")
    for effect in EFFECTS:
        needed = price_of(measure, noise, effect, pairs)
        price = "more than 1000 seeds an arm"
        if needed is not None:
            price = f"{needed} seeds an arm, {duration(None if math.isnan(a_seed) else needed * a_seed)} in all"
        print(f"  a difference of {100 * effect:.0f} {_unit(measure)}: {price}")


def print_verdicts(question: Question, verdicts: Verdicts) -> None:
    """Print the verdict on every pair of arms, or how many seeds it takes until there is one."""
    measure, decisions = question.measure, verdicts.decisions
    if verdicts.incomparable:
        print(f"{verdicts.incomparable} pairs of arms are not compared: their {measure.title} is measured unlike")
    tested = [decision for decision in decisions if decision.interval is not None]
    if decisions and not tested:
        print(f"no verdict by {measure.title}: {decisions[0].reason}")
    if not tested:
        return
    margin = f"{100 * question.margin:g} {_unit(measure)}"
    print(f"verdicts by {measure.title}, margin {margin}, false in {100 * ALPHA:g} % at most:")
    rows: list[tuple[str, ...]] = [
        ("arm", "against", "is", "difference", "p", "seeds", "could have found", "seeds to decide")
    ]
    for comparison, decision in zip(verdicts.comparisons, decisions, strict=True):
        first, second = comparison.names
        rows.append((second, first, decision.verdict, *_evidence(measure, decision)))
    print_rows(rows)


def _evidence(measure: Measure, decision: Decision) -> tuple[str, ...]:
    """What a verdict rests on."""
    p = "-" if decision.p is None else f"{decision.p:.2g}"
    found = "-" if decision.detectable is None else f"{100 * decision.detectable:.1f} {_unit(measure)}"
    return effect_in_words(measure, decision), p, str(decision.n), found, str(decision.seeds_needed or "-")


def _unit(measure: Measure) -> str:
    """Of differences, shown times a hundred."""
    return "points" if measure.share else "%"


def duration(seconds: float | None) -> str:
    """A time as hours, minutes and seconds."""
    return "unknown" if seconds is None else str(timedelta(seconds=max(1, round(seconds))))


def _table(states: Mapping[Cell, State], records: Mapping[Cell, Record]) -> Iterator[tuple[str, ...]]:
    """A row for each arm, below their headings."""
    by_arm: dict[Arm, list[Cell]] = {}
    for cell in states:
        by_arm.setdefault(cell.arm, []).append(cell)
    measures = [MEASURES[name] for name in MAIN_FIGURES]
    measures = [each for each in measures if any(each.of(record) is not None for record in records.values())]
    first = next(iter(records.values()))
    yield ("arm", "seeds finished", *(each.heading(first) for each in measures))
    for arm, cells in by_arm.items():
        own = [records[cell] for cell in cells if cell in records]
        yield (arm.label, f"{len(own)} of {len(cells)}", *(_figure(each, own) for each in measures))


def _figure(measure: Measure, records: list[Record]) -> str:
    """The mean over seeds, and where there are several their standard deviation."""
    values = [value for record in records if (value := measure.of(record)) is not None]
    if not values:
        return "-"
    summary = summarise_seeds(values)
    spread = f" ± {summary.sd:.2g}" if summary.sd else ""
    return f"{summary.mean:.4g}{spread}"

"""How quality goes on with size: power laws of every arm, where they cross, and whether the order of arms holds."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations, pairwise

import pandas as pd

from stbench.errors import StbenchError
from stbench.records.budgets import spent
from stbench.records.families import family_of
from stbench.records.measures import MEASURES, Measure
from stbench.records.scaling import (
    FARTHEST,
    MIN_SIZES,
    Interval,
    PowerLaw,
    Sizes,
    crossing,
    fit_power_law,
    joint_draws,
    rank_stability,
)
from stbench.records.schema import Record
from stbench.reports.context import context_of
from stbench.reports.groups import Group
from stbench.reports.labels import label_configurations
from stbench.reports.plots import Plot, ScaledArm, over_sizes
from stbench.reports.runs import PALETTE, ReportedRuns
from stbench.reports.text import format_number
from stbench.reports.trade_offs import Rivals, heading, rivals_of

NOTE = (
    f"Sizes of one network differ in the arguments of its size alone. From {MIN_SIZES} sizes on a power law is fitted, "
    "L = a C^-b, with a floor + c where the seeds show one. In brackets: 95 % over seeds drawn again, which "
    "of few seeds is too narrow. Predicted: the largest size by the law of the others. Dotted: up to "
    f"{FARTHEST:g} times beyond what was measured, and never farther."
)


@dataclass(frozen=True)
class Axis:
    """What sizes are counted in."""

    name: str
    title: str  # with its unit
    unit: str
    of: Callable[[Record], float | None]


def _tflops(record: Record) -> float | None:
    gflops = spent(record, "gflops")
    return None if gflops is None else gflops / 1e3


AXES = (
    Axis("operations", "Operations of the training (TFLOPs)", "TFLOPs", _tflops),
    Axis("parameters", "Parameters (M)", "M parameters", MEASURES["params"].of),
)


@dataclass
class ScalingSection:
    """What a report says of sizes; without any networks of several sizes it is empty."""

    plots: list[Plot] = field(default_factory=list)
    laws: list[dict[str, str]] = field(default_factory=list)
    sentences: list[str] = field(default_factory=list)

    def table(self) -> pd.DataFrame:
        """The power laws, a row each."""
        return pd.DataFrame(self.laws, dtype=str).fillna("")


def scaling_section(reported: ReportedRuns) -> ScalingSection:
    """Fit what can be fitted in each measure, protocol and way of counting size, and say what cannot."""
    section = ScalingSection()
    for rivals in rivals_of(reported.groups):
        families = _families(rivals.judged)
        quality = heading(rivals.measure, rivals.judged) + rivals.where
        for axis in AXES if families else ():
            _add_laws(section, families, quality, rivals, axis)
        section.sentences += _order(families, quality, rivals.measure)
    return section


def _families(groups: Sequence[Group]) -> dict[str, list[Group]]:
    """Networks of two sizes or more, by a label without the size; each from its smallest."""
    found: dict[str, list[Group]] = {}
    for group in groups:
        found.setdefault(family_of(group.config), []).append(group)
    several = {family: sizes for family, sizes in found.items() if len(sizes) > 1}
    labels = label_configurations({family: json.loads(family) for family in several})
    return {labels[family]: sorted(sizes, key=_parameters) for family, sizes in several.items()}


def _parameters(group: Group) -> float:
    return group.figure("counts.params_total") or 0.0


def _add_laws(
    section: ScalingSection, families: Mapping[str, Sequence[Group]], quality: str, rivals: Rivals, axis: Axis
) -> None:
    """Add the laws of all arms over one way of counting size: a plot, a row each, and where they cross."""
    arms = {label: made for label, groups in families.items() if (made := _sizes(groups, rivals.measure, axis))}
    shared = set.intersection(*(set(sizes.seeds) for sizes in arms.values())) if arms else set()
    draws, laws, scaled = joint_draws(sorted(shared)), dict[str, PowerLaw](), []
    for place, (label, sizes) in enumerate(arms.items()):
        try:
            laws[label] = fit_power_law(sizes, draws)
            section.laws.append(_row(label, quality, axis, laws[label], len(sizes.costs)))
        except StbenchError as error:
            section.sentences.append(f"No law of {quality} over {axis.name} for {label}: {error}.")
        scaled.append(ScaledArm(label, PALETTE[place % len(PALETTE)], sizes, laws.get(label)))
    if scaled:
        figure = over_sizes(scaled, quality, axis.name, axis.title)
        alt = f"{quality} over {axis.name}. " + "; ".join(
            f"{arm.label}: {', '.join(map(format_number, arm.sizes.means))}" for arm in scaled
        )
        records = [record for groups in families.values() for group in groups for record in group.records]
        name = f"scaling-{rivals.stem}-{axis.name}"
        section.plots.append(Plot("scaling", name, alt, figure, context_of(records)))
    section.sentences += _crossings(laws, quality, axis)


def _sizes(groups: Sequence[Group], measure: Measure, axis: Axis) -> Sizes | None:
    """An arm's sizes that have a cost, by rising cost; equal costs are one size."""
    by_cost: dict[float, dict[int, float]] = {}
    for group in groups:
        costs = [cost for record in group.records if (cost := axis.of(record)) is not None]
        if costs:
            by_cost.setdefault(min(costs), {}).update(group.by_seed(measure.of))
    ordered = sorted(by_cost)
    return Sizes(ordered, [by_cost[cost] for cost in ordered]) if ordered else None


def _row(label: str, quality: str, axis: Axis, law: PowerLaw, sizes: int) -> dict[str, str]:
    held, farthest = law.held_out, law.largest * FARTHEST
    return {
        "configuration": label,
        "of": quality,
        "over": axis.name,
        "sizes": str(sizes),
        "exponent b": _with_ends(law.value("b"), law.interval("b")),
        "floor c": _with_ends(law.value("c"), law.interval("c")) if law.floor else "none",
        "largest size": f"{format_number(held.cost)} {axis.unit}",
        "predicted": _with_ends(held.predicted, held.interval),
        "seen": format_number(held.seen),
        "prediction error": f"{100 * held.error:+.1f} %",
        f"at {FARTHEST:g} times the largest": _with_ends(*law.predict(farthest)),
    }


def _crossings(laws: Mapping[str, PowerLaw], quality: str, axis: Axis) -> Iterator[str]:
    for first, second in combinations(laws, 2):
        if found := crossing(laws[first], laws[second]):
            later = found.cost * (1 + 1e-6)
            overtakes = laws[first].law.at(later)[0, 0] < laws[second].law.at(later)[0, 0]
            ahead, behind = (first, second) if overtakes else (second, first)
            at = f"{_with_ends(found.cost, found.interval)} {axis.unit}"
            share = "" if found.share is None else f", in {100 * found.share:.0f} % of the draws"
            where = "within the sizes" if found.beyond == 1 else f"outside the sizes by a factor of {found.beyond:.1f}"
            yield f"By {quality}, {ahead} becomes better than {behind} at {at}{share}; {where}."


def _order(families: Mapping[str, Sequence[Group]], quality: str, measure: Measure) -> Iterator[str]:
    """Say how well the order of the arms at one size is that at the next."""
    if len(families) < 2:
        return
    counts = {len(groups) for groups in families.values()}
    if len(counts) > 1:
        yield f"No rank stability by {quality}: the arms have unequal numbers of sizes."
        return
    told = []
    for place, (smaller, larger) in enumerate(pairwise(zip(*families.values(), strict=True)), start=1):
        stability = rank_stability(*([arm.by_seed(measure.of) for arm in size] for size in (smaller, larger)))
        ends = f" [{stability.interval[0]:.2f}, {stability.interval[1]:.2f}]" if stability.interval else ""
        told.append(f"{stability.tau:.2f}{ends} between sizes {place} and {place + 1}")
    yield f"By {quality}, Kendall's tau of the order of the {len(families)} arms is {'; '.join(told)}."


def _with_ends(value: float, interval: Interval | None) -> str:
    return format_number(value) + (f" [{', '.join(map(format_number, interval))}]" if interval else "")

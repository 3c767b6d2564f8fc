"""Plots of quality against what it costs: which configurations share one, and what is said of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from stbench.records.measures import MEASURES, VALIDATION_LOSS, Measure
from stbench.reports import plots
from stbench.reports.context import context_of
from stbench.reports.drawing import file_stem
from stbench.reports.groups import Group, conditions_apart
from stbench.reports.pareto import pareto_front
from stbench.reports.plots import Plot
from stbench.reports.runs import ReportedRuns, dataset_of

MOST_MARKS = 60  # in a plot
QUALITIES = (MEASURES[VALIDATION_LOSS], MEASURES["fvd"])  # better where lower


@dataclass(frozen=True)
class Rivals:
    """Configurations whose quality was measured under one protocol, and those of their data set that have none.

    `stem` begins the names of their plots' files; `where` tells their titles from those of other protocols.
    """

    measure: Measure
    groups: Sequence[Group]
    stem: str
    where: str

    @property
    def judged(self) -> list[Group]:
        """Those whose quality was measured."""
        return [group for group in self.groups if group.estimate(self.measure.path)]


def trade_off_plots(reported: ReportedRuns) -> Iterator[Plot]:
    """Yield quality against costs: a plot for each protocol, and for times and memory for each set of conditions."""
    for rivals in rivals_of(reported.groups):
        for cost in ("gmacs", "params_m"):
            yield from _plot(cost, rivals.groups, rivals, reported)
        for these, told in conditions_apart(rivals.groups).items():
            alike = [group for group in rivals.groups if group.conditions == (these,)]
            # The peak of the device where any run has one, else the peak of the process.
            on_device = any(group.values("memory.peak_allocated_mib") for group in alike)
            for cost in ("train_step_ms", "peak_allocated_mib" if on_device else "peak_rss_mib"):
                yield from _plot(cost, alike, rivals, reported, told)


def rivals_of(groups: Sequence[Group]) -> Iterator[Rivals]:
    """Yield what may be compared in each measure of quality: all of one protocol together."""
    for measure in QUALITIES:
        measured = [group for group in groups if group.estimate(measure.path)]
        protocols = list(dict.fromkeys(group.condition(measure) for group in measured))
        for protocol in protocols:
            judged = [group for group in measured if group.condition(measure) == protocol]
            datasets = {dataset_of(group.config) for group in judged}
            others = [g for g in groups if not g.estimate(measure.path) and dataset_of(g.config) in datasets]
            stem, where = file_stem(heading(measure, judged)).lower(), ""
            if len(protocols) > 1:
                stem, where = f"{stem}-{file_stem(str(protocol))}", f", protocol {str(protocol)[:12]}"
            yield Rivals(measure, [*judged, *others], stem, where)


def heading(measure: Measure, groups: Sequence[Group]) -> str:
    """What a measure of these configurations is called: a distance with its detector."""
    return next(measure.heading(record) for group in groups for record in group.records if record.finished)


def _plot(
    cost: str, groups: Sequence[Group], rivals: Rivals, reported: ReportedRuns, conditions: str = ""
) -> Iterator[Plot]:
    """Yield the plot of quality against a cost, where any of these groups has both."""
    about, path = plots.COSTS[cost], rivals.measure.path
    known = [(group, value) for group in groups if (value := _cost(group, cost)) is not None]
    marks = [
        plots.Mark(group.label, value, score.mean, score.interval, score.values)
        for group, value in known
        if (score := group.estimate(path))
    ]
    if not marks:
        return
    shown = _drawn(marks)
    capped = f"{len(shown)} of {len(marks)} configurations: the front, and the best. " * (len(shown) < len(marks))
    edge = [plots.Unscored(group.label, value, group.statuses) for group, value in known if not group.estimate(path)]
    judged = [group for group, _ in known if group.estimate(path)]
    quality = heading(rivals.measure, judged)
    where = rivals.where + (f", {conditions}" if conditions else "")
    references = _references(judged) if rivals.measure.name == "fvd" else {}
    figure = plots.quality_against(shown, edge[:MOST_MARKS], references, quality, about, reported.colours, where)
    alt = f"Scatter plot of {quality} against {about.unit}. " + "; ".join(mark.said(quality, about) for mark in shown)
    name = f"{rivals.stem}-vs-{about.kind}" + (f"-{file_stem(conditions)}" if conditions else "")
    context = context_of([record for group in judged for record in group.records])
    yield Plot(about.kind, name, alt, figure, capped + context)


def _drawn(marks: Sequence[plots.Mark]) -> list[plots.Mark]:
    """As many as can be drawn: those on the Pareto front, then those of the best quality."""
    front = set(pareto_front([(mark.x, mark.y) for mark in marks]))
    ranked = sorted(range(len(marks)), key=lambda place: (place not in front, marks[place].y))
    return [marks[place] for place in sorted(ranked[:MOST_MARKS])]


def _cost(group: Group, cost: str) -> float | None:
    """A cost of a group under its name in `plots.COSTS`; a time that was taken under load is none."""
    if cost == "gmacs":
        return group.figure("counts.gmacs")
    if cost == "params_m":
        params = group.figure("counts.params_total")
        return None if params is None else params / 1e6
    if cost == "train_step_ms":
        time = group.time("train_step")
        return time.ms if time and not time.under_load else None
    return group.cost(f"memory.{cost}")


def _references(groups: Sequence[Group]) -> dict[str, float]:
    """What FVDs are held against, by name: the lowest of untrained networks, and of real clips against others."""
    found = {
        "untrained": [value for group in groups for value in group.values("quality.fvd_untrained")],
        "real against real": [value for group in groups for value in group.values("quality.fvd_real_vs_real")],
    }
    return {name: min(values) for name, values in found.items() if values}

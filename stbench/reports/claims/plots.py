"""Plots of an outcome of claims: by how much arms differ, what every run reached, and how it got there."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from stbench.records.claim_verdicts import ArmSummary, Finding, Outcome
from stbench.records.measures import get_measure
from stbench.records.statistics import mean
from stbench.reports.drawing import NEUTRAL, RULE, STYLE, format_tick, label_points, new_figure, scale_axis
from stbench.reports.plots import VERDICT_COLOURS
from stbench.reports.runs import PALETTE


def draw_plots(outcome: Outcome) -> dict[str, Figure]:
    """Every plot that there is something for, by the stem of its file's name."""
    figures = {}
    for dataset in outcome.about.datasets:
        for measure in dict.fromkeys(name for arm in outcome.arms for name in arm.figures):
            stem = f"{dataset}-{measure.replace('_', '-')}"
            if found := _differences(outcome, dataset, measure):
                figures[f"differences-{stem}"] = differences(found, f"{get_measure(measure).title} on {dataset}")
            arms = [arm for arm in outcome.arms if (arm.dataset, arm.rate) == (dataset, 1.0) and arm.figures[measure]]
            if arms:
                figures[f"arms-{stem}"] = arms_plot(arms, measure, dataset)
            curved = {arm.arm: _mean_curve(arm, measure) for arm in arms if arm.curves[measure]}
            if curved:
                figures[f"curves-{stem}"] = curves_plot(curved, measure, dataset)
    return figures


def _differences(outcome: Outcome, dataset: str, measure: str) -> dict[str, Finding]:
    """The comparisons at the end and at equal steps, each pair once, by the ids of the claims that ask for it."""
    found: dict[frozenset[str], tuple[Finding, list[str]]] = {}
    for verdict in outcome.verdicts:
        for finding in verdict.findings if verdict.dataset == dataset else ():
            if (finding.measure, finding.budget, finding.at, finding.rate) != (measure, "steps", 1.0, 1.0):
                continue
            if finding.decision and finding.decision.interval:
                pair = frozenset((finding.first, finding.second))
                found.setdefault(pair, (finding, []))[1].append(verdict.claim.id)
    return {
        f"{finding.first} against {finding.second} ({', '.join(dict.fromkeys(ids))})": finding
        for finding, ids in found.values()
    }


@matplotlib.rc_context(STYLE)
def differences(found: Mapping[str, Finding], title: str) -> Figure:
    """Plot the difference of each pair with its interval; left is better where less is."""
    figure, axes = new_figure(f"Differences in {title}", "First against second (%), interval at the level tested", "")
    figure.set_size_inches(7.6, 1.6 + 0.32 * len(found))
    axes.axvline(0, color=RULE, linewidth=1.6)
    for row, finding in enumerate(found.values()):
        decision = finding.decision
        assert decision
        assert decision.interval
        assert decision.effect is not None
        colour = VERDICT_COLOURS.get(decision.verdict, NEUTRAL)
        axes.plot([100 * end for end in decision.interval], [row, row], color=colour, linewidth=2)
        axes.plot([100 * decision.effect], [row], "o", color=colour, markersize=6)
    axes.set_yticks(range(len(found)), list(found))
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.xaxis.set_major_formatter(FuncFormatter(format_tick))
    return figure


@matplotlib.rc_context(STYLE)
def arms_plot(arms: list[ArmSummary], measure: str, dataset: str) -> Figure:
    """Plot the figure of every run as a dot, and the mean of each arm as a stroke."""
    about = get_measure(measure)
    figure, axes = new_figure(f"Every run on {dataset}", about.title, "")
    figure.set_size_inches(7.6, 1.6 + 0.3 * len(arms))
    for row, arm in enumerate(arms):
        values = list(arm.figures[measure].values())
        axes.plot(values, np.full(len(values), row), "o", color=PALETTE[0], markersize=5, alpha=0.55)
        axes.plot([mean(values)], [row], "|", color=PALETTE[1], markersize=15, markeredgewidth=2)
    axes.set_yticks(range(len(arms)), [arm.arm for arm in arms])
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    scale_axis(axes, "x", [value for arm in arms for value in arm.figures[measure].values()])
    return figure


@matplotlib.rc_context(STYLE)
def curves_plot(curves: Mapping[str, Mapping[int, float]], measure: str, dataset: str) -> Figure:
    """Plot the mean over seeds on the way, a line for each arm."""
    about = get_measure(measure)
    figure, axes = new_figure(f"On the way, on {dataset}", "Training steps", f"{about.title}, mean over seeds")
    figure.set_size_inches(7.6, 2.4 + 0.22 * len(curves))
    ends = []
    for place, (arm, curve) in enumerate(curves.items()):
        colour = PALETTE[place % len(PALETTE)]
        steps = [step for step in curve if step > 0]
        axes.plot(steps, [curve[step] for step in steps], color=colour, linewidth=1.6)
        ends.append((float(steps[-1]), curve[steps[-1]], arm, colour))
    scale_axis(axes, "y", [curve[step] for curve in curves.values() for step in curve if step > 0])
    label_points(axes, ends, outside=True)
    return figure


def _mean_curve(arm: ArmSummary, measure: str) -> dict[int, float]:
    """The mean over the seeds at every step at which all of them were measured."""
    curves = [dict(curve) for curve in arm.curves[measure].values()]
    steps = sorted(set.intersection(*(set(curve) for curve in curves)))
    return {step: mean([curve[step] for curve in curves]) for step in steps}

"""Plot of a noise card: every training seed, the networks that were sampled again, and what clips alone leave open."""

from __future__ import annotations

import math

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from stbench.records.measures import MEASURES, Measure
from stbench.records.noise_card import Noise, NoiseCard
from stbench.reports.drawing import INK, STYLE, dress_axes, format_tick
from stbench.reports.runs import PALETTE

SHOWN = ("validation_loss", "fvd", "kvd", "class_agreement", "motion_all")  # panels, where the card has them
COLUMNS = ("training\nseeds", "sampling\nseeds", "clips")
WIDTH = 0.25  # half of a column that points are spread over


@matplotlib.rc_context(STYLE)
def seeds_plot(card: NoiseCard) -> Figure:
    """Plot the figures of the first arm, a panel for each measure.

    In the middle each colour is one network, sampled with several seeds; on the right the bar is two standard errors of
    the clips about the mean.
    """
    names = [name for name in SHOWN if name in card.noise]
    figure = Figure(figsize=(3.4 * max(1, len(names)), 3.9), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, name in zip(figure.subplots(1, max(1, len(names)), squeeze=False)[0], names, strict=False):
        _panel(axes, card, MEASURES[name], card.noise[name])
    return figure


def _panel(axes: Axes, card: NoiseCard, measure: Measure, noise: Noise) -> None:
    """The three spreads of one measure, side by side."""
    dress_axes(axes, measure.title, "", "")
    axes.set_xticks(range(len(COLUMNS)), COLUMNS)
    axes.set_xlim(-0.5, len(COLUMNS) - 0.5)
    axes.yaxis.set_major_formatter(FuncFormatter(format_tick))
    axes.axhline(noise.mean, color=INK, linewidth=0.8)
    networks = _networks(card, measure)
    first = [figures[0] for figures in networks]
    axes.plot(_spread_over(0, len(first)), first, "o", color=PALETTE[0], markersize=5)
    again = [figures for figures in networks if len(figures) > 1]
    for place, figures, colour in zip(_spread_over(1, len(again)), again, PALETTE * len(again), strict=False):
        axes.plot([place] * len(figures), figures, "o-", color=colour, markersize=4, linewidth=1)
    if noise.clips_sd is not None:
        low, high = (_moved(measure, noise.mean, side * 2 * noise.clips_sd) for side in (-1, 1))
        axes.plot([2, 2], [low, high], color=PALETTE[1], linewidth=3)


def _networks(card: NoiseCard, measure: Measure) -> list[list[float]]:
    """Of each network of the first arm its figures, that of its own run first."""
    arm = next(iter(card.arms))
    found: dict[int, list[float]] = {}
    for run in card.runs:
        if run.arm == arm and measure.name in run.figures:
            found.setdefault(run.seed, []).append(run.figures[measure.name])
    return list(found.values()) if measure.kind == "quality" else [figures[:1] for figures in found.values()]


def _spread_over(column: int, number: int) -> list[float]:
    """Places side by side in a column."""
    return [float(place) for place in np.linspace(column - WIDTH, column + WIDTH, number)] if number > 1 else [column]


def _moved(measure: Measure, mean: float, size: float) -> float:
    """A figure moved by so much on the scale of the test."""
    return mean * math.exp(size) if measure.positive else mean + size

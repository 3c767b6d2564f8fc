"""Plots of an outcome of claims."""

from __future__ import annotations

from dataclasses import replace

import pytest
from matplotlib.figure import Figure

from stbench.records.claim_verdicts import Outcome
from stbench.reports.claims.plots import draw_plots


@pytest.fixture(scope="module")
def drawn(outcome: Outcome) -> dict[str, Figure]:
    return draw_plots(outcome)


def test_every_plot_that_there_is_something_for(outcome: Outcome, drawn: dict[str, Figure]) -> None:
    kinds = ("differences", "arms", "curves")
    assert list(drawn) == [f"{kind}-shapes-validation-loss" for kind in kinds]
    assert draw_plots(replace(outcome, arms=())) == {}


def test_a_pair_that_several_claims_ask_for_is_drawn_once(drawn: dict[str, Figure]) -> None:
    [axes] = drawn["differences-shapes-validation-loss"].axes
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["mine against base (sees, A)", "base against twin (B)"]


def test_every_run_is_a_dot(drawn: dict[str, Figure]) -> None:
    [axes] = drawn["arms-shapes-validation-loss"].axes
    dots = [line for line in axes.lines if line.get_marker() == "o"]
    assert [len(list(line.get_xdata())) for line in dots] == [5, 5, 5]  # type: ignore[arg-type]


def test_curves_are_means_without_the_untrained_network(drawn: dict[str, Figure]) -> None:
    [axes] = drawn["curves-shapes-validation-loss"].axes
    first = axes.lines[0]
    assert list(first.get_xdata()) == [20, 40]  # type: ignore[arg-type]
    assert list(first.get_ydata()) == pytest.approx([0.5, 0.102])  # type: ignore[arg-type]

"""A comparison as Markdown, as an HTML page that carries everything with it, and as a plot of its ratios."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
from matplotlib.figure import Figure

from stbench.records.statistics import ALPHA, FACTOR
from stbench.reports import html, plots
from stbench.reports.comparison.verdicts import BETTER, CHANGED, NOT_COMPARABLE, SAME, WORSE
from stbench.reports.tables import to_markdown
from stbench.reports.text import format_cell, markdown_text

if TYPE_CHECKING:
    from stbench.reports.comparison.cells import Cell, Comparison

DIFFERENT = (WORSE, CHANGED, BETTER)
RULES = (
    f"Counts must be equal. Times and memory differ beyond a factor of {FACTOR}, on one machine under equal "
    f"conditions, times also beyond noise (Mann-Whitney, p < {ALPHA}). FVD and KVD differ beyond a factor of "
    f"{FACTOR} under one protocol and, with several seeds on both sides, beyond their noise (Welch's t test, "
    f"p < {ALPHA}). Ratios are new over base."
)


def comparison_markdown(comparison: Comparison) -> str:
    """Return the headline, one table a cell, and the runs without a counterpart."""
    parts = [f"## {markdown_text(comparison.headline)}"]
    for cell in comparison.cells:
        parts.append(f"### {markdown_text(cell.name)}")
        if cell.differences:
            parts.append(f"Configuration: {markdown_text('; '.join(cell.differences))}.")
        parts.append(to_markdown(_shown(cell)))
    parts += [f"{title}: {markdown_text(', '.join(names))}." for title, names in _unpaired(comparison).items()]
    return "\n\n".join([*parts, RULES]) + "\n"


def _unpaired(comparison: Comparison) -> dict[str, list[str]]:
    sides = {"Missing in NEW": comparison.missing, "Only in NEW": comparison.added}
    return {title: names for title, names in sides.items() if names}


def _shown(cell: Cell) -> pd.DataFrame:
    rows = [
        (v.metric, format_cell(v.base), format_cell(v.new), format_cell(v.ratio), v.verdict, v.reason)
        for v in cell.verdicts
    ]
    return pd.DataFrame(rows, columns=["metric", "base", "new", "ratio", "verdict", "reason"], dtype=str)


def comparison_page(comparison: Comparison, figure: Figure | None) -> str:
    """Return the whole page.

    Args:
        comparison: what was compared.
        figure: from `ratio_plot`.
    """
    kinds = (*DIFFERENT, SAME, NOT_COMPARABLE)
    cells = comparison.cells
    return html.render(
        "comparison.html",
        title=cells[0].name if len(cells) == 1 else f"{len(cells)} configurations compared",
        lead=comparison.headline,
        facts={kind.capitalize(): sum(verdict.verdict == kind for verdict in comparison.verdicts) for kind in kinds},
        figure=figure,
        cells=[(cell, _shown(cell)) for cell in cells],
        unpaired=_unpaired(comparison),
        rules=RULES,
    )


def ratio_plot(comparison: Comparison) -> Figure | None:
    """Return a plot of the ratios, of several configurations only those that differ; None where there are none."""
    several = len(comparison.cells) > 1
    points = [
        (f"{cell.name}: {verdict.metric}" if several else verdict.metric, verdict.ratio, verdict.verdict)
        for cell in comparison.cells
        for verdict in cell.verdicts
        if verdict.ratio is not None and (not several or verdict.verdict in DIFFERENT)
    ]
    return plots.ratios(points) if points else None

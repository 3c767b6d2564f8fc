"""A comparison as Markdown, as an HTML page that carries everything with it, and as a plot of its ratios."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import pandas as pd
from matplotlib.figure import Figure

from stbench.records.statistics import ALPHA, FACTOR, ONE_PROCESS_FACTOR
from stbench.reports import html, plots
from stbench.reports.comparison.verdicts import BETTER, CHANGED, NOT_COMPARABLE, SAME, UNDECIDED, WORSE
from stbench.reports.formats import to_markdown
from stbench.reports.text import format_cell, format_number, markdown_text

if TYPE_CHECKING:
    from stbench.reports.comparison.cells import Cell, Comparison
    from stbench.reports.comparison.verdicts import Verdict

DIFFERENT = (WORSE, CHANGED, BETTER)
WIDTH = 80  # characters of a line of text; tables are as narrow as their names allow
RULES = (
    f"Counts must be equal. Times and memory are compared under equal conditions, quality under one protocol. A "
    f"difference is beyond a factor of {FACTOR} and, in times and quality, beyond the noise of runs (Welch's t test, "
    f"p < {ALPHA}, corrected for all figures of the comparison); with one run a side, times differ beyond a factor of "
    f"{ONE_PROCESS_FACTOR} and quality is undecided. Same: equal, or the 95 % interval of the ratio lies within the "
    f"factor. Ratios are new over base."
)


def comparison_markdown(comparison: Comparison) -> str:
    """Return the headline, for each cell a table with what the verdicts rest on, and the runs without a counterpart."""
    parts = [_wrapped(f"**{markdown_text(comparison.headline)}**")]
    for cell in comparison.cells:
        parts.append(f"### {markdown_text(cell.name)}")
        if cell.differences:
            parts.append(_wrapped(f"Configuration: {markdown_text('; '.join(cell.differences))}."))
        parts.append(to_markdown(_shown(cell)))
        if notes := _notes(cell):
            parts.append("\n".join(_wrapped(f"- {markdown_text(note)}", indent="  ") for note in notes))
    unpaired = _unpaired(comparison).items()
    parts += [_wrapped(f"{title}: {markdown_text(', '.join(names))}.") for title, names in unpaired]
    return "\n\n".join([*parts, _wrapped(RULES)]) + "\n"


def _wrapped(text: str, indent: str = "") -> str:
    return textwrap.fill(text, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def _unpaired(comparison: Comparison) -> dict[str, list[str]]:
    sides = {"Missing in NEW": comparison.missing, "Only in NEW": comparison.added}
    return {title: names for title, names in sides.items() if names}


def _shown(cell: Cell) -> pd.DataFrame:
    """The table of a cell; where there is little room, its first columns are what one sees."""
    rows = [(v.metric, v.verdict, *map(format_cell, (v.ratio, v.base, v.new))) for v in cell.verdicts]
    return pd.DataFrame(rows, columns=["metric", "verdict", "ratio", "base", "new"], dtype=str)


def _notes(cell: Cell) -> list[str]:
    """What verdicts rest on, in sentences; what rests on the same stands together."""
    metrics: dict[str, list[str]] = {}
    for verdict in cell.verdicts:
        if grounds := _grounds(verdict):
            metrics.setdefault(grounds, []).append(verdict.metric)
    return [f"{', '.join(names)}: {grounds}" for grounds, names in metrics.items()]


def _grounds(verdict: Verdict) -> str:
    told = [verdict.reason] if verdict.reason else []
    if verdict.ratio_interval:
        low, high = map(format_number, verdict.ratio_interval)
        told.append(f"the ratio is {low} to {high} (95 %)")
    if verdict.p is not None:
        told.append(f"p = {verdict.p:.2g}")
    return "; ".join(told)


def comparison_page(comparison: Comparison, figure: Figure | None) -> str:
    """Return the whole page.

    Args:
        comparison: what was compared.
        figure: from `ratio_plot`.
    """
    kinds = (*DIFFERENT, SAME, UNDECIDED, NOT_COMPARABLE)
    cells = comparison.cells
    return html.render(
        "comparison.html",
        title=cells[0].name if len(cells) == 1 else f"{len(cells)} configurations compared",
        lead=comparison.headline,
        facts={kind.capitalize(): sum(verdict.verdict == kind for verdict in comparison.verdicts) for kind in kinds},
        figure=figure,
        cells=[(cell, _shown(cell), _notes(cell)) for cell in cells],
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

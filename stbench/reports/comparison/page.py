"""A comparison as Markdown, as CSV, as an HTML page that carries everything with it, and as a plot of its ratios."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING

import pandas as pd
from markupsafe import escape
from matplotlib.figure import Figure

from stbench.records.statistics import ALPHA, FACTOR, ONE_PROCESS_FACTOR
from stbench.reports import html, plots
from stbench.reports.comparison.verdicts import DIFFERENT, NOT_COMPARABLE, SAME, UNDECIDED
from stbench.reports.formats import to_markdown
from stbench.reports.text import format_cell, format_number, markdown_text

if TYPE_CHECKING:
    from stbench.reports.comparison.cells import Cell, Comparison
    from stbench.reports.comparison.overlays import Overlay
    from stbench.reports.comparison.verdicts import Verdict

WIDTH = 80  # characters of a line of text; tables are as narrow as their names allow
MOST_CELLS = 40  # in Markdown, of which a comment on a pull request holds 65,536 characters
RULES = (
    f"Counts must be equal, and loss curves where all that moves them is. Quality is compared under one protocol and "
    f"beyond the noise of training seeds: 5 a side, or fewer with a noise card; p < {ALPHA} over all of a comparison. "
    f"Times are compared under equal conditions, as ratios of runs taken in turn, beyond a factor of {FACTOR} and p < "
    f"{ALPHA}; otherwise beyond a factor of {ONE_PROCESS_FACTOR}. Same: equal, or the whole interval lies within "
    f"{FACTOR - 1:.0%}. Undecided: neither. Ratios are new over base."
)


def comparison_markdown(comparison: Comparison, folded: bool = True) -> str:
    """Return the headline, for each cell a table with what the verdicts rest on, and the runs without a counterpart.

    Args:
        comparison: what was compared.
        folded: whether cells without a difference are folded away, as a comment on a pull request can; a terminal
            cannot.
    """
    parts = [_wrapped(f"**{markdown_text(comparison.headline)}**")]
    cells = sorted(comparison.cells, key=lambda cell: not cell.differs)  # those that differ come first
    for cell in cells[:MOST_CELLS]:
        parts += _folded(cell) if folded else [f"### {markdown_text(cell.name)}", *_cell_markdown(cell)]
    if len(cells) > MOST_CELLS:
        parts.append(f"{len(cells) - MOST_CELLS} more configurations are in compare.csv and compare.html.")
    unpaired = _unpaired(comparison).items()
    parts += [_wrapped(f"{title}: {markdown_text(', '.join(names))}.") for title, names in unpaired]
    return "\n\n".join([*parts, _wrapped(RULES)]) + "\n"


def _folded(cell: Cell) -> list[str]:
    """A cell below its name and a count of its verdicts, open where anything differs."""
    found = [verdict.verdict for verdict in cell.verdicts]
    counts = ", ".join(f"{found.count(kind)} {kind}" for kind in dict.fromkeys(found))
    opening = f"<details{' open' * cell.differs}><summary>{escape(cell.name)}: {counts}</summary>"
    return [opening, *_cell_markdown(cell), "</details>"]


def _cell_markdown(cell: Cell) -> list[str]:
    parts = [_wrapped(f"Configuration: {markdown_text('; '.join(cell.differences))}.")] if cell.differences else []
    parts.append(to_markdown(_shown(cell)))
    if notes := _notes(cell):
        parts.append("\n".join(_wrapped(f"- {markdown_text(note)}", indent="  ") for note in notes))
    return parts


def _wrapped(text: str, indent: str = "") -> str:
    return textwrap.fill(text, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def _unpaired(comparison: Comparison) -> dict[str, list[str]]:
    sides = {"Missing in NEW": comparison.missing, "Only in NEW": comparison.added}
    return {title: names for title, names in sides.items() if names}


def comparison_table(comparison: Comparison) -> pd.DataFrame:
    """Return every verdict, one a row, unrounded."""
    rows = [_row(cell, verdict) for cell in comparison.cells for verdict in cell.verdicts]
    return pd.DataFrame(rows)


def _row(cell: Cell, verdict: Verdict) -> dict[str, str | float | None]:
    low, high = verdict.interval or (None, None)
    return {
        "configuration": cell.name,
        "metric": verdict.metric,
        "kind": verdict.kind,
        "verdict": verdict.verdict,
        "base": verdict.base,
        "new": verdict.new,
        "ratio": verdict.ratio,
        "low": low,
        "high": high,
        "level": verdict.level if verdict.interval else None,
        "p": verdict.p,
        "reason": verdict.reason,
    }


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
    if verdict.interval:
        low, high = map(format_number, verdict.interval)
        told.append(f"the {verdict.interval_of} is {low} to {high} ({100 * verdict.level:.3g} %)")
    if verdict.p is not None:
        told.append(f"p = {verdict.p:.2g}")
    return "; ".join(told)


def comparison_page(comparison: Comparison, figure: Figure | None, overlays: Mapping[int, Overlay]) -> str:
    """Return the whole page.

    Args:
        comparison: what was compared.
        figure: from `ratio_plot`.
        overlays: pictures of some of its cells, by their place.
    """
    kinds = (*DIFFERENT, SAME, UNDECIDED, NOT_COMPARABLE)
    cells = comparison.cells
    return html.render(
        "comparison.html",
        title=cells[0].name if len(cells) == 1 else f"{len(cells)} configurations compared",
        lead=comparison.headline,
        facts={kind.capitalize(): sum(verdict.verdict == kind for verdict in comparison.verdicts) for kind in kinds},
        figure=figure,
        cells=[(cell, _shown(cell), _notes(cell), overlays.get(place)) for place, cell in enumerate(cells)],
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

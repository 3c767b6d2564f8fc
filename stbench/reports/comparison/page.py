"""A comparison as Markdown, as an HTML page that carries everything with it, and as a plot of its ratios."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd
from matplotlib.figure import Figure

from stbench.records.statistics import ALPHA, FACTOR
from stbench.reports import drawing, html, plots
from stbench.reports.comparison.verdicts import BETTER, CHANGED, NOT_COMPARABLE, SAME, WORSE, Verdict
from stbench.reports.html import Html, element, section
from stbench.reports.tables import format_cell, markdown_text, to_markdown

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
        differences = [f"Configuration: {markdown_text(text)}." for text in ["; ".join(cell.differences)] if text]
        parts += [f"### {markdown_text(cell.name)}", *differences, to_markdown(_shown(cell))]
    parts += [f"{title}: {markdown_text(', '.join(names))}." for title, names in _unpaired(comparison) if names]
    return "\n\n".join([*parts, RULES]) + "\n"


def _unpaired(comparison: Comparison) -> list[tuple[str, list[str]]]:
    return [("Missing in NEW", comparison.missing), ("Only in NEW", comparison.added)]


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
    facts = {kind: str(sum(verdict.verdict == kind for verdict in comparison.verdicts)) for kind in kinds}
    header = element(
        "header",
        element("p", "stbench compare", class_="eyebrow"),
        element("h1", _title(comparison)),
        element("p", comparison.headline, class_="lead"),
        html.tiles({kind.capitalize(): count for kind, count in facts.items()}),
    )
    unpaired = [[element("h3", title), html.items(names, "reasons")] for title, names in _unpaired(comparison) if names]
    body = element(
        "main",
        _figure(figure),
        [_cell(cell) for cell in comparison.cells],
        section("Runs without a counterpart", None, unpaired) if unpaired else None,
    )
    return html.page(_title(comparison), header, body, element("footer", RULES))


def _title(comparison: Comparison) -> str:
    cells = comparison.cells
    return cells[0].name if len(cells) == 1 else f"{len(cells)} configurations compared"


def _figure(figure: Figure | None) -> Html | None:
    if figure is None:
        return None
    image = element("figure", Html(drawing.to_inline_svg(figure)), role="img", aria_label="Ratios, as in the tables")
    note = "New over base; the band is the factor within which no difference counts."
    return section("Ratios", note, element("div", image, class_="plots single"))


def _cell(cell: Cell) -> Html:
    differences = f"Configuration: {'; '.join(cell.differences)}." if cell.differences else "Same configuration."
    runs = f"{', '.join(cell.base)} against {', '.join(cell.new)}. "
    return section(cell.name, runs + differences, html.table(_shown(cell), f"Verdicts on {cell.name}"))


def ratio_plot(comparison: Comparison) -> Figure | None:
    """Return a plot of the ratios, of several configurations only those that differ; None where there are none."""
    if len(comparison.cells) == 1:
        points = _ratios(comparison.cells[0].verdicts, "")
    else:
        points = [
            point
            for cell in comparison.cells
            for point in _ratios([v for v in cell.verdicts if v.verdict in DIFFERENT], f"{cell.name}: ")
        ]
    return plots.ratios(points) if points else None


def _ratios(verdicts: Sequence[Verdict], prefix: str) -> list[tuple[str, float, str]]:
    return [(prefix + v.metric, v.ratio, v.verdict) for v in verdicts if v.ratio is not None]

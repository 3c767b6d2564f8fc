"""Text and numbers as people, Markdown, LaTeX and spreadsheets are shown them.

Whatever a name holds, it opens no cell, tag, command, formula or line of its own.
"""

from __future__ import annotations

import math
from typing import Any

from stbench.records.decisions import Decision
from stbench.records.measures import Measure

# A spreadsheet takes a cell that starts so for a formula; the last four are the signs in full width.
FORMULA_STARTS = ("=", "+", "-", "@", "＝", "＋", "－", "＠")
LATEX_ESCAPES = {
    "\\": r"\textbackslash{}",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "∞": r"$\infty$",
    "±": r"$\pm$",
    "…": r"\dots{}",
} | {mark: f"\\{mark}" for mark in "&%$#_{}"}


def format_cell(value: Any) -> str:
    """Return a table cell's text: text as it is, a number by `format_number`."""
    return value if isinstance(value, str) else format_number(value)


def format_number(value: float | None) -> str:
    """Return a number at four significant digits, whole from 1000 on, and nothing for a missing one."""
    if value is None or math.isnan(value):
        return ""
    if value == int(value) or abs(value) >= 1000:
        return f"{value:,.0f}" if abs(value) >= 1e4 else f"{value:.0f}"
    return f"{value:#.4g}"


def is_number(text: str) -> bool:
    """Whether text is a number, with or without commas between thousands."""
    try:
        float(text.replace(",", ""))
    except ValueError:
        return False
    return True


def one_line(text: str) -> str:
    """Return text without line breaks, control characters and runs of spaces."""
    return " ".join("".join(mark if mark.isprintable() else " " for mark in text).split())


def markdown_text(text: str) -> str:
    """Return text that opens no table cell, tag, link, code or line of its own in Markdown."""
    for mark, safe in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("|", "\\|"), ("](", "]\\("), ("`", "\\`")):
        text = text.replace(mark, safe)
    return one_line(text)


def latex_text(text: str) -> str:
    """Return text that LaTeX sets as it stands here."""
    return "".join(LATEX_ESCAPES.get(mark, mark) for mark in one_line(text))


def csv_cell(value: Any) -> Any:
    """Return a cell of a CSV file: text on one line, behind an apostrophe where a spreadsheet would run it."""
    if not isinstance(value, str):
        return value
    text = one_line(value)
    return f"'{text}" if text.startswith(FORMULA_STARTS) and not is_number(text) else text


def effect_in_words(measure: Measure, decision: Decision) -> str:
    """By how much the second arm's figure differs from the first's, with its interval; nothing where there is none."""
    if decision.effect is None:
        return ""
    unit, interval = "points" if measure.share else "%", ""
    if decision.interval:
        low, high = (f"{100 * end:+.1f}" for end in decision.interval)
        interval = f" [{low}, {high}]"
    return f"{100 * decision.effect:+.1f} {unit}{interval}"

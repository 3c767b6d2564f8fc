"""Tables as CSV for programs, as Markdown and LaTeX for people: one from a data frame, two from a table of text."""

from __future__ import annotations

import re

import pandas as pd

from stbench.reports.text import csv_cell, is_number, latex_text, markdown_text

# What may stand behind a number in its cell: an interval, a remark in brackets, the end of a span, a mark of a note.
BEHIND_A_NUMBER = re.compile(r" (\[|\(|to \d).*|†$")


def to_csv(frame: pd.DataFrame) -> str:
    """Return a table as CSV whose cells, names of columns included, no spreadsheet runs as formulas."""
    return frame.map(csv_cell).rename(columns=csv_cell).to_csv(index=False, lineterminator="\n")


def to_markdown(shown: pd.DataFrame) -> str:
    """Return a table of text as a Markdown table, numbers to the right."""
    escaped = shown.map(markdown_text).rename(columns=markdown_text)
    align = ["right" if is_numeric else "left" for is_numeric in numeric_columns(shown)]
    return escaped.to_markdown(index=False, disable_numparse=True, colalign=align)


def to_latex(shown: pd.DataFrame, caption: str) -> str:
    """Return a table of text as a LaTeX table in the rules of the package booktabs, numbers to the right."""
    align = "".join("r" if is_numeric else "l" for is_numeric in numeric_columns(shown))
    rows = [" & ".join(map(latex_text, row)) + r" \\" for row in [list(shown.columns), *shown.to_numpy().tolist()]]
    body = ["\\toprule", rows[0], "\\midrule", *rows[1:], "\\bottomrule"]
    return "\n".join(
        [
            "% needs \\usepackage{booktabs}",
            "\\begin{table}",
            "\\centering",
            f"\\begin{{tabular}}{{{align}}}",
            *body,
            "\\end{tabular}",
            f"\\caption{{{latex_text(caption)}}}",
            "\\end{table}\n",
        ]
    )


def numeric_columns(shown: pd.DataFrame) -> list[bool]:
    """Return for each column of a table of text whether its cells are numbers, with or without an interval."""
    heads = [[BEHIND_A_NUMBER.sub("", cell) for cell in shown[name] if cell] for name in shown]
    return [bool(column) and all(map(is_number, column)) for column in heads]

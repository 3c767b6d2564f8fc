"""Tables of text as Markdown and LaTeX, as whole texts."""

from __future__ import annotations

import pandas as pd

from stbench.reports.formats import numeric_columns, to_latex, to_markdown

SHOWN = pd.DataFrame(
    {
        "configuration": ["a_b", "<c>"],
        "FVD∞": ["105 [41.47, 168.5]", "12,346"],
        "one": ["9 [8, 10]†", "7 to 8"],
        "step (ms)": ["30 (busy)", "31"],
        "runs": ["2 finished", "1"],
    },
    dtype=str,
)


def test_markdown() -> None:
    assert to_markdown(SHOWN) == (
        "| configuration   |               FVD∞ |        one |   step (ms) | runs       |\n"
        "|:----------------|-------------------:|-----------:|------------:|:-----------|\n"
        "| a_b             | 105 [41.47, 168.5] | 9 [8, 10]† |   30 (busy) | 2 finished |\n"
        "| &lt;c&gt;       |             12,346 |     7 to 8 |          31 | 1          |"
    )


def test_latex() -> None:
    assert to_latex(SHOWN[["configuration", "FVD∞"]], "50 % of it") == (
        "% needs \\usepackage{booktabs}\n"
        "\\begin{table}\n"
        "\\centering\n"
        "\\begin{tabular}{lr}\n"
        "\\toprule\n"
        "configuration & FVD$\\infty$ \\\\\n"
        "\\midrule\n"
        "a\\_b & 105 [41.47, 168.5] \\\\\n"
        "<c> & 12,346 \\\\\n"
        "\\bottomrule\n"
        "\\end{tabular}\n"
        "\\caption{50 \\% of it}\n"
        "\\end{table}\n"
    )


def test_numbers_may_have_an_interval_a_remark_or_a_mark_behind_them() -> None:
    assert numeric_columns(SHOWN) == [False, True, True, True, False]
    assert numeric_columns(pd.DataFrame({"empty": [""]})) == [False]

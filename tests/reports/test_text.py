"""Text that opens nothing of its own, and numbers at four digits."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

import pandas as pd
import pytest

from stbench.records.decisions import Decision
from stbench.records.measures import MEASURES
from stbench.reports import text
from stbench.reports.formats import to_csv


@pytest.mark.parametrize(
    ("cell", "written"),
    [
        ("=1+1", "'=1+1"),
        ("+cmd", "'+cmd"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("-2+3", "'-2+3"),
        ("\t=1", "'=1"),
        (" =1", "'=1"),
        ("＝1", "'＝1"),
        ("x\r=1+1", "x =1+1"),
        ("x\n=1+1", "x =1+1"),
        ("x\x00\x1b[2Jy", "x [2Jy"),
        ("-2.5", "-2.5"),
        ("+3e5", "+3e5"),
        ("latte1", "latte1"),
        (-2.5, "-2.5"),
    ],
)
@pytest.mark.parametrize("heads", [False, True])
def test_csv_cells_and_column_names_are_one_line_and_no_formulas(cell: object, written: str, heads: bool) -> None:
    frame = pd.DataFrame({cell: ["x"]} if heads else {"label": [cell]}, dtype=object)
    written_text = to_csv(frame)
    assert "\r" not in written_text and written_text.count("\n") == 2
    assert list(csv.reader(io.StringIO(written_text)))[0 if heads else 1] == [written]


def test_markdown_text_stays_in_its_cell() -> None:
    assert text.markdown_text("a|b\n<img src=x> [x](http://y) `c`") == (
        "a\\|b &lt;img src=x&gt; [x]\\(http://y) \\`c\\`"
    )


def test_latex_text_is_set_as_it_stands() -> None:
    assert text.latex_text("100 % of a_b & \\c{d}\n~ FVD∞") == (
        r"100 \% of a\_b \& \textbackslash{}c\{d\} \textasciitilde{} FVD$\infty$"
    )


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, ""), (float("nan"), ""), (5, "5"), (32.48, "32.48"), (9.8, "9.800"), (0.00012345, "0.0001234"),
     (1176.4, "1176"), (12345.6, "12,346"), (-0.5, "-0.5000"), (1_000_000, "1,000,000")],
)  # fmt: skip
def test_format_number(value: float | None, shown: str) -> None:
    assert text.format_number(value) == shown


def test_an_effect_has_its_unit_and_its_interval() -> None:
    decision = Decision(verdict="better", effect=-0.123, interval=(-0.2, 0.01), alpha=0.05, n=5)
    assert text.effect_in_words(MEASURES["fvd"], decision) == "-12.3 % [-20.0, +1.0]"
    assert text.effect_in_words(MEASURES["motion_all"], replace(decision, interval=None)) == "-12.3 points"
    assert text.effect_in_words(MEASURES["fvd"], replace(decision, effect=None)) == ""

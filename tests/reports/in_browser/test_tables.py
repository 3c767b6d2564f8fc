"""Tables in a real browser: sorted and filtered with the keyboard, copied as text, and never cut off."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from stbench.reports import formats, html

PAGE = (
    "{% extends 'page.html' %}{% import 'parts.html' as parts %}"
    "{% block main %}{{ parts.table(shown, 'Times') }}{% endblock %}"
)
ROWS = "[...document.querySelectorAll('tbody tr')].filter((row) => !row.hidden).map((row) => row.cells[0].textContent)"
ORDER = "[...document.querySelectorAll('thead th')].map((heading) => heading.ariaSort)"
HOSTILE = "</textarea><script>document.title = 'broken into'</script>"
NUMBERED = [10, 9, 2, 3, 4, 5, 6, 7, 8]


def open_table(browser: Any, shown: pd.DataFrame, folder: Path, **how: Any) -> None:
    made = html.ENVIRONMENT.from_string(PAGE).render(shown=shown, title="A table", lead=None, facts={})
    (folder / "page.html").write_text(made, encoding="utf-8")
    browser.open(folder / "page.html", **how)


@pytest.fixture
def shown() -> pd.DataFrame:
    """Nine rows whose numbers are in another order than their names."""
    times = ["9.5", "1,000", "", "20 [1, 30]", "3", "4", "5", "6", "7"]
    return pd.DataFrame({"variant": [f"v{i}" for i in NUMBERED], "ms": times})


def test_headings_sort_by_the_keyboard_alone(browser: Any, shown: pd.DataFrame, tmp_path: Path) -> None:
    open_table(browser, shown, tmp_path)
    assert browser.value(ORDER) == ["none", "none"]
    browser.value("document.querySelector('thead button').focus()")
    browser.press("Enter")
    assert browser.value(ORDER) == ["ascending", "none"]
    assert browser.value(ROWS) == [f"v{i}" for i in sorted(NUMBERED)]
    browser.press("Tab")
    browser.press("Enter")
    assert browser.value(ORDER) == ["none", "ascending"]
    assert browser.value(ROWS) == ["v4", "v5", "v6", "v7", "v8", "v10", "v3", "v9", "v2"]
    browser.press("Enter")
    assert browser.value(ORDER) == ["none", "descending"]
    assert browser.value(ROWS) == ["v9", "v3", "v10", "v8", "v7", "v6", "v5", "v4", "v2"]  # the empty cell stays last


def test_a_filter_keeps_the_rows_that_hold_every_word(browser: Any, shown: pd.DataFrame, tmp_path: Path) -> None:
    open_table(browser, shown, tmp_path)
    browser.value("document.querySelector('label input').focus()")
    browser.ask("Input.insertText", text="V1 9.5")
    assert browser.value(ROWS) == ["v10"]
    assert browser.value("document.querySelector('output').value") == "1 of 9 rows"
    browser.value("document.activeElement.select()")
    browser.ask("Input.insertText", text=" ")
    assert len(browser.value(ROWS)) == 9


def test_a_short_table_has_no_filter(browser: Any, shown: pd.DataFrame, tmp_path: Path) -> None:
    open_table(browser, shown[:7], tmp_path)
    assert browser.value("document.querySelector('input')") is None


def test_a_table_is_copied_or_marked_for_copying(browser: Any, shown: pd.DataFrame, tmp_path: Path) -> None:
    open_table(browser, shown, tmp_path)
    given = (
        "let given; Object.defineProperty(navigator, 'clipboard', {value: {writeText: async (text) => given = text}})"
    )
    press = "document.querySelector('[aria-label=\"Copy as Markdown\"]').click()"
    browser.value(given)
    browser.value(press)
    assert browser.value("given") == formats.to_markdown(shown)
    assert browser.value("document.querySelector('.copies').hidden") is True
    browser.value("navigator.clipboard.writeText = async () => { throw new Error('refused'); }")
    browser.value(press)
    assert browser.value("getSelection().toString()") == formats.to_markdown(shown)


def test_a_hostile_name_is_text_everywhere(browser: Any, tmp_path: Path) -> None:
    open_table(browser, pd.DataFrame({HOSTILE: [HOSTILE], "b": [HOSTILE]}), tmp_path)
    assert browser.value("document.title") == "A table"
    assert browser.value("document.querySelector('tbody th').textContent") == HOSTILE
    assert browser.value("document.querySelector('textarea').value") == formats.to_csv(
        pd.DataFrame({HOSTILE: [HOSTILE], "b": [HOSTILE]})
    )


def test_a_wide_table_scrolls_inside_itself_on_a_phone(browser: Any, shown: pd.DataFrame, tmp_path: Path) -> None:
    wide = pd.concat([shown, *(shown["ms"].rename(f"column {i}") for i in range(9))], axis=1)
    open_table(browser, wide, tmp_path, width=360)
    assert browser.value("document.documentElement.scrollWidth") == 360
    assert browser.value("document.querySelector('.scroll').scrollWidth") > 360
    browser.value("document.querySelector('.scroll').scrollLeft = 200")
    assert browser.value("document.querySelector('tbody th').getBoundingClientRect().left") < 20  # the names stay
    assert browser.complaints == []

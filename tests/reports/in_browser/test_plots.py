"""Plots in a real browser: marks tell their values at the pointer and with the keyboard, in light and dark."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

from stbench.reports import html, plots

PAGE = (
    "{% extends 'page.html' %}{% import 'parts.html' as parts %}"
    "{% block main %}{{ parts.figure(drawn, 'Two marks') }}{% endblock %}"
)
HOSTILE = "<script>document.title = 'broken into'</script>"
TIP = "document.querySelector('.tip')"


def drawn() -> Figure:
    marks = [plots.Mark(name, x, 10.0, None, (10.0,)) for x, name in enumerate(("first", HOSTILE), start=1)]
    colours = dict.fromkeys(("first", HOSTILE), "#0072B2")
    return plots.quality_against(marks, [], {}, "FVD[i3d]", plots.COSTS["gmacs"], colours)


@pytest.fixture
def page(tmp_path: Path) -> Path:
    """A page with one plot of two marks, one of which has a hostile name."""
    made = html.ENVIRONMENT.from_string(PAGE).render(drawn=drawn(), title="A plot", lead=None, facts={})
    (tmp_path / "page.html").write_text(made, encoding="utf-8")
    return tmp_path / "page.html"


def told(browser: Any) -> str | None:
    return None if browser.value(f"{TIP}.hidden") else browser.value(f"{TIP}.textContent")


def test_a_plot_is_one_stop_of_the_tab_key_and_arrows_go_through_its_marks(browser: Any, page: Path) -> None:
    browser.open(page)
    assert told(browser) is None
    browser.press("Tab")
    assert told(browser) == "first: FVD[i3d] 10 at 1 GMACs, on the front"
    browser.press("ArrowRight")
    assert told(browser) == f"{HOSTILE}: FVD[i3d] 10 at 2 GMACs"
    browser.press("ArrowRight")
    assert str(told(browser)).startswith("first")
    browser.press("Escape")
    assert told(browser) is None
    browser.press("Tab")
    assert browser.value("document.activeElement === document.body")
    assert browser.value("document.title") == "A plot"
    assert browser.complaints == []


def test_a_mark_tells_its_values_at_the_pointer(browser: Any, page: Path) -> None:
    browser.open(page, width=360)
    box = "document.querySelectorAll('.mark use')[1].getBoundingClientRect()"
    place = f"(({{x, y, width, height}}) => [x + width / 2, y + height / 2])({box})"
    x, y = browser.value(place)
    browser.ask("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
    assert str(told(browser)).startswith(HOSTILE)
    left, right = browser.value(f"(({{left, right}}) => [left, right])({TIP}.getBoundingClientRect())")
    assert left >= 0 and right <= 360  # the whole text is to be seen on a phone
    browser.ask("Input.dispatchMouseEvent", type="mouseMoved", x=1, y=1)
    assert told(browser) is None


@pytest.mark.parametrize(("scheme", "colour"), [("light", "rgb(0, 114, 178)"), ("dark", "rgb(74, 160, 224)")])
def test_marks_and_text_are_to_be_seen_in_light_and_dark(browser: Any, page: Path, scheme: str, colour: str) -> None:
    browser.open(page, scheme=scheme)
    assert browser.value("getComputedStyle(document.querySelector('.mark use')).fill") == colour
    ink = browser.value("getComputedStyle(document.querySelector('svg text')).fill")
    assert ink == browser.value("getComputedStyle(document.body).color")

"""The report as a whole in a real browser: on a phone, in the dark, with hostile names, without a request."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stbench.reports.report import write_report

MakeRun = Callable[..., Path]
HOSTILE = "</script></style>\"'><script>document.title = 'broken into'</script><img src=x onerror=document.title=1>"


@pytest.fixture(scope="module")
def report(run_maker: Callable[[Path], MakeRun], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of two configurations with two seeds each, one with a hostile name in every place."""
    folder = tmp_path_factory.mktemp("report")
    make_run = run_maker(folder)
    for seed in range(2):
        make_run("a_variant_with_a_name_of_some_length", seed, 100.0 + seed)
        hostile = {"quality.detector": HOSTILE, "machine.cpu": HOSTILE, "config.dataset.name": HOSTILE}
        run = make_run(HOSTILE, seed, 150.0 + seed, run_id=f"hostile-{seed}", **hostile)
    return write_report([run.parent], folder / "page").index


@pytest.mark.parametrize("width", [360, 1180])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_cut_off_or_broken_into(browser: Any, report: Path, width: int, scheme: str) -> None:
    browser.open(report, width=width, scheme=scheme)
    assert browser.value("document.documentElement.scrollWidth") <= width
    assert not str(browser.value("document.title")).startswith(("broken", "1"))
    assert browser.value("document.querySelectorAll('script').length") == 1
    assert browser.value("performance.getEntriesByType('resource').length") == 0
    assert browser.complaints == []


def test_text_stands_out_from_its_ground(browser: Any, report: Path) -> None:
    """Contrast by WCAG 2: at least 4.5 to 1 for text."""
    luminance = (
        "(colour) => colour.match(/[\\d.]+/g).slice(0, 3).map((c) => c / 255)"
        ".map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)"
        ".reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0)"
    )
    for scheme in ("light", "dark"):
        browser.open(report, scheme=scheme)
        for place in ("body", ".note", ".soft", ".plots figcaption", "thead th", ".plots svg text"):
            of = f"getComputedStyle(document.querySelector('{place}'))"
            text = f"{of}.fill" if "svg" in place else f"{of}.color"
            pair = f"[{text}, getComputedStyle(document.querySelector('.scroll')).backgroundColor].map({luminance})"
            dark, light = sorted(browser.value(pair))
            assert (light + 0.05) / (dark + 0.05) >= 4.5, (scheme, place)


def test_the_keyboard_reaches_every_table_and_plot(browser: Any, report: Path) -> None:
    browser.open(report)
    parts = "[...document.querySelectorAll('.scroll, figure:has(.mark)')]"
    reached: set[int] = set()
    for _ in range(500):
        browser.press("Tab")
        reached.add(browser.value(f"{parts}.indexOf(document.activeElement.closest('.scroll, figure'))"))
        if browser.value("document.activeElement === document.body"):
            break
    # Those that lie folded away are reached once their summary is opened.
    folded = f"{parts}.map((part, place) => part.closest('details:not([open])') ? place : -1)"
    everything = set(range(browser.value(f"{parts}.length")))
    assert everything - set(browser.value(folded)) <= reached

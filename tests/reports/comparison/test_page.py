"""A comparison as Markdown, as a page and as a plot, made from verdicts by hand."""

from __future__ import annotations

import re
import textwrap
from dataclasses import replace

from markupsafe import escape

from stbench.reports.comparison.cells import Cell, Comparison
from stbench.reports.comparison.page import RULES, comparison_markdown, comparison_page, comparison_table, ratio_plot
from stbench.reports.comparison.verdicts import Verdict

HOSTILE = "<b>|x|</b>"
WORSE = Verdict(
    metric="FVD[i3d]", kind="quality", base=100.0, new=120.0, verdict="worse", interval=(1.15, 1.25), p=0.0012
)
SAME = Verdict(metric="GMACs", kind="exact", base=1.5, new=1.5, verdict="same")
NOT_COMPARABLE = Verdict(
    metric="KVD[i3d]", kind="quality", base=None, new=0.25, verdict="not comparable", reason="BASE has none"
)


def cell(name: str, *verdicts: Verdict, differences: tuple[str, ...] = ()) -> Cell:
    return Cell(name, [f"{name}-0"], [f"{name}-new"], True, list(differences), list(verdicts))


def one() -> Comparison:
    changed = cell("latte1", WORSE, SAME, NOT_COMPARABLE, differences=("train.steps: 40 → 80", "seed: 0 → 1"))
    return Comparison([changed], [], [], [])


def several() -> Comparison:
    return Comparison([cell("latte1", SAME), cell(HOSTILE, WORSE, SAME)], ["latte2 seed 0"], ["a", "b"], [])


def lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line]


def test_markdown_of_one_configuration() -> None:
    assert comparison_markdown(one(), folded=False) == (
        "**1 regression: latte1: FVD[i3d] worse.**\n"
        "\n"
        "### latte1\n"
        "\n"
        "Configuration: train.steps: 40 → 80; seed: 0 → 1.\n"
        "\n"
        "| metric   | verdict        |   ratio |   base |    new |\n"
        "|:---------|:---------------|--------:|-------:|-------:|\n"
        "| FVD[i3d] | worse          |   1.200 |    100 |    120 |\n"
        "| GMACs    | same           |       1 |  1.500 |  1.500 |\n"
        "| KVD[i3d] | not comparable |         |        | 0.2500 |\n"
        "\n"
        "- FVD[i3d]: the ratio is 1.150 to 1.250 (95 %); p = 0.0012\n"
        "- KVD[i3d]: BASE has none\n"
        "\n"
        f"{textwrap.fill(RULES, 80)}\n"
    )


def test_what_rests_on_the_same_stands_together() -> None:
    verdicts = [replace(NOT_COMPARABLE, metric=name) for name in ("FVD[i3d]", "KVD[i3d]")]
    text = comparison_markdown(Comparison([cell("latte1", *verdicts)], [], [], []), folded=False)
    assert "\n- FVD[i3d], KVD[i3d]: BASE has none\n" in text


def test_markdown_fits_a_terminal() -> None:
    reason = "the conditions differ: " + ", ".join(f"condition_{number} (1 / 2)" for number in range(9))
    widest = replace(NOT_COMPARABLE, metric="peak memory (MiB)", base=98765.4, new=123456.7, reason=reason)
    wide = Comparison([cell("latte1", widest, differences=("a: 0 → 1",) * 20)], [], ["b c"] * 40, [])
    text = comparison_markdown(wide, folded=False)
    assert max(map(len, text.splitlines())) <= 80


def test_markdown_names_what_could_not_be_paired_and_escapes() -> None:
    text = comparison_markdown(several(), folded=False)
    assert "### &lt;b&gt;\\|x\\|&lt;/b&gt;\n" in text
    assert text.endswith(f"Missing in NEW: latte2 seed 0.\n\nOnly in NEW: a, b.\n\n{textwrap.fill(RULES, 80)}\n")


def test_a_comment_on_a_pull_request_folds_what_does_not_differ_and_begins_with_what_does() -> None:
    text = comparison_markdown(several())
    assert [line for line in text.splitlines() if "details" in line] == [
        "<details open><summary>&lt;b&gt;|x|&lt;/b&gt;: 1 worse, 1 same</summary>",
        "</details>",
        "<details><summary>latte1: 1 same</summary>",
        "</details>",
    ]
    # GitHub reads Markdown within <details> only behind an empty line.
    assert "</summary>\n\n| metric" in text and "\n\n</details>\n\n" in text


def test_a_comment_stays_as_short_as_github_takes_it() -> None:
    names = [f"v{number}" for number in range(1000)]
    text = comparison_markdown(Comparison([cell(name, WORSE, SAME, NOT_COMPARABLE) for name in names], [], [], []))
    assert len(text) < 65_536
    assert "\n\n960 more configurations are in compare.csv and compare.html.\n\n" in text


def test_table_has_every_verdict_unrounded() -> None:
    table = comparison_table(several())
    assert list(table["configuration"]) == ["latte1", HOSTILE, HOSTILE]
    row = table.iloc[1].to_dict()
    assert (row["metric"], row["kind"], row["verdict"], row["ratio"]) == ("FVD[i3d]", "quality", "worse", 1.2)
    assert (row["low"], row["high"], row["level"], row["p"]) == (1.15, 1.25, 0.95, 0.0012)


def test_page_of_one_configuration() -> None:
    page = comparison_page(one(), None, {})
    body = lines(page[page.index("<body>") : page.index("<script>")])
    start = body.index("<section>")
    assert body[: start + 3] == [
        "<body>",
        "<header>",
        '<p class="eyebrow">stbench compare</p>',
        "<h1>latte1</h1>",
        '<p class="lead">1 regression: latte1: FVD[i3d] worse.</p>',
        '<dl class="tiles">',
        "<div><dt>Failed</dt><dd>0</dd></div>",
        "<div><dt>Worse</dt><dd>1</dd></div>",
        "<div><dt>Changed</dt><dd>0</dd></div>",
        "<div><dt>Better</dt><dd>0</dd></div>",
        "<div><dt>Same</dt><dd>1</dd></div>",
        "<div><dt>Undecided</dt><dd>0</dd></div>",
        "<div><dt>Not comparable</dt><dd>1</dd></div>",
        "</dl>",
        "</header>",
        "<main>",
        "<section>",
        "<h2>latte1</h2>",
        '<p class="note">latte1-0 against latte1-new. Configuration: train.steps: 40 → 80; seed: 0 → 1.</p>',
    ]
    table = body.index("<tbody>") + 2
    assert body[table : table + 8] == [
        '<th scope="row"><span><span>FVD[i3d]</span></span></th>',
        '<td class="worse">worse</td>',
        '<td class="number">1.200</td>',
        '<td class="number">100</td>',
        '<td class="number">120</td>',
        "</tr>",
        "<tr>",
        '<th scope="row"><span><span>GMACs</span></span></th>',
    ]
    notes = body.index('<ul class="reasons">')
    assert body[notes + 1 : notes + 4] == [
        "<li>FVD[i3d]: the ratio is 1.150 to 1.250 (95 %); p = 0.0012</li>",
        "<li>KVD[i3d]: BASE has none</li>",
        "</ul>",
    ]


def test_page_of_several_configurations() -> None:
    page = comparison_page(several(), ratio_plot(several()), {})
    assert re.findall(r"<h[123]>([^<]+)</h[123]>", page) == [
        "2 configurations compared",
        "Ratios",
        "latte1",
        "&lt;b&gt;|x|&lt;/b&gt;",
        "Runs without a counterpart",
        "Missing in NEW",
        "Only in NEW",
    ]
    assert page.count("<svg") == 1
    assert "<b>" not in page
    assert '<ul class="reasons">\n<li>a</li>\n<li>b</li>\n</ul>' in page
    assert "latte1-0 against latte1-new. Same configuration." in page
    assert f"<footer>{escape(RULES)}</footer>" in page


def test_plot_of_one_configuration_shows_every_ratio_of_several_what_differs() -> None:
    alone, together = ratio_plot(one()), ratio_plot(several())
    assert alone is not None and together is not None
    assert [label.get_text() for label in alone.axes[0].get_yticklabels()] == ["FVD[i3d]", "GMACs"]
    assert [text.get_text() for text in alone.axes[0].texts] == ["1.2 worse", "1 same"]
    assert [label.get_text() for label in together.axes[0].get_yticklabels()] == [f"{HOSTILE}: FVD[i3d]"]
    assert ratio_plot(Comparison([cell("latte1", NOT_COMPARABLE)], [], [], [])) is None

"""The parts that pages are made of, as whole texts, and that everything given to a template is escaped."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
from jinja2 import UndefinedError
from markupsafe import escape
from matplotlib.figure import Figure

from stbench.reports import formats, html

HOSTILE = '<script>alert("1")</script>'
ESCAPED = "&lt;script&gt;alert(&#34;1&#34;)&lt;/script&gt;"


def part(source: str, **content: Any) -> str:
    """What a template with this body makes, without the empty lines between its parts."""
    made = html.ENVIRONMENT.from_string("{% import 'parts.html' as parts %}" + source).render(content)
    return "\n".join(line for line in made.splitlines() if line)


@pytest.mark.parametrize(
    ("text", "is_numeric", "expected"),
    [
        ("1.5", True, "number"),
        ("", True, "number"),
        ("latte1", False, None),
        ("x" * 30, False, None),
        ("x" * 31, False, "wide"),
        ("better", False, "better"),
        ("worse", False, "worse"),
        ("changed", False, "changed"),
        ("same", False, None),
    ],
)
def test_class_of_a_cell(text: str, is_numeric: bool, expected: str | None) -> None:
    assert html.cell_class(text, is_numeric) == expected


def test_data_uri() -> None:
    assert html.data_uri(b"ab", "image/png") == "data:image/png;base64,YWI="


def test_table() -> None:
    shown = pd.DataFrame(
        [("a", "1.5", "worse", "x" * 31), ("b", "", "same", "")], columns=["variant", "FVD", "verdict", "reason"]
    )
    assert part("{{ parts.table(shown, 'Results', {'a': '#000000'}) }}", shown=shown).splitlines() == [
        '<div class="table">',
        '<div class="scroll" tabindex="0" role="region" aria-label="Results">',
        "<table>",
        "<thead>",
        "<tr>",
        '<th scope="col">variant</th>',
        '<th scope="col" class="number">FVD</th>',
        '<th scope="col">verdict</th>',
        '<th scope="col">reason</th>',
        "</tr>",
        "</thead>",
        "<tbody>",
        "<tr>",
        '<th scope="row"><span><span class="swatch" style="background:var(--c-000000, #000000)"></span>'
        "<span>a</span></span></th>",
        '<td class="number">1.5</td>',
        '<td class="worse">worse</td>',
        f'<td class="wide">{"x" * 31}</td>',
        "</tr>",
        "<tr>",
        '<th scope="row"><span><span>b</span></span></th>',
        '<td class="number"></td>',
        "<td>same</td>",
        "<td></td>",
        "</tr>",
        "</tbody>",
        "</table>",
        "</div>",
        '<details class="copies">',
        "<summary>Copy this table as text</summary>",
        *copied_texts(html.copies(shown, "Results")),
        "</details>",
        "</div>",
    ]


def copied_texts(copies: dict[str, str]) -> list[str]:
    return "\n".join(
        f'<textarea readonly="" rows="4" aria-label="{name}">{escape(text)}</textarea>' for name, text in copies.items()
    ).splitlines()


def test_a_table_can_be_copied_in_three_formats() -> None:
    shown = pd.DataFrame({"variant": ["=a|b_c"], "FVD": ["1.5"]})
    assert html.copies(shown, "50 %") == {
        "CSV": "variant,FVD\n'=a|b_c,1.5\n",
        "Markdown": formats.to_markdown(shown),
        "LaTeX": formats.to_latex(shown, "50 %"),
    }


def test_section_with_and_without_a_note() -> None:
    assert part("{% call parts.section('Runs', 'As recorded.') %}text{% endcall %}") == (
        '<section>\n<h2>Runs</h2>\n<p class="note">As recorded.</p>\ntext\n</section>'
    )
    assert part("{% call parts.section('Runs') %}text{% endcall %}") == "<section>\n<h2>Runs</h2>\ntext\n</section>"


def test_tiles() -> None:
    assert part("{{ parts.tiles(facts) }}", facts={"Seeds": "0, 1", "Frames": 16}) == (
        '<dl class="tiles">\n<div><dt>Seeds</dt><dd>0, 1</dd></div>\n<div><dt>Frames</dt><dd>16</dd></div>\n</dl>'
    )


def test_list() -> None:
    assert part("{{ parts.list(['a', 'b'], 'reasons') }}") == ('<ul class="reasons">\n<li>a</li>\n<li>b</li>\n</ul>')


@pytest.mark.parametrize(
    ("arguments", "opening", "summary"),
    [
        ("", "<details>", "<summary>run</summary>"),
        (", 'GPU', open=true", '<details open="">', "<summary>run<span>GPU</span></summary>"),
        (", ''", "<details>", "<summary>run<span></span></summary>"),
    ],
)
def test_folded_facts(arguments: str, opening: str, summary: str) -> None:
    assert part(f"{{{{ parts.folded('run', {{'seed': 0}}{arguments}) }}}}") == (
        f'{opening}\n{summary}\n<dl class="fields">\n<dt>seed</dt><dd>0</dd>\n</dl>\n</details>'
    )


def test_a_figure_is_markup_with_its_content_in_words() -> None:
    lines = part("{{ parts.figure(drawn, 'A <plot>') }}", drawn=Figure()).splitlines()
    assert lines[0] == '<figure role="img" aria-label="A &lt;plot&gt;">'
    assert lines[1].startswith("<svg ")
    assert lines[-2:] == ["</svg>", "</figure>"]


@pytest.mark.parametrize(
    "source",
    [
        "{{ text }}",
        "{{ parts.tiles({text: text}) }}",
        "{{ parts.list([text], text) }}",
        "{{ parts.folded(text, {text: text}, text) }}",
        "{% call parts.section(text, text) %}{{ text }}{% endcall %}",
        "{{ parts.table(shown, text, {text: text}) }}",
    ],
)
def test_what_is_given_is_escaped_everywhere(source: str) -> None:
    shown = pd.DataFrame({HOSTILE: [HOSTILE], "other": [HOSTILE]})
    made = part(source, text=HOSTILE, shown=shown)
    assert ESCAPED in made
    assert "<script" not in made


def test_a_page_that_lacks_something_is_an_error() -> None:
    with pytest.raises(UndefinedError, match="'figure' is undefined"):
        html.render("comparison.html", title="t", lead=None, facts={}, cells=[], unpaired={}, rules="")


def test_a_page_is_a_whole_document_that_may_ask_for_nothing() -> None:
    page = html.render(
        "comparison.html", title=HOSTILE, lead="one", facts={}, figure=None, cells=[], unpaired={}, rules="Rules."
    )
    lines = [line for line in page.splitlines() if line]
    assert lines[:8] == [
        "<!doctype html>",
        '<html lang="en">',
        "<head>",
        '<meta charset="utf-8">',
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
        "style-src 'unsafe-inline'; script-src 'unsafe-inline'\">",
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{ESCAPED}</title>",
        "<style>",
    ]
    body = lines[lines.index("<body>") : lines.index("<script>")]
    assert body == [
        "<body>",
        "<header>",
        '<p class="eyebrow">stbench compare</p>',
        f"<h1>{ESCAPED}</h1>",
        '<p class="lead">one</p>',
        '<dl class="tiles">',
        "</dl>",
        "</header>",
        "<main>",
        "</main>",
        "<footer>Rules.</footer>",
    ]
    assert lines[-3:] == ["</script>", "</body>", "</html>"]
    assert page.endswith("</html>\n")

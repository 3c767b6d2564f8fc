"""Self-contained HTML pages from the templates beside this file: text is escaped, and nothing asks the network."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import resources

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from stbench.reports.drawing import to_inline_svg
from stbench.reports.tables import numeric_columns

WIDE_CELL = 30  # longer text gets a column wide enough to be read
EMPHASISED = ("better", "worse", "changed")


def render(template: str, **content: object) -> str:
    """Return a whole document.

    Args:
        template: a file of `templates`; what it is given escapes itself, and what it lacks is an error.
        content: what the template names.
    """
    return environment().get_template(template).render(content) + "\n"


def data_uri(content: bytes, media_type: str) -> str:
    """Return bytes as a URI that can stand in an attribute."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"


def cell_class(text: str, is_numeric: bool) -> str | None:
    """Return the class of a table's cell: a verdict is coloured, numbers stand to the right, long text has room."""
    if text in EMPHASISED:
        return text
    return "number" if is_numeric else "wide" if len(text) > WIDE_CELL else None


def inline_svg(figure: Figure) -> Markup:
    """Return a figure as markup that belongs to the page."""
    return Markup(to_inline_svg(figure))


@cache
def environment() -> Environment:
    """Return what the templates are read with: all text is escaped, and a name that is not given is an error."""
    made = Environment(
        loader=PackageLoader("stbench.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters = (data_uri, cell_class, inline_svg, numeric_columns)
    made.filters |= {function.__name__: function for function in filters}
    return made


# Refuses every request, should anything ever slip through.
CONTENT_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
VOID_ELEMENTS = ("img", "source", "meta")


class Html(str):
    """Text that is markup already; any other text is escaped when it becomes part of an element."""

    __slots__ = ()


Child = str | Html | None | Iterable["Child"]


def element(tag: str, *children: Child, **attributes: str | int | None) -> Html:
    """Return one element; text is escaped, None and attributes of None are left out.

    Args:
        tag: the element's name.
        children: text, elements, or iterables of them.
        attributes: `class_` is written `class`, an underscore inside a name a hyphen.
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if tag in VOID_ELEMENTS:
        return Html(f"<{tag}{written}>")
    return Html(f"<{tag}{written}>{_join(children)}</{tag}>")


def _join(child: Child) -> str:
    if child is None:
        return ""
    if isinstance(child, str):
        return child if isinstance(child, Html) else html.escape(child)
    return "".join(_join(each) for each in child)


def section(title: str, note: str | None, *children: Child) -> Html:
    """Return a section with a heading and an explaining line under it."""
    return element("section", element("h2", title), element("p", note, class_="note") if note else None, *children)


def tiles(facts: Mapping[str, str]) -> Html:
    """Return a row of tiles, each a name and a value."""
    pairs = [element("div", element("dt", name), element("dd", value)) for name, value in facts.items()]
    return element("dl", pairs, class_="tiles")


def fields(values: Mapping[str, object]) -> Html:
    """Return names and values one below the other."""
    pairs = [[element("dt", name), element("dd", str(value))] for name, value in values.items()]
    return element("dl", pairs, class_="fields")


def items(texts: Iterable[Child], class_: str) -> Html:
    """Return an unordered list."""
    return element("ul", [element("li", text) for text in texts], class_=class_)


def table(shown: pd.DataFrame, caption: str, colours: Mapping[str, str] | None = None) -> Html:
    """Return a sortable table that scrolls sideways where it must.

    Args:
        shown: text under headings; the first column heads the rows.
        caption: what the table holds, read out to those who cannot see it.
        colours: a colour for each text of the first column, shown as a dot before it.
    """
    numeric = numeric_columns(shown)
    kinds = ["number" if is_numeric else None for is_numeric in numeric]
    columns = zip(shown.columns, kinds, strict=True)
    head = element("tr", [element("th", name, scope="col", data_sort="", class_=kind) for name, kind in columns])
    rows = [_row(list(row), kinds, colours or {}) for row in shown.itertuples(index=False, name=None)]
    body = element("table", element("thead", head), element("tbody", rows))
    return element("div", body, class_="scroll", tabindex=0, role="region", aria_label=caption)


def _row(cells: list[str], kinds: list[str | None], colours: Mapping[str, str]) -> Html:
    first, *rest = cells
    colour = colours.get(first)
    dot = element("span", class_="swatch", style=f"background:{colour}") if colour else None
    head = element("th", element("span", dot, element("span", first)), scope="row")
    return element("tr", head, [_cell(cell, kind) for cell, kind in zip(rest, kinds[1:], strict=True)])


def _cell(text: str, kind: str | None) -> Html:
    if text in EMPHASISED:
        return element("td", text, class_=text)
    return element("td", text, class_=kind or ("wide" if len(text) > WIDE_CELL else None))


def page(title: str, *body: Child) -> str:
    """Return a whole document with style and script inside."""
    files = resources.files("stbench.reports") / "templates"
    style, script = (Html(files.joinpath(name).read_text(encoding="utf-8")) for name in ("page.css", "page.js"))
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=CONTENT_POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", title),
        element("style", style),
    )
    document = element("html", head, element("body", *body, element("script", script)), lang="en")
    return f"<!doctype html>\n{document}\n"

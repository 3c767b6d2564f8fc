"""Self-contained HTML pages from the templates beside this file: text is escaped, and nothing asks the network."""

from __future__ import annotations

import base64
import re

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from stbench.reports.drawing import to_inline_svg
from stbench.reports.formats import numeric_columns, to_csv, to_latex, to_markdown

WIDE_CELL = 30  # longer text gets a column wide enough to be read
INTERVAL = re.compile(r"\[([^\],]+), ([^\],]+)\]")
EMPHASISED = ("better", "worse", "changed")


def data_uri(content: bytes, media_type: str) -> str:
    """Return bytes as a URI that can stand in an attribute."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"


def cell_class(text: str, is_numeric: bool) -> str | None:
    """Return the class of a table's cell: a verdict is coloured, numbers stand to the right, long text has room."""
    if text in EMPHASISED:
        return text
    return "number" if is_numeric else "wide" if len(text) > WIDE_CELL else None


def unbroken_interval(text: str) -> str:
    """Return a cell's text that no line ends in within an interval."""
    return INTERVAL.sub("[\\1,\u00a0\\2]", text)


def page_colour(colour: str) -> str:
    """Return a colour as the page's own where it replaces that, as in a plot; see `to_inline_svg`."""
    return f"var(--c-{colour.lower().removeprefix('#')}, {colour})"


def copies(shown: pd.DataFrame, caption: str) -> dict[str, str]:
    """Return a table of text in every format that it can be copied in."""
    return {"CSV": to_csv(shown), "Markdown": to_markdown(shown), "LaTeX": to_latex(shown, caption)}


# What the templates are read with: all text is escaped, and a name that is not given is an error.
ENVIRONMENT = Environment(
    loader=PackageLoader("stbench.reports"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
FILTERS = (data_uri, cell_class, copies, page_colour, to_inline_svg, numeric_columns, unbroken_interval)
ENVIRONMENT.filters |= {each.__name__: each for each in FILTERS}


def render(template: str, **content: object) -> str:
    """Return a whole document.

    Args:
        template: a file of `templates`; what it is given escapes itself, and what it lacks is an error.
        content: what the template names.
    """
    return ENVIRONMENT.get_template(template).render(content) + "\n"

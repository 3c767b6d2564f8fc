"""The toolkit of every plot: one style, figures, axes, labels that find a free place, and files."""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Sequence
from pathlib import Path

import matplotlib
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from matplotlib.transforms import Bbox

from stbench.reports.text import format_number

INK = "#24292f"
RULE = "#d8dee4"
NEUTRAL = "#7d8590"
MARK_PIXELS = 7  # half the size of the space that a label leaves around a mark
LABEL_POINTS = 9  # from the middle of a mark to its label
LOG_FROM_RANGE = 8  # an axis whose values span more than this factor is logarithmic
STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "stbench",
    "text.parse_math": False,  # a dollar sign in a run's name is a dollar sign
    "font.family": ["sans-serif"],
    "font.sans-serif": ["Inter", "Helvetica Neue", "Arial", "DejaVu Sans"],
    "font.size": 10.5,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": RULE,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.titlesize": 12,
    "axes.titleweight": "semibold",
    "axes.titlelocation": "left",
}
End = tuple[float, float, str, str]


def new_figure(title: str, x_axis: str, y_axis: str) -> tuple[Figure, Axes]:
    """Return an empty figure with its axes, titled and named."""
    figure = Figure(figsize=(5.8, 3.9), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    dress_axes(axes, title, x_axis, y_axis)
    return figure, axes


def dress_axes(axes: Axes, title: str, x_axis: str, y_axis: str) -> None:
    """Give axes their title, names, rules and no frame."""
    axes.set_title(title, pad=14)
    axes.set_xlabel(x_axis, labelpad=8)
    axes.set_ylabel(y_axis, labelpad=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color=RULE, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(which="both", length=0)


def scale_axis(axes: Axes, which: str, values: Sequence[float]) -> None:
    """Make an axis logarithmic where its values span orders of magnitude; numbers are written out either way."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    low, high = min(values, default=1), max(values, default=1)
    if low > 0 and high / low > LOG_FROM_RANGE:
        (axes.set_xscale if which == "x" else axes.set_yscale)("log")
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_minor_formatter(NullFormatter())
    axis.set_major_formatter(FuncFormatter(format_tick))


def format_tick(value: float, _: int | None) -> str:
    """Write a tick as a plain number; the second argument is its place, as matplotlib hands it on."""
    return f"{value:.4g}" if abs(value) < 1e4 else format_number(value)


def label_points(axes: Axes, points: Sequence[End], outside: bool = False) -> None:
    """Write each label beside its point, on the side and at the height where it overlaps no mark and no other label.

    Args:
        axes: where the points are.
        points: (x, y, text, colour) in data coordinates.
        outside: write to the right of the axes, for the ends of curves.
    """
    axes.figure.canvas.draw()
    pixels = 72 / axes.figure.dpi
    marks = [axes.transData.transform((x, y)) for x, y, _, _ in points]
    taken = [Bbox.from_extents(x - MARK_PIXELS, y - MARK_PIXELS, x + MARK_PIXELS, y + MARK_PIXELS) for x, y in marks]
    for x, y, text, colour in sorted(points, key=lambda point: point[1]):
        note = axes.annotate(
            text,
            (x, y),
            (LABEL_POINTS, 0),
            textcoords="offset points",
            color=colour,
            va="center",
            annotation_clip=False,
            fontweight="medium",
        )
        box = note.get_window_extent()
        # On the right of the mark, or on its left: first the side that lies within the axes.
        left = -(box.width + 2 * LABEL_POINTS / pixels)
        sides = [0.0, left] if box.x1 < axes.get_window_extent().x1 else [left, 0.0]
        # The lowest place that is free: a shift to the side and a rise, in pixels.
        places = ((shift, rise) for rise in itertools.count(0, 2) for shift in ([0.0] if outside else sides))
        shift, rise = next(
            place for place in places if not any(box.translated(*place).overlaps(other) for other in taken)
        )
        note.set_position((LABEL_POINTS + shift * pixels, rise * pixels))
        taken.append(box.translated(shift, rise))


@matplotlib.rc_context(STYLE)
def to_svg(figure: Figure, transparent: bool = False) -> str:
    """Return a figure as an SVG document, the same text for the same figure.

    Args:
        figure: what is written.
        transparent: without a background, for a page that has its own; else on white.
    """
    buffer, unwritten = io.StringIO(), dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(buffer, format="svg", metadata=unwritten, transparent=transparent)
    return buffer.getvalue()


@matplotlib.rc_context(STYLE)
def write_figure(figure: Figure, folder: Path, stem: str) -> None:
    """Write a figure as `stem`.svg, and at twice the nominal resolution as `stem`.png, into a folder that exists."""
    (folder / f"{stem}.svg").write_text(to_svg(figure), encoding="utf-8")
    figure.savefig(folder / f"{stem}.png", dpi=200)


def file_stem(name: str) -> str:
    """Return `name` with everything that could trouble a file system replaced."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-")[:80] or "unnamed"


def to_inline_svg(figure: Figure) -> Markup:
    """Return a figure as an SVG element for a page: transparent, and in the page's own ink and rule colours."""
    svg = to_svg(figure, transparent=True)
    # A page holds several figures, and matplotlib numbers the parts of each from 1: an id may stand only once.
    svg = re.sub(
        r' id="(figure|axes|patch|line2d|text|matplotlib\.axis|xtick|ytick)_\d+"', "", svg[svg.index("<svg") :]
    )
    return Markup(svg.replace(INK, "currentColor").replace(RULE, "var(--rule)"))

"""The toolkit of every plot: one style, figures, axes, labels that find a free place, and files."""

from __future__ import annotations

import contextlib
import functools
import io
import re
import textwrap
import warnings
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import matplotlib
import numpy as np
from markupsafe import Markup, escape
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.text import Annotation
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from matplotlib.transforms import Bbox
from scipy.optimize import isotonic_regression

from stbench.reports.text import format_number

INK = "#24292f"
RULE = "#d8dee4"
NEUTRAL = "#7d8590"
MARK_PIXELS = 7  # half the size of the space that a label leaves around a mark
LABEL_POINTS = 9  # from the middle of a mark to its label
LABEL_CHARACTERS, TITLE_CHARACTERS = 28, 54  # of a line of a label, and of a title or the name of an axis
ABOVE_THE_LARGEST = 1.15  # end of an axis that begins at zero, over its largest value
ROOM_FACTOR = 1.6  # height of a figure over that of all its labels, one above the other
LOG_FROM_RANGE, LOG_TO_RANGE = 8, 1e12  # an axis whose values span a factor between these is logarithmic
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
ON_WHITE = '<rect width="100%" height="100%" style="fill: #ffffff"/>'
TOLD = "told-"  # begins the id of a mark that tells its values
End = tuple[float, float, str, str]


@contextlib.contextmanager
def any_glyph() -> Iterator[None]:
    """Let text have characters that no font here has: an SVG keeps them as text, a PNG shows a box."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        yield


def new_figure(title: str, x_axis: str, y_axis: str) -> tuple[Figure, Axes]:
    """Return an empty figure with its axes, titled and named."""
    figure = Figure(figsize=(5.8, 3.9), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    dress_axes(axes, title, x_axis, y_axis)
    return figure, axes


def dress_axes(axes: Axes, title: str, x_axis: str, y_axis: str) -> None:
    """Give axes their title, names, rules and no frame."""
    axes.set_title(textwrap.fill(title, TITLE_CHARACTERS), pad=14)
    axes.set_xlabel(textwrap.fill(x_axis, TITLE_CHARACTERS), labelpad=8)
    axes.set_ylabel(textwrap.fill(y_axis, TITLE_CHARACTERS), labelpad=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color=RULE, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(which="both", length=0)


def scale_axis(axes: Axes, which: str, values: Sequence[float]) -> None:
    """Make an axis logarithmic where its values span orders of magnitude; numbers are written out either way."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    low, high = min(values, default=1), max(values, default=1)
    if low > 0 and LOG_FROM_RANGE < high / low < LOG_TO_RANGE:
        (axes.set_xscale if which == "x" else axes.set_yscale)("log")
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_minor_formatter(NullFormatter())
    axis.set_major_formatter(FuncFormatter(format_tick))


def from_zero(axes: Axes, which: str) -> None:
    """Let a linear axis of positive values begin at zero, so that it enlarges no difference that hardly exists."""
    axis = {"x": "xaxis", "y": "yaxis"}[which]
    low, high = getattr(axes.dataLim, f"interval{which}")
    if getattr(axes, axis).get_scale() == "linear" and low >= 0 < high:
        (axes.set_xlim if which == "x" else axes.set_ylim)(0, ABOVE_THE_LARGEST * high)


def tell(mark: Artist, text: str) -> None:
    """Give a mark the text that an SVG shows at the pointer, and a page with the keyboard as well."""
    mark.set_gid(TOLD + quote(text, safe=""))


def add_note(
    axes: Axes, text: str, place: tuple[float, float], shift: tuple[float, float], colour: str, **how: Any
) -> Annotation:
    """Write text beside a place, `shift` points away; it takes no room from the axes."""
    note = axes.annotate(text, place, shift, textcoords="offset points", color=colour, annotation_clip=False, **how)
    note.set_in_layout(False)
    return note


def format_tick(value: float, _: int | None) -> str:
    """Write a tick as a plain number; the second argument is its place, as matplotlib hands it on."""
    return f"{value:.4g}" if abs(value) < 1e4 else format_number(value)


@any_glyph()
def label_points(
    axes: Axes, points: Sequence[End], outside: bool = False, corners: Sequence[tuple[float, float]] = ()
) -> None:
    """Write each label beside its point, on the side or at the height where it overlaps no other label.

    Long labels go on below themselves.

    Args:
        axes: where the points are.
        points: (x, y, text, colour) in data coordinates.
        outside: write to the right of the axes, for the ends of curves.
        corners: of a line of level and upright pieces that no label may stand on.
    """
    figure = axes.get_figure(root=True)
    assert figure is not None
    others = [child for child in axes.texts if isinstance(child, Annotation)]
    notes = [
        add_note(axes, wrapped(text), (x, y), (LABEL_POINTS, 0), colour, va="center", fontweight="medium")
        for x, y, text, colour in points
    ]
    _make_room(figure, notes, outside)
    _lay_out(figure)
    if outside:
        _spread(axes, notes)
    else:
        _avoid(axes, notes, [*(other.get_window_extent() for other in others), *_pieces(axes, corners)])


def _spread(axes: Axes, notes: Sequence[Annotation]) -> None:
    """Move labels as little as can be so that they stand one above the other, in the order of their points."""
    pixels = axes.figure.dpi / 72
    notes = sorted(notes, key=lambda note: axes.transData.transform(note.xy)[1])
    boxes = [note.get_window_extent() for note in notes]
    heights, wished = [box.height + 1 for box in boxes], [(box.y0 + box.y1) / 2 for box in boxes]
    stacked = np.cumsum(heights) - np.array(heights) / 2
    # Without the room that each takes, all that is left is their order.
    middles = isotonic_regression(np.array(wished) - stacked).x + stacked
    page = axes.bbox
    middles += max(0, page.y0 - middles[0]) + min(0, page.y1 - middles[-1])
    for note, middle, before in zip(notes, middles, wished, strict=True):
        note.set_position((LABEL_POINTS, (middle - before) / pixels))


def _pieces(axes: Axes, corners: Sequence[tuple[float, float]]) -> list[Bbox]:
    """The room that each piece of a line takes, in pixels."""
    pixels = [axes.transData.transform(corner) for corner in corners]
    return [Bbox([first, second]).padded(1) for first, second in pairwise(pixels)]


def _avoid(axes: Axes, notes: Sequence[Annotation], others: Sequence[Bbox]) -> None:
    """Move labels to where they overlap no mark and nothing else, the lowest first."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    pixels = figure.dpi / 72
    marks = [axes.transData.transform(note.xy) for note in notes]
    taken = [Bbox.from_extents(x - MARK_PIXELS, y - MARK_PIXELS, x + MARK_PIXELS, y + MARK_PIXELS) for x, y in marks]
    taken += others
    page = Bbox.from_extents(figure.bbox.x0, axes.bbox.y0, figure.bbox.x1, axes.bbox.y1)
    for note, _ in sorted(zip(notes, marks, strict=True), key=lambda pair: pair[1][1]):
        box = note.get_window_extent()
        # On the right of the mark, or on its left: first the side that lies within the axes.
        left = -(box.width + 2 * LABEL_POINTS * pixels)
        sides = [0.0, left] if box.x1 < axes.get_window_extent().x1 else [left, 0.0]
        shift, rise = _free_place(box, sides, taken, page)
        note.set_position((LABEL_POINTS + shift / pixels, rise / pixels))
        taken.append(box.translated(shift, rise))


def wrapped(text: str) -> str:
    """Return a label in lines of bounded length."""
    return "\n".join(textwrap.wrap(text, LABEL_CHARACTERS))


def _make_room(figure: Figure, notes: Sequence[Annotation], outside: bool) -> None:
    """Make a figure high enough for its labels one above the other, and keep its right for those outside the axes."""
    boxes = [note.get_window_extent() for note in notes]
    width, height = figure.get_size_inches()
    figure.set_size_inches(width, max(height, ROOM_FACTOR * sum(box.height for box in boxes) / figure.dpi))
    if outside:
        margin = max((box.width for box in boxes), default=0) / figure.dpi + 2 * LABEL_POINTS / 72
        engine = figure.get_layout_engine()
        assert isinstance(engine, ConstrainedLayoutEngine)
        engine.set(rect=(0, 0, 1 - margin / width, 1))


def _free_place(box: Bbox, sides: Sequence[float], taken: Sequence[Bbox], page: Bbox) -> tuple[float, float]:
    """The shift to the side and the rise, in pixels, to the nearest place on the page that overlaps nothing."""
    rises = np.array(sorted(range(-int(page.height), int(page.height), 2), key=abs))
    middle = (box.y0 + box.y1) / 2
    page = Bbox.from_extents(page.x0, min(page.y0, middle - box.height), page.x1, max(page.y1, middle + box.height))
    bottoms, tops = box.y0 + rises, box.y1 + rises
    on_page = (page.y0 <= bottoms) & (tops <= page.y1)
    extents = np.array([other.extents for other in taken]).reshape(-1, 4)
    free = np.zeros((len(rises), len(sides)), dtype=bool)
    for number, shift in enumerate(sides):
        left, right = box.x0 + shift, box.x1 + shift
        if page.x0 <= left and right <= page.x1:
            _, low, _, high = extents[(extents[:, 0] <= right) & (left <= extents[:, 2])].T
            hit = (low <= tops[:, None]) & (bottoms[:, None] <= high)  # (rises, others)
            free[:, number] = on_page & ~hit.any(axis=1)
    for rise, side in np.argwhere(free)[:1]:
        return sides[side], float(rises[rise])
    return sides[0], 0.0


def to_svg(figure: Figure, transparent: bool = False) -> str:
    """Return a figure as an SVG document, the same text for the same figure.

    Args:
        figure: what is written; it is final from then on.
        transparent: without a background, for a page that has its own; else on white.
    """
    svg = _render(figure)
    return svg if transparent else re.sub("(<svg [^>]*>)", r"\1" + ON_WHITE, svg, count=1)


@functools.lru_cache(maxsize=64)  # a figure goes into a page and into a file
@any_glyph()
@matplotlib.rc_context(STYLE)
def _render(figure: Figure) -> str:
    buffer, unwritten = io.StringIO(), dict.fromkeys(("Date", "Creator", "Format", "Type"))
    canvas, dpi = figure.canvas, figure.dpi
    _lay_out(figure)
    # Laid out once: matplotlib would do so for each file again, which takes most of the time.
    figure.set_layout_engine("none")
    with _on_background(figure, "none"):
        FigureCanvasSVG(figure).print_svg(buffer, metadata=unwritten)
    figure.set_canvas(canvas)
    figure.set_dpi(dpi)
    return re.sub(rf'<g id="{TOLD}([^"]*)">', _told_mark, buffer.getvalue())


def _lay_out(figure: Figure) -> None:
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)


@contextlib.contextmanager
def _on_background(figure: Figure, colour: str) -> Iterator[None]:
    patches = [figure.patch, *(axes.patch for axes in figure.axes)]
    before = [patch.get_facecolor() for patch in patches]
    for patch in patches:
        patch.set_facecolor(colour)
    yield
    for patch, colour_before in zip(patches, before, strict=True):
        patch.set_facecolor(colour_before)


def _told_mark(found: re.Match[str]) -> str:
    text = escape(unquote(found[1]))
    return f'<g class="mark" role="img" aria-label="{text}"><title>{text}</title>'


@any_glyph()
@matplotlib.rc_context(STYLE)
def write_figure(figure: Figure, folder: Path, stem: str) -> None:
    """Write a figure as `stem`.svg, and at twice the nominal resolution as `stem`.png, into a folder that exists."""
    (folder / f"{stem}.svg").write_text(to_svg(figure), encoding="utf-8")
    dpi = figure.dpi
    figure.set_dpi(2 * dpi)
    FigureCanvasAgg(figure).print_png(folder / f"{stem}.png")
    figure.set_dpi(dpi)


def file_stem(name: str) -> str:
    """Return `name` with everything that could trouble a file system replaced."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-")[:80] or "unnamed"


def to_inline_svg(figure: Figure) -> Markup:
    """Return a figure as an SVG element for a page: transparent, in the page's own ink and rule colours.

    Every other colour may be replaced by the page, as it is for a dark one: #0072b2 by the variable --c-0072b2.
    """
    svg = to_svg(figure, transparent=True)
    # A page holds several figures, and matplotlib numbers the parts of each from 1: an id may stand only once.
    svg = re.sub(
        r' id="(figure|axes|patch|line2d|text|matplotlib\.axis|xtick|ytick)_\d+"', "", svg[svg.index("<svg") :]
    )
    svg = svg.replace(INK, "currentColor").replace(RULE, "var(--rule)")
    return Markup(re.sub(r"(fill|stroke): #([0-9a-f]{6})\b", r"\1: var(--c-\2, #\2)", svg))

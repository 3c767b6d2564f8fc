"""The toolkit of plots: scales, ticks, labels that find a free place, and the files of a figure."""

from __future__ import annotations

import re
from itertools import combinations
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Annotation
from PIL import Image

from stbench.reports import drawing
from stbench.reports.drawing import End

BLACK = "#000000"


def labels(figure: Figure) -> list[Annotation]:
    return [child for child in figure.axes[0].texts if isinstance(child, Annotation)]


def labelled(points: list[End], outside: bool = False) -> Figure:
    """A figure with a mark and a label at each point."""
    figure, axes = drawing.new_figure("Title", "x", "y")
    for x, y, _, colour in points:
        axes.plot(x, y, "o", color=colour)
    drawing.label_points(axes, points, outside)
    figure.canvas.draw()
    return figure


@matplotlib.rc_context(drawing.STYLE)
def three_panels() -> Figure:
    figure = Figure(layout="constrained")
    for axes in figure.subplots(1, 3):
        drawing.dress_axes(axes, "Title", "x", "y")
        axes.plot([0, 1], [0, 1])
    return figure


def test_a_new_figure_is_titled_and_named() -> None:
    figure, axes = drawing.new_figure("Quality", "GMACs", "FVD")
    assert figure.axes == [axes]
    assert (axes.get_title(loc="left") or axes.get_title(), axes.get_xlabel(), axes.get_ylabel()) == (
        "Quality",
        "GMACs",
        "FVD",
    )
    assert {side: spine.get_visible() for side, spine in axes.spines.items()} == {
        "left": True,
        "bottom": True,
        "top": False,
        "right": False,
    }


@pytest.mark.parametrize(
    ("values", "scale"),
    [
        ([1.0, 8.0], "linear"),
        ([1.0, 8.1], "log"),
        ([0.0, 1000.0], "linear"),
        ([-1.0, 1000.0], "linear"),
        ([5e-324, 1.0], "linear"),
        ([], "linear"),
    ],
)
@pytest.mark.parametrize("which", ["x", "y"])
def test_an_axis_is_logarithmic_beyond_a_factor_of_8(which: str, values: list[float], scale: str) -> None:
    _, axes = drawing.new_figure("Title", "x", "y")
    drawing.scale_axis(axes, which, values)
    scales = {"x": axes.get_xscale(), "y": axes.get_yscale()}
    assert scales == {"x": "linear", "y": "linear"} | {which: scale}
    axis = axes.xaxis if which == "x" else axes.yaxis
    assert axis.get_major_formatter()(1000.0, None) == "1000"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (0.25, "0.25"), (1234.5, "1234"), (1e4, "10,000"), (2.5e6, "2,500,000"), (-3e4, "-30,000")],
)
def test_ticks_are_plain_numbers(value: float, text: str) -> None:
    assert drawing.format_tick(value, 0) == text


@pytest.mark.parametrize("outside", [False, True])
def test_labels_of_equal_points_do_not_overlap(outside: bool) -> None:
    figure = labelled([(1.0, 2.0, f"variant {i}", BLACK) for i in range(5)], outside)
    boxes = [label.get_window_extent() for label in labels(figure)]
    assert len(boxes) == 5
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))


def test_no_label_stands_on_a_line_that_it_is_told_of() -> None:
    figure, axes = drawing.new_figure("Title", "x", "y")
    axes.plot([0, 0.5, 0.5], [1, 1, 0])
    drawing.label_points(axes, [(0.0, 1.0, "a label", BLACK)], corners=[(0, 1), (0.5, 1), (0.5, 0)])
    figure.canvas.draw()
    box, level = labels(figure)[0].get_window_extent(), axes.transData.transform((0, 1))[1]
    assert not box.y0 <= level <= box.y1 or box.x1 < axes.transData.transform((0, 1))[0]


def test_labels_outside_keep_the_order_of_their_points() -> None:
    points = [(1.0, 0.001 * i, f"curve {i}", BLACK) for i in (2, 0, 1, 3)]
    heights = {label.get_text(): label.get_window_extent().y0 for label in labels(labelled(points, outside=True))}
    assert sorted(heights, key=lambda name: heights[name]) == [f"curve {i}" for i in range(4)]


def test_a_long_title_goes_on_below_itself() -> None:
    _, axes = drawing.new_figure("word " * 30, "x", "y")
    assert max(map(len, (axes.get_title(loc="left") or axes.get_title()).splitlines())) <= drawing.TITLE_CHARACTERS


def test_a_label_stands_to_the_left_of_a_mark_near_the_right_edge() -> None:
    points = [(0.0, 0.0, "left", BLACK), (1.0, 1.0, "a long label", BLACK)]
    figure = labelled(points)
    for label, (x, y, text, _) in zip(labels(figure), points, strict=True):
        mark = figure.axes[0].transData.transform((x, y))
        box = label.get_window_extent()
        assert label.get_text() == text
        assert box.x0 > mark[0] if text == "left" else box.x1 < mark[0]
    outside = labelled(points, outside=True)
    assert all(label.get_window_extent().x0 > 0 and label.xyann[0] > 0 for label in labels(outside))


@pytest.mark.filterwarnings("error")
def test_a_name_in_any_script_is_drawn_without_a_warning(tmp_path: Path) -> None:
    figure, axes = drawing.new_figure("変種", "x", "y")
    drawing.label_points(axes, [(1.0, 2.0, "変種 ✓", BLACK)])
    assert "変種" in drawing.to_svg(figure)
    drawing.write_figure(figure, tmp_path, "a")


def test_svg_is_the_same_for_the_same_figure() -> None:
    first, second = (drawing.to_svg(labelled([(1.0, 2.0, "a", BLACK)])) for _ in range(2))
    assert first == second
    assert first.startswith("<?xml")
    assert "fill: #ffffff" in first  # a file on its own is on white
    assert "<dc:date>" not in first


def test_inline_svg_is_transparent_in_every_panel_and_takes_the_pages_colours() -> None:
    svg = drawing.to_inline_svg(three_panels())
    assert svg.startswith("<svg")
    assert "currentColor" in svg and drawing.INK not in svg
    assert "var(--rule)" in svg and drawing.RULE not in svg
    assert "fill: #ffffff" not in svg
    assert svg.count("fill: none") >= 4  # the figure and its three panels


def test_two_figures_of_one_page_share_no_id() -> None:
    one = drawing.to_inline_svg(labelled([(1.0, 2.0, "a", BLACK)]))
    other = drawing.to_inline_svg(three_panels())
    ids = [set(re.findall(r' id="([^"]+)"', svg)) for svg in (one, other)]
    assert not ids[0] & ids[1]


def test_text_of_a_figure_is_text_and_escaped() -> None:
    svg = drawing.to_inline_svg(labelled([(1.0, 2.0, "$\\frac{<script>", BLACK)]))
    assert "<script>" not in svg
    assert "$\\frac{&lt;script&gt;" in svg


def test_png_is_on_white_at_twice_the_size(tmp_path: Path) -> None:
    figure, _ = drawing.new_figure("Title", "x", "y")
    drawing.write_figure(figure, tmp_path, "a")
    picture = np.asarray(Image.open(tmp_path / "a.png").convert("RGBA"))
    assert picture.shape == (780, 1160, 4)  # 3.9 x 5.8 inches at 200 dots an inch
    assert picture[0, 0].tolist() == [255, 255, 255, 255]


def test_a_figure_is_written_as_svg_and_png(tmp_path: Path) -> None:
    figure, _ = drawing.new_figure("Title", "x", "y")
    drawing.write_figure(figure, tmp_path, "a")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "a.svg"]
    assert (tmp_path / "a.svg").read_text().startswith("<?xml")
    assert Image.open(tmp_path / "a.png").size == (1160, 780)


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("shapes3d", "shapes3d"),
        ("a/b: c", "a-b-c"),
        ("../../etc", "etc"),
        ("<>", "unnamed"),
        ("", "unnamed"),
        ("x" * 200, "x" * 80),
    ],
)
def test_file_stem(name: str, stem: str) -> None:
    assert drawing.file_stem(name) == stem

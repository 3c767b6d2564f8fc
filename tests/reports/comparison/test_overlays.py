"""Curves and samples of two sides, drawn from fabricated runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import matplotlib.colors
import pytest

from stbench.records.store import StoredRecord, read_record
from stbench.reports.comparison.overlays import COLOURS, Overlay, overlay

MakeRun = Callable[..., Path]


def stored(*paths: Path) -> list[StoredRecord]:
    return [StoredRecord(read_record(path), path) for path in paths]


@pytest.fixture
def drawn(make_run: MakeRun) -> Overlay:
    base, new = (
        [make_run(seed=seed, fvd=fvd, folder=side) for seed in (0, 1)] for side, fvd in (("b", 100.0), ("n", 50.0))
    )
    return overlay("latte1 / shapes", stored(*base), stored(*new))


def test_both_sides_stand_in_one_plot_of_each_figure(drawn: Overlay) -> None:
    assert [plot.name for plot in drawn.plots] == ["fvd-shapes3d-16-over-training-latte1-shapes", "loss-latte1-shapes"]
    for plot in drawn.plots:
        [axes] = plot.figure.axes
        assert {text.get_text() for text in axes.texts} == {"base", "new"}
        colours = {matplotlib.colors.to_hex(str(line.get_color())).upper() for line in axes.lines}
        assert colours == set(COLOURS.values())
    assert "base: from 900 to 120; new: from 900 to 60" in drawn.plots[0].alt


def test_samples_of_the_first_seed_stand_side_by_side_under_real_clips_and_the_rest_is_folded(drawn: Overlay) -> None:
    assert [(row.label, row.score) for row in drawn.samples.rows] == [
        ("Real clips", "the data set"),
        ("base", "seed 0 · FVD[shapes3d] 100"),
        ("new", "seed 0 · FVD[shapes3d] 50"),
    ]
    assert [row.label for row in drawn.samples.folded["Other runs"].rows] == ["base", "new"]
    assert len({row.name for row in drawn.samples.all_rows}) == 5


def test_curves_of_two_protocols_stand_apart(make_run: MakeRun) -> None:
    other = [{"step": 40, "fvd": 7.0, "n_fake": 16, "protocol_hash": "other"}]
    base, new = make_run(folder="b"), make_run(folder="n", **{"quality.curve": other})
    plots = overlay("", stored(base), stored(new)).plots
    assert [plot.alt.split("training. ")[1].split(":")[0] for plot in plots] == ["base", "new", "base"]


def test_what_was_not_kept_is_not_drawn_and_what_cannot_be_read_is_told(make_run: MakeRun) -> None:
    base, new = make_run(folder="b", files={}, training=None, quality=None), make_run(folder="n")
    (new / "samples.npz").write_text("nothing")
    found = overlay("", stored(base), stored(new))
    assert found.samples is None
    assert [str(new / "samples.npz") in reason for reason in found.unread] == [True]
    assert overlay("", stored(base), stored(base)) == Overlay([], None, [])

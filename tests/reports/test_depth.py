"""How alike frames are is drawn by depth, a line a configuration."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from stbench.reports.depth import depth_plots
from stbench.reports.runs import load_runs

MakeRun = Callable[..., Path]


def make(make_run: MakeRun, variant: str, seed: int, *found: float, **changes: str) -> Path:
    return make_run(variant, seed, diagnostics={"n_pairs": 8, "frame_similarity": list(found)}, **changes)


def test_a_line_is_the_mean_over_seeds_at_every_block(make_run: MakeRun) -> None:
    make(make_run, "latte1", 0, 0.9, 0.8)
    make(make_run, "latte1", 1, 0.7, 0.4)
    run = make(make_run, "latte2", 0, 0.9, 0.7, 0.4)
    [plot] = depth_plots(load_runs([run.parent]))
    assert plot.name == "depth"
    assert plot.alt.endswith("latte1: from 0.8000 to 0.6000; latte2: from 0.9000 to 0.4000")
    axes = plot.figure.axes[0]
    assert axes.get_xlabel() == "Block"
    lines = [line.get_xydata().tolist() for line in axes.lines]
    assert [[1, 0.9], [2, 0.7], [3, 0.4]] in lines


def test_every_data_set_has_a_plot_of_its_own(make_run: MakeRun) -> None:
    make(make_run, "latte1", 0, 0.9, 0.8)
    run = make(make_run, "latte1", 1, 0.9, 0.8, **{"config.dataset.name": "clouds"})
    assert {plot.name for plot in depth_plots(load_runs([run.parent]))} == {"depth-shapes", "depth-clouds"}


def test_without_diagnostics_there_is_none(make_run: MakeRun) -> None:
    assert list(depth_plots(load_runs([make_run()]))) == []

"""Which plots and which strips of samples a report gets, and what is said of those that it cannot have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from stbench.reports.figures import draw_plots
from stbench.reports.runs import load_runs

MakeRun = Callable[..., Path]


def test_two_detectors_and_two_protocols_have_plots_of_their_own(make_run: MakeRun) -> None:
    make_run("latte1", 0)
    make_run("latte1", 1, **{"quality.protocol_hash": "protocol-b"})
    run = make_run("latte1", 2, **{"quality.detector": "i3d", "quality.protocol_hash": "c"})
    drawn, missing = draw_plots(load_runs([run.parent]))
    names = [plot.name for plot in drawn if "gmacs" in plot.name]
    assert len(names) == len(set(names)) == 3
    assert [name.split("-")[1] for name in names] == ["shapes3d", "shapes3d", "i3d"]
    titles = [plot.figure.axes[0].get_title(loc="left") for plot in drawn if "gmacs" in plot.name]
    assert titles[1] == "Quality against computation, protocol protocol-b"
    assert missing == []


def test_what_cannot_be_drawn_is_said(make_run: MakeRun, failed: dict[str, Any]) -> None:
    run = make_run("latte1", **failed)
    (run / "loss.csv").unlink()
    drawn, missing = draw_plots(load_runs([run]))
    assert drawn == []
    assert len(missing) == 5
    assert missing[0] == "No plot of FVD against computation: no run has both an FVD and counted GMACs."


def test_the_name_of_a_detector_does_not_hide_what_is_missing(make_run: MakeRun) -> None:
    run = make_run(**{"quality.detector": "my-loss-vs-memory", "quality.curve": [], "memory": None})
    (run / "loss.csv").unlink()
    _, missing = draw_plots(load_runs([run]))
    assert missing == [
        "No plot of FVD against memory: no run has both an FVD and a peak of memory.",
        "No plot of FVD over training: no run recorded it.",
        "No plot of training loss: no run kept its loss curve.",
    ]

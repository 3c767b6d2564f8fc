"""What the plots of costs say."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from matplotlib.figure import Figure

from stbench.records.costs import Ceilings, Scaling, Utilisation
from stbench.reports.costs.plots import SCALED, breakdown, roofline, scaling_plot
from stbench.reports.drawing import to_svg

CEILINGS = Ceilings(
    device_name="NVIDIA H100 80GB HBM3",
    precision="bfloat16",
    matmul_gflops_per_s={"bfloat16": 700_000.0, "float32": 50_000.0},
    copy_gb_per_s=2800.0,
    datasheet_gflops_per_s=989_400.0,
    datasheet_gb_per_s=3350.0,
    datasheet="NVIDIA H100 Tensor Core GPU data sheet, column SXM",
)
MEASURED = {
    "latte1": Utilisation(
        model_gflops=400.0,
        gflops_per_s=200_000.0,
        mfu_of_measured_ceiling=0.3,
        traffic_gb_estimate=4.0,
        flop_per_byte_estimate=100.0,
    )
}


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]


def test_breakdown_has_the_largest_part_on_top() -> None:
    figure = breakdown("latte1", {"embed": 1.0, "blocks.*.mlp": 6.0, "": 3.0})
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["blocks.*.mlp", "(outside its parts)", "embed"]
    assert texts(figure) == ["60.0 %", "30.0 %", "10.0 %"]
    assert axes.yaxis_inverted()
    assert "10 GMACs" in axes.get_title(loc="left")


def test_roofline_bends_where_peak_and_bandwidth_meet() -> None:
    figure = roofline(CEILINGS, MEASURED)
    measured, datasheet, point = figure.axes[0].lines
    for line, peak, bandwidth in ((measured, 700_000, 2800), (datasheet, 989_400, 3350)):
        x, y = line.get_xydata().T.tolist()
        assert max(y) == peak
        assert all(height == pytest.approx(min(peak, bandwidth * place)) for place, height in zip(x, y, strict=True))
    assert (point.get_xdata()[0], point.get_ydata()[0]) == (100.0, 200_000.0)
    assert texts(figure) == ["measured", "data sheet", "latte1"]
    assert "estimate" in figure.axes[0].get_xlabel()


def test_roofline_of_an_unknown_device_has_one_roof() -> None:
    figure = roofline(replace(CEILINGS, datasheet_gflops_per_s=None, datasheet_gb_per_s=None), MEASURED)
    assert texts(figure) == ["measured", "latte1"]


@pytest.mark.parametrize("name", SCALED)
def test_scaling_has_logarithmic_axes_and_the_exponent(name: str) -> None:
    points: list[dict[str, Any]] = [
        {"frames": frames, name: 2.0 * frames, "status": "finished"} for frames in (8, 16, 32)
    ]
    failed = {"frames": 64, "status": "oom"}
    scaling = Scaling(axis="frames", points=(*points, failed), exponents={name: 1.0}, formula="")
    figure = scaling_plot({"latte1": scaling}, name)
    axes = figure.axes[0]
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert axes.lines[0].get_xydata()[:, 0].tolist() == [8, 16, 32]
    assert texts(figure) == ["latte1, exponent 1.00"]
    assert to_svg(figure).startswith("<?xml")

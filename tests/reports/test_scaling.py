"""Scaling in a report: which runs are sizes of one network, what is fitted or refused, and what is said of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from stbench.reports.drawing import to_svg
from stbench.reports.runs import load_runs
from stbench.reports.scaling import ScalingSection, scaling_section

MakeRun = Callable[..., Path]
GROWTH = (1.0, 3.0, 9.0, 27.0)


@pytest.fixture
def make_sizes(make_run: MakeRun) -> Callable[..., Path]:
    """Return a function that writes runs of a network whose FVD is a C^-b at several sizes."""

    def make(name: str, a: float, b: float, growth: Sequence[float] = GROWTH, seeds: int = 2) -> Path:
        for place, times in enumerate(growth):
            for seed in range(seeds):
                counts = {"counts.params_total": int(1e6 * times), "counts.gmacs_train_step": 500.0 * times}
                size = {"config.variant.arguments.size": f"size-{place}", "run_id": f"{name}-{place}-{seed}"}
                run = make_run(name, seed, a * times**-b, **counts, **size)
        return run.parent

    return make


def section(folder: Path) -> ScalingSection:
    return scaling_section(load_runs([folder]))


def test_laws_over_operations_and_parameters_are_recovered(make_sizes: Callable[..., Path]) -> None:
    made = section(make_sizes("latte1", 100.0, 0.5))
    assert [plot.name for plot in made.plots] == ["scaling-fvd-shapes3d-operations", "scaling-fvd-shapes3d-parameters"]
    # 500 GMACs a clip, 2 clips a step, 40 steps: 80 TFLOPs at the smallest size, 27 times that at the largest.
    assert made.laws[0] == {
        "configuration": "latte1",
        "of": "FVD[shapes3d]",
        "over": "operations",
        "sizes": "4",
        "exponent b": "0.5000 [0.5000, 0.5000]",
        "floor c": "none",
        "largest size": "2160 TFLOPs",
        "predicted": "19.25 [19.25, 19.25]",
        "seen": "19.25",
        "prediction error": made.laws[0]["prediction error"],  # nothing, of either sign
        "at 10 times the largest": "6.086 [6.086, 6.086]",
    }
    assert made.laws[0]["prediction error"] in ("+0.0 %", "-0.0 %")
    assert made.laws[1]["over"] == "parameters" and made.laws[1]["largest size"] == "27 M parameters"
    assert made.sentences == []
    told = re.findall(r'aria-label="([^"]+)"', to_svg(made.plots[1].figure))
    assert told[0] == "latte1: FVD[shapes3d] 100 over 2 seeds at 1, Parameters (M)"


def test_crossings_and_rank_stability_are_said(make_sizes: Callable[..., Path]) -> None:
    make_sizes("flat", 100.0, 0.1)
    made = section(make_sizes("steep", 150.0, 0.5))
    # 100 C^-0.1 = 150 C^-0.5 at C = 1.5^2.5 = 2.756.
    assert (
        "By FVD[shapes3d], steep becomes better than flat at 2.756 [2.756, 2.756] M parameters, in 100 % of the draws; "
        "within the sizes."
    ) in made.sentences
    assert made.sentences[-1] == (
        "By FVD[shapes3d], Kendall's tau of the order of the 2 arms is -1.00 [-1.00, -1.00] between sizes 1 and 2; "
        "1.00 [1.00, 1.00] between sizes 2 and 3; 1.00 [1.00, 1.00] between sizes 3 and 4."
    )


def test_too_few_sizes_are_drawn_and_refused_with_the_reason(make_sizes: Callable[..., Path]) -> None:
    make_sizes("short", 100.0, 0.5, GROWTH[:3])
    made = section(make_sizes("long", 100.0, 0.3))
    assert {row["configuration"] for row in made.laws} == {"long"}
    refused = "No law of FVD[shapes3d] over {} for short: 3 sizes; a power law needs 4."
    assert [refused.format(axis) in made.sentences for axis in ("operations", "parameters")] == [True, True]
    assert made.sentences[-1] == "No rank stability by FVD[shapes3d]: the arms have unequal numbers of sizes."
    assert "short: 100, 57.74, 33.33" in made.plots[0].alt


def test_networks_of_one_size_have_no_section(make_run: MakeRun) -> None:
    make_run("latte1", 0)
    assert section(make_run("latte2", 0).parent) == ScalingSection()

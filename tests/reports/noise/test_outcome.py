"""The files of a study: tables, plots, page and sentences, from a record made up so that its answers are known."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from stbench.reports.noise.findings import findings, with_sd
from stbench.reports.noise.outcome import CONTENTS, csv_tables, draw_plots, write_noise_study
from stbench.reports.noise.page import by_strength, noise_page
from stbench.reports.noise.plots import bias_plot, response_plot
from stbench.reports.tables import to_csv

STATIC = ("gaussian_noise", "blur", "salt_and_pepper", "black_rectangles")
NAMES = (*STATIC, "local_swap", "global_swap", "interleave", "switch")
STRENGTHS = (0.5, 1.0)


def noise(figure: str = "fvd", floor: float = 1.0) -> dict[str, Any]:
    def row(name: str, kind: str, strength: float, value: float) -> dict[str, Any]:
        empty = dict.fromkeys(("fvd", "fvd_inf", "fvd_same_clips", "kvd", "kvd_low", "kvd_high"))
        return {"distortion": name, "kind": kind, "strength": strength, "n": 128, **empty, figure: value}

    kinds = {name: "static" if name in STATIC else "temporal" for name in NAMES}
    rows = [row("none", "none", 0.0, floor)]
    rows += [row(name, kind, s, floor + 10 * s * (1 + NAMES.index(name))) for name, kind in kinds.items()
             for s in STRENGTHS]  # fmt: skip
    judged = [
        {"distortion": name, "kind": kind, "spearman_fvd": 1.0, "spearman_fvd_inf": None, "spearman_kvd": 1.0,
         "spearman_fvd_same_clips": 1.0, "seen_from": 0.5, "response": 10.0 * (1 + NAMES.index(name)),
         "share_of_static": 0.4 * (1 + NAMES.index(name))}
        for name, kind in kinds.items()
    ]  # fmt: skip
    steps = [{"strength": s, "static": 25.0 * s, "temporal": 65.0 * s, "temporal_share": 2.6} for s in STRENGTHS]
    return {"figure": figure, "floor": floor, "floor_largest": 1.5, "distortions": judged, "by_strength": steps,
            "rows": rows}  # fmt: skip


def bias(dim: int = 64, infinity: bool = True) -> dict[str, Any]:
    """Exactly 640 / N."""
    sizes = (32, 64, 128, 256)
    pairs = [
        {"n": n, "repeat": repeat, "fvd": 640 / n, "n_times_fvd": 640.0, "kvd": 0.01 * (-1) ** repeat,
         "fvd_inf": 0.25 if infinity and n == 256 else None,
         "fvd_inf_real_fixed": 1.25 if infinity and n == 256 else None}
        for n in sizes for repeat in range(2)
    ]  # fmt: skip
    figures = ("fvd", "n_times_fvd", "fvd_inf", "fvd_inf_real_fixed", "kvd")
    means: list[dict[str, Any]] = [{**row, "kvd": 0.0} for row in pairs[::2]]
    for row in means:
        row |= {f"{name}_sd": None if row[name] is None else 0.5 for name in figures}
    return {"dim": dim, "effective_dim": 7.5, "expected_n_times_fvd": 600.0, "settled_from": 32, "repeats": 2,
            "by_size": means, "rows": pairs}  # fmt: skip


def study(**changes: Any) -> dict[str, Any]:
    check = {**bias(dim=40), "dim": 40}
    check["bootstrap"] = {"n": 2048, "point": 39.7, "mean": 75.8, "sd": 0.77, "replicates_mean": 39.6,
                          "replicates_sd": 0.25}  # fmt: skip
    check["kernel"] = [{"n": 128, "unbiased": -4e-4, "biased": 0.109, "expected_biased": 0.1097}]
    about = {
        "created": "2026-11-21T00:00:00+00:00",
        "detector": "shapes3d",
        "settings": {"num": 128, "seed": 0},
        "protocol": {"feature_dim": 64, "num_frames": 16, "resolution": 32, "dataset": "shapes"},
        "protocol_hash": "abcdef0123456789",
        "machine": {"cpu": "<b>fast</b>"},
        "software": {"torch": "2.13"},
        "wall_s": 1.0,
    }
    return {**about, "noise": noise(), "bias": bias(), "gaussian_check": check, **changes}


def texts(figure: Figure, panel: int) -> list[str]:
    return [text.get_text() for text in figure.axes[panel].texts]


def test_written_files(tmp_path: Path) -> None:
    write_noise_study(study(), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(CONTENTS)
    assert json.loads((tmp_path / "study.json").read_text()) == study()
    assert sorted(path.name for path in (tmp_path / "plots").iterdir()) == [
        f"{name}.{kind}" for name in ("bias-gaussian", "bias-shapes3d", "noise") for kind in ("png", "svg")
    ]


def test_tables_are_long_and_tidy() -> None:
    tables = {name: list(csv.DictReader(io.StringIO(to_csv(frame)))) for name, frame in csv_tables(study()).items()}
    assert len(tables["noise"]) == 1 + 8 * 2
    assert list(tables["noise"][0])[:4] == ["distortion", "kind", "strength", "n"]
    assert {"fvd", "kvd"} <= set(tables["noise"][0])
    assert tables["noise"][-1]["fvd"] == "81.0"
    assert [row["distortion"] for row in tables["distortions"]] == list(NAMES)
    assert {row["features"] for row in tables["bias"]} == {"shapes3d", "gaussian"}
    assert {row["dim"] for row in tables["bias"]} == {"64", "40"}
    assert "gaussian" not in set(csv_tables(study(gaussian_check=None))["bias"]["features"])


def test_responses_stand_side_by_side_from_a_common_floor() -> None:
    figure = response_plot(noise(), "shapes3d")
    static, temporal = figure.axes
    assert [axes.get_title(loc="left") for axes in (static, temporal)] == ["Damage to frames", "Damage to their order"]
    assert static.get_ylabel() == "FVD[shapes3d]"
    assert static.get_ylim() == temporal.get_ylim()
    assert static.get_yscale() == "log"
    assert texts(figure, 0)[0] == "undistorted, 128 clips: 1"
    assert set(texts(figure, 0)[1:]) == {name.replace("_", " ") for name in STATIC}
    colours = set()
    for axes in (static, temporal):
        floor, *curves = axes.lines
        assert np.asarray(floor.get_ydata()).tolist() == [1.0, 1.0]
        for curve in curves:
            assert curve.get_xydata()[0].tolist() == [0.0, 1.0]
            colours.add(curve.get_color())
    assert len(colours) == 8


def test_a_distance_below_zero_has_a_linear_axis() -> None:
    figure = response_plot(noise("kvd", floor=-0.01), "shapes3d")
    assert figure.axes[0].get_yscale() == "linear"
    assert figure.axes[0].get_ylabel() == "KVD[shapes3d]"


def test_bias_has_the_theory_and_the_refused_sizes() -> None:
    figure = bias_plot(bias(), "shapes3d")
    fvd, infinity, kvd = figure.axes
    pairs, means, theory = fvd.lines
    assert means.get_ydata().tolist() == [20, 10, 5, 2.5]
    assert theory.get_ydata().tolist() == [600 / n for n in (32, 64, 128, 256)]
    assert np.asarray(pairs.get_xdata()).shape == (8,)
    assert (fvd.get_xscale(), fvd.get_yscale()) == ("log", "log")
    assert texts(figure, 0) == ["dashed: 600 / N, expected of Gaussians", "N ≤ 64: refused"]
    assert texts(figure, 1) == ["FVD∞", "FVD∞, real side fixed", "FVD"]
    assert "N ≤ 30: refused" not in texts(bias_plot(bias(dim=30), "shapes3d"), 0)
    assert kvd.get_ylabel() == "KVD[shapes3d], unbiased"
    assert {axes.get_xlabel() for axes in (fvd, infinity, kvd)} == {"Clips on each side, N"}


def test_without_extrapolation_the_plot_says_what_it_needs() -> None:
    assert texts(bias_plot(bias(infinity=False), "shapes3d"), 1) == ["FVD∞ needs 256 on each side"]


def test_table_by_strength() -> None:
    shown = by_strength(noise())
    assert list(shown.columns) == ["distortion", "0.00", "0.50", "1.00"]
    assert shown.iloc[1].tolist() == ["blur", "1", "11", "21"]


def test_page_is_self_contained_and_escaped() -> None:
    page = noise_page(study(), draw_plots(study()))
    assert page.count("<svg") == 3
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "<b>fast</b>" not in page
    assert "640.00 ± 0.50" in page
    assert "75.80" in page
    smaller = noise_page(study(gaussian_check=None), draw_plots(study(gaussian_check=None)))
    assert smaller.count("<svg") == 2
    assert "Gaussians, where" not in smaller


@pytest.mark.parametrize(
    ("value", "sd", "text"),
    [
        (302.34, 42.1, "302 ± 42"),
        (1.18086, 0.16397, "1.18 ± 0.16"),
        (7.81e-05, 0.00403, "0.0001 ± 0.0040"),
        (80991.6, 296.2, "80992 ± 296"),
        (2.5, None, "2.500"),
        (2.5, 0.0, "2.500"),
    ],
)
def test_means_have_the_digits_of_their_spread(value: float, sd: float | None, text: str) -> None:
    assert with_sd(value, sd) == text


def test_findings_of_a_distance_that_sees_everything() -> None:
    sentences = findings(study())
    assert (
        sentences[0] == "FVD[shapes3d] orders the strengths of all 8 distortions rightly (Spearman's ρ = 1 for each)."
    )
    assert sentences[1] == (
        "Clean clips give up to 1.5 at this number; every distortion is above that from the lowest strength on (0.5)."
    )
    assert "the median static one by 25: a share of 2.6. The strongest answer, 80, is to switch." in sentences[2]
    assert "is 640 (expected of Gaussian features: 600) and constant from N = 32 on" in sentences[3]
    assert "FVD is 5 at 128, 2.5 at 256 clips" in sentences[3]
    assert "FVD∞ is 0.25 ± 0.50, with the real side kept whole 1.25 ± 0.50; KVD is 0.00 ± 0.50" in sentences[4]
    assert "75.8 ± 0.77 for a distance of 39.7" in sentences[-1]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"spearman_fvd": 0.89}, "of 7 of 8 distortions rightly; not: blur (ρ = 0.89)"),
        ({"spearman_fvd": None}, "not: blur (ρ = none)"),
        ({"seen_from": 1.0}, "; from strength 1 on blur."),
        ({"seen_from": None}, "; never blur."),
    ],
)
def test_findings_name_what_is_missed(change: dict[str, Any], expected: str) -> None:
    changed = noise()
    changed["distortions"][1] |= change
    assert any(expected in sentence for sentence in findings(study(noise=changed)))


def test_findings_say_when_there_is_no_fvd() -> None:
    first = findings(study(noise=noise("kvd")))[0]
    assert (
        first == "No FVD: 128 clips on each side are no more than the 64 features. KVD, which is unbiased, is judged."
    )


def test_torch_is_not_imported() -> None:
    code = "import sys, stbench.reports.noise.outcome; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0

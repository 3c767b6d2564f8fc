"""The page of a noise study: its tables as text, and that it is whole and escaped."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from stbench.reports.noise.outcome import draw_plots
from stbench.reports.noise.page import bias_table, by_strength, noise_page

Make = Callable[..., dict[str, Any]]


def test_table_by_strength(noise: Make) -> None:
    shown = by_strength(noise())
    assert list(shown.columns) == ["distortion", "0.00", "0.50", "1.00"]
    assert shown.iloc[1].tolist() == ["blur", "1", "11", "21"]


def test_table_of_the_bias(bias: Make) -> None:
    shown = bias_table(bias())
    assert list(shown.columns) == ["N", "FVD", "N · FVD", "FVD∞", "FVD∞, real side fixed", "KVD"]
    assert shown.values.tolist() == [
        ["32", "20.00 ± 0.50", "640.00 ± 0.50", "", "", "0.00 ± 0.50"],
        ["64", "10.00 ± 0.50", "640.00 ± 0.50", "", "", "0.00 ± 0.50"],
        ["128", "5.00 ± 0.50", "640.00 ± 0.50", "", "", "0.00 ± 0.50"],
        ["256", "2.50 ± 0.50", "640.00 ± 0.50", "0.25 ± 0.50", "1.25 ± 0.50", "0.00 ± 0.50"],
    ]


def words(page: str, heading: str) -> list[str]:
    """The texts of one section, without figures and copies of tables."""
    section = re.search(rf"<section>\n<h2>{heading}</h2>(.*?)</section>", page, re.S)
    assert section is not None
    text = re.sub(r"<(svg|details).*?</\1>", "", section[1], flags=re.S)
    return [line for line in re.sub(r"<[^>]+>", "\n", text).splitlines() if line.strip()]


def test_sections_of_the_page(study: Make) -> None:
    page = noise_page(study(), draw_plots(study()))
    assert re.findall(r"<h[123]>([^<]+)</h[123]>", page) == [
        "What shapes3d sees on shapes",
        "The answer to each distortion",
        "Rank correlation with strength, and how strong the answer is",
        "FVD[shapes3d] by strength",
        "Bias against the number of clips",
        "By the number of clips on each side, N",
        "The same on exact Gaussians",
        "By the number of samples on each side, N",
        "Bootstrap with replacement",
        "KVD with the diagonals left out (U) and kept (V)",
        "How it was measured",
    ]
    assert re.findall(r"<dt>([^<]+)</dt><dd>([^<]+)</dd>", page)[:7] == [
        ("Detector", "shapes3d"),
        ("Features", "64"),
        ("Clips on each side", "128"),
        ("Frames", "16"),
        ("Resolution", "32 px"),
        ("Seed", "0"),
        ("Protocol", "abcdef01"),
    ]
    answers = words(page, "The answer to each distortion")
    assert answers[0] == (
        "FVD[shapes3d] of clean clips from other clips, distorted. The clips differ, so that strength 0 shows the "
        "floor that the number of clips makes (dashed); the FVD paper compares clips with their own distorted copies, "
        "which has no floor: column ρ, same clips, and fvd_same_clips in noise.csv. Strengths of different distortions "
        "have no common scale."
    )
    assert answers[2:18] == [
        "distortion",
        "kind",
        "ρ, FVD",
        "ρ, same clips",
        "ρ, KVD",
        "seen from",
        "FVD at 1, less floor",
        "of median static",
        "gaussian noise",
        "static",
        "1",
        "1",
        "1",
        "0.5000",
        "10",
        "0.4000",
    ]
    assert words(page, "Bias against the number of clips")[0] == (
        "Two disjoint sets of clean clips, 2 times at each size: the true distance is 0. The features spread as 7.5 "
        "equally wide directions would, of 64. Bars and ± are one standard deviation over pairs."
    )
    gaussians = words(page, "The same on exact Gaussians")
    assert gaussians[0] == (
        "Standard Gaussians in 40 dimensions, where the answers are known: a check of the code, and what a detector "
        "with so many equally wide features would do."
    )
    assert gaussians[-22:] == [
        *("Bootstrap with replacement", "N", "FVD of one pair", "bootstrap, mean", "bootstrap, sd"),
        *("fresh pairs, mean", "fresh pairs, sd", "2048", "39.70", "75.80", "0.7700", "39.60", "0.2500"),
        "KVD with the diagonals left out (U) and kept (V)",
        *("N", "U-statistic", "V-statistic", "V-statistic, expected", "128", "-0.0004000", "0.1090", "0.1097"),
    ]


def test_page_is_self_contained_and_escaped(study: Make) -> None:
    page = noise_page(study(), draw_plots(study()))
    assert page.count("<svg") == 3
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "<b>fast</b>" not in page
    assert "640.00 ± 0.50" in page
    assert "75.80" in page
    smaller = noise_page(study(gaussian_check=None), draw_plots(study(gaussian_check=None)))
    assert smaller.count("<svg") == 2
    assert "Gaussians, where" not in smaller

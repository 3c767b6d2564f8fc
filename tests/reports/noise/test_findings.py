"""What a noise study found, as whole sentences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from stbench.reports.noise.findings import curves, findings, plain, with_sd

Make = Callable[..., dict[str, Any]]


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


def test_findings_of_a_distance_that_sees_everything(study: Make) -> None:
    assert findings(study()) == [
        "FVD[shapes3d] orders the strengths of all 8 distortions rightly (Spearman's ρ = 1 for each).",
        "Clean clips give up to 1.5 at this number; every distortion is above that from the lowest strength on (0.5).",
        "At full strength the median temporal distortion moves it by 65, the median static one by 25: a share of 2.6. "
        "The strongest answer, 80, is to switch.",
        "Where the truth is 0, N · FVD[shapes3d] is 640 (expected of Gaussian features: 600) and constant from N = 32 "
        "on: FVD is 5 at 128, 2.5 at 256 clips.",
        "With 256 clips FVD∞ is 0.25 ± 0.50, with the real side kept whole 1.25 ± 0.50; KVD is 0.00 ± 0.50 (mean and "
        "sd of pairs).",
        "Check of the code: for exact Gaussians in 40 dimensions FVD is 20, 10, 5, 2.5 at N = 32, 64, 128, 256; N · "
        "FVD is constant from 32 on, 640; expected is (d² + 5d) / 2 = 600.",
        "A bootstrap with replacement of one such pair of 2048 gives 75.8 ± 0.77 for a distance of 39.7, where fresh "
        "pairs give 39.6 ± 0.25: no interval for an FVD.",
    ]


def test_findings_of_kvd_alone(noise: Make, bias: Make, study: Make) -> None:
    few = study(noise=noise("kvd"), bias=bias(dim=256, infinity=False), gaussian_check=None)
    assert findings(few) == [
        "No FVD: 128 clips on each side are no more than the 256 features. KVD, which is unbiased, is judged.",
        "KVD[shapes3d] orders the strengths of all 8 distortions rightly (Spearman's ρ = 1 for each).",
        "Clean clips give up to 1.5 at this number; every distortion is above that from the lowest strength on (0.5).",
        "At full strength the median temporal distortion moves it by 65, the median static one by 25: a share of 2.6. "
        "The strongest answer, 80, is to switch.",
        "Where the truth is 0, N · FVD[shapes3d] is 640 (expected of Gaussian features: 600) and constant from N = 32 "
        "on.",
    ]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"spearman_fvd": 0.89}, "of 7 of 8 distortions rightly; not: blur (ρ = 0.89)"),
        ({"spearman_fvd": None}, "not: blur (ρ = none)"),
        ({"seen_from": 1.0}, "; from strength 1 on blur."),
        ({"seen_from": None}, "; never blur."),
    ],
)
def test_findings_name_what_is_missed(change: dict[str, Any], expected: str, noise: Make, study: Make) -> None:
    changed = noise()
    changed["distortions"][1] |= change
    assert any(expected in sentence for sentence in findings(study(noise=changed)))


def test_findings_say_when_there_is_no_fvd(noise: Make, study: Make) -> None:
    first = findings(study(noise=noise("kvd")))[0]
    assert (
        first == "No FVD: 128 clips on each side are no more than the 64 features. KVD, which is unbiased, is judged."
    )


def test_curves_start_at_the_floor(noise: Make) -> None:
    found = curves(noise())
    assert list(found)[:2] == ["gaussian_noise", "blur"]
    assert [(row["distortion"], row["strength"], row["fvd"]) for row in found["blur"]] == [
        ("none", 0.0, 1.0),
        ("blur", 0.5, 11.0),
        ("blur", 1.0, 21.0),
    ]


def test_a_distortion_is_written_as_people_write_it() -> None:
    assert plain("salt_and_pepper") == "salt and pepper"

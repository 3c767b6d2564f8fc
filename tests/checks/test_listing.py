"""What is printed of a record's quality section, compared as whole texts."""

from __future__ import annotations

from typing import Any

import pytest

from stbench.reports.terminal import print_quality

SECTION: dict[str, Any] = {
    "detector": "i3d",
    "n_real": 2048,
    "n_fake": 2048,
    "fvd": 123.456,
    "refused": None,
    "kvd": 0.0125,
    "protocol_hash": "0123456789abcdef",
}


def test_every_figure_with_its_interval(capsys: pytest.CaptureFixture[str]) -> None:
    further = {
        "fvd_inf": 100.25,
        "fvd_interval": [90.0, 112.0],
        "kvd_interval": [0.01, 0.015],
        "mmd": -0.001,
        "mmd_interval": [-0.003, 0.001],
        "precision": 0.7,
        "recall": 0.25,
        "density": 1.0625,
        "coverage": 0.5,
    }
    print_quality(SECTION | further)
    assert capsys.readouterr().out == (
        "FVD [i3d]                123.46  (2048 real, 2048 generated clips)\n"
        "FVD∞ [i3d]               100.25, by jackknife 101.00 (95 % interval 90.00 to 112.00)\n"
        "KVD [i3d]                0.0125 (95 % interval 0.01 to 0.015)\n"
        "MMD [i3d]                -0.001 (95 % interval -0.003 to 0.001)\n"
        "precision, recall [i3d]  0.700, 0.250\n"
        "density, coverage [i3d]  1.062, 0.500\n"
        "protocol                 0123456789ab\n"
    )


def test_a_record_of_before_and_one_that_was_refused(capsys: pytest.CaptureFixture[str]) -> None:
    print_quality(SECTION | {"fvd": None, "fvd_inf": None, "refused": "too few clips"})
    assert capsys.readouterr().out == (
        "FVD [i3d]  refused: too few clips  (2048 real, 2048 generated clips)\n"
        "KVD [i3d]  0.0125\n"
        "protocol   0123456789ab\n"
    )

"""The files of a noise study: what is written, and tables that are long and tidy."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from stbench.reports.formats import to_csv
from stbench.reports.noise.outcome import CONTENTS, csv_tables, draw_plots, write_noise_study

Make = Callable[..., dict[str, Any]]


def test_written_files(tmp_path: Path, study: Make) -> None:
    write_noise_study(study(), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(CONTENTS)
    assert json.loads((tmp_path / "study.json").read_text()) == study()
    assert sorted(path.name for path in (tmp_path / "plots").iterdir()) == [
        f"{name}.{kind}" for name in ("bias-gaussian", "bias-shapes3d", "noise") for kind in ("png", "svg")
    ]


def test_tables_are_long_and_tidy(study: Make) -> None:
    tables = {name: list(csv.DictReader(io.StringIO(to_csv(frame)))) for name, frame in csv_tables(study()).items()}
    assert len(tables["noise"]) == 1 + 8 * 2
    assert list(tables["noise"][0])[:4] == ["distortion", "kind", "strength", "n"]
    assert {"fvd", "kvd"} <= set(tables["noise"][0])
    assert tables["noise"][-1]["fvd"] == "81.0"
    assert [row["distortion"] for row in tables["distortions"]] == [
        "gaussian_noise",
        "blur",
        "salt_and_pepper",
        "black_rectangles",
        "local_swap",
        "global_swap",
        "interleave",
        "switch",
    ]
    assert [len(tables[name]) for name in ("noise", "distortions", "bias")] == [17, 8, 16]
    assert {row["features"] for row in tables["bias"]} == {"shapes3d", "gaussian"}
    assert {row["dim"] for row in tables["bias"]} == {"64", "40"}
    assert "gaussian" not in set(csv_tables(study(gaussian_check=None))["bias"]["features"])


def test_torch_is_not_imported() -> None:
    code = "import sys, stbench.reports.noise.outcome; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_a_detector_called_gaussian_loses_no_plot(study: Make) -> None:
    assert list(draw_plots(study(detector="gaussian"))) == ["noise", "bias", "gaussian"]
    assert list(draw_plots(study(gaussian_check=None))) == ["noise", "bias"]


def test_names_of_files_are_safe(study: Make, tmp_path: Path) -> None:
    write_noise_study(study(detector="a/b", gaussian_check=None), tmp_path)
    names = sorted(path.name for path in (tmp_path / "plots").iterdir())
    assert names == ["bias-a-b.png", "bias-a-b.svg", "noise.png", "noise.svg"]

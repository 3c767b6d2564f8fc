"""The outcome of `stbench study noise` as files: study.json, tables as CSV, plots, and one self-contained page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from stbench.records.store import STUDY_NAME
from stbench.reports.drawing import file_stem, write_figure
from stbench.reports.formats import to_csv
from stbench.reports.noise.page import noise_page
from stbench.reports.noise.plots import bias_plot, response_plot
from stbench.storage.files import write_json

CONTENTS = (STUDY_NAME, "noise.csv", "distortions.csv", "bias.csv", "plots", "index.html")


def write_noise_study(study: Mapping[str, Any], folder: Path) -> None:
    """Write a study into an empty folder.

    Args:
        study: the content of `study.json`, as `stbench.studies.noise` makes it.
        folder: exists.
    """
    drawn = draw_plots(study)
    stems = {"noise": "noise", "bias": f"bias-{file_stem(study['detector'])}", "gaussian": "bias-gaussian"}
    write_json(folder / STUDY_NAME, study)
    for name, table in csv_tables(study).items():
        (folder / f"{name}.csv").write_text(to_csv(table), encoding="utf-8")
    (folder / "plots").mkdir()
    for name, figure in drawn.items():
        write_figure(figure, folder / "plots", stems[name])
    (folder / "index.html").write_text(noise_page(study, drawn), encoding="utf-8")


def draw_plots(study: Mapping[str, Any]) -> dict[str, Figure]:
    """Draw the plots: of the answer to noise, of the bias, and, where there was a check on Gaussians, of theirs."""
    drawn = {
        "noise": response_plot(study["noise"], study["detector"]),
        "bias": bias_plot(study["bias"], study["detector"]),
    }
    if check := study["gaussian_check"]:
        drawn["gaussian"] = bias_plot(check, f"N(0, I), d = {check['dim']}", "Samples")
    return drawn


def csv_tables(study: Mapping[str, Any]) -> dict[str, pd.DataFrame]:
    """The long tables: every distance of the noise study, what they say of each distortion, every pair of the bias."""
    biases = {study["detector"]: study["bias"]}
    if study["gaussian_check"]:
        biases["gaussian"] = study["gaussian_check"]
    pairs = [{"features": name, "dim": bias["dim"], **row} for name, bias in biases.items() for row in bias["rows"]]
    return {
        "noise": pd.DataFrame(study["noise"]["rows"]),
        "distortions": pd.DataFrame(study["noise"]["distortions"]),
        "bias": pd.DataFrame(pairs),
    }

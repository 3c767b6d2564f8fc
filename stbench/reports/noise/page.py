"""The study of a metric as one HTML page that carries everything with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from stbench.records.schema import flatten
from stbench.reports import html
from stbench.reports.noise.findings import curves, findings, plain, with_sd
from stbench.reports.tables import METRIC_NAMES
from stbench.reports.text import format_cell, format_number

BIAS_HEADINGS = {
    "fvd": "FVD",
    "n_times_fvd": "N · FVD",
    "fvd_inf": "FVD∞",
    "fvd_inf_real_fixed": "FVD∞, real side fixed",
    "kvd": "KVD",
}
KERNEL_HEADINGS = {
    "n": "N",
    "unbiased": "U-statistic",
    "biased": "V-statistic",
    "expected_biased": "V-statistic, expected",
}
BOOTSTRAP_HEADINGS = {
    "n": "N",
    "point": "FVD of one pair",
    "mean": "bootstrap, mean",
    "sd": "bootstrap, sd",
    "replicates_mean": "fresh pairs, mean",
    "replicates_sd": "fresh pairs, sd",
}
PROVENANCE = {
    "Protocol": ("protocol_hash", "protocol"),
    "Settings, machine and software": ("created", "wall_s", "settings", "machine", "software"),
}


def noise_page(study: Mapping[str, Any], drawn: Mapping[str, Figure]) -> str:
    """Return the whole page.

    Args:
        study: the content of `study.json`.
        drawn: the plots of it by name.
    """
    protocol, noise, check = study["protocol"], study["noise"], study["gaussian_check"]
    figure = METRIC_NAMES[noise["figure"]]
    facts = {
        "Detector": study["detector"],
        "Features": protocol["feature_dim"],
        "Clips on each side": study["settings"]["num"],
        "Frames": protocol["num_frames"],
        "Resolution": f"{protocol['resolution']} px",
        "Seed": study["settings"]["seed"],
        "Protocol": study["protocol_hash"][:8],
    }
    distortion_headings = {
        "distortion": "distortion",
        "kind": "kind",
        "spearman_fvd": "ρ, FVD",
        "spearman_fvd_same_clips": "ρ, same clips",
        "spearman_kvd": "ρ, KVD",
        "seen_from": "seen from",
        "response": f"{figure} at 1, less floor",
        "share_of_static": "of median static",
    }
    gaussian = check and {
        "bias": bias_table(check),
        "bootstrap": _display(pd.DataFrame([check["bootstrap"]]), BOOTSTRAP_HEADINGS),
        "kernel": _display(pd.DataFrame(check["kernel"]), KERNEL_HEADINGS),
    }
    return html.render(
        "noise.html",
        title=f"What {study['detector']} sees on {protocol['dataset']}",
        lead=None,
        facts=facts,
        study=study,
        findings=findings(study),
        plots=drawn,
        metric=f"{figure}[{study['detector']}]",
        distortions=_display(pd.DataFrame(noise["distortions"]), distortion_headings),
        by_strength=by_strength(noise),
        bias=bias_table(study["bias"]),
        gaussian=gaussian,
        provenance={title: flatten({name: study[name] for name in names}) for title, names in PROVENANCE.items()},
    )


def by_strength(noise: Mapping[str, Any]) -> pd.DataFrame:
    """The judged figure as text, a row for each distortion and a column for each strength."""
    rows = []
    for name, curve in curves(noise).items():
        values = {f"{row['strength']:.2f}": format_number(row[noise["figure"]]) for row in curve}
        rows.append({"distortion": plain(name), **values})
    return pd.DataFrame(rows)


def bias_table(bias: Mapping[str, Any]) -> pd.DataFrame:
    """Mean and standard deviation of every figure by size, as text."""
    rows = []
    for row in bias["by_size"]:
        spreads = {name: "" if row[name] is None else with_sd(row[name], row[f"{name}_sd"]) for name in BIAS_HEADINGS}
        rows.append({"N": str(row["n"]), **{BIAS_HEADINGS[name]: text for name, text in spreads.items()}})
    return pd.DataFrame(rows)


def _display(frame: pd.DataFrame, headings: Mapping[str, str]) -> pd.DataFrame:
    """The columns that hold something, as text under headings."""
    columns = [name for name in headings if frame[name].notna().any()]
    shown = frame[columns].map(format_cell)
    if "distortion" in shown:
        shown["distortion"] = shown["distortion"].map(plain)
    return shown.rename(columns=dict(headings))

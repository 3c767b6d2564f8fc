"""The study of a metric as one HTML page that carries everything with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from stbench.reports import drawing, html
from stbench.reports.html import Html, element, section
from stbench.reports.noise.findings import findings, plain, with_sd
from stbench.reports.runs import flatten
from stbench.reports.tables import METRIC_NAMES, format_cell, format_number

ALTS = {
    "noise": "Distance over strength for four static and four temporal distortions",
    "bias": "FVD, FVD∞ and KVD between two samples of one distribution, over their size",
}


def noise_page(study: Mapping[str, Any], drawn: Mapping[str, Figure]) -> str:
    """Return the whole page.

    Args:
        study: the content of `study.json`.
        drawn: the plots of it by name.
    """
    check = study["gaussian_check"]
    body = element(
        "main",
        html.items(findings(study), "findings"),
        _responses(study, drawn["noise"]),
        _bias(study["bias"], study["detector"], next(figure for name, figure in drawn.items() if name != "noise")),
        _gaussians(check, drawn["bias-gaussian"]) if check else None,
        _provenance(study),
    )
    footer = element("footer", "Made by stbench. This page holds all of its data and asks the network for nothing.")
    return html.page(_title(study), _header(study), body, footer)


def _title(study: Mapping[str, Any]) -> str:
    return f"What {study['detector']} sees on {study['protocol']['dataset']}"


def _header(study: Mapping[str, Any]) -> Html:
    protocol = study["protocol"]
    facts = {
        "Detector": study["detector"],
        "Features": str(protocol["feature_dim"]),
        "Clips on each side": str(study["settings"]["num"]),
        "Frames": str(protocol["num_frames"]),
        "Resolution": f"{protocol['resolution']} px",
        "Seed": str(study["settings"]["seed"]),
        "Protocol": study["protocol_hash"][:8],
    }
    return element(
        "header",
        element("p", f"stbench study noise · {study['created'][:10]}", class_="eyebrow"),
        element("h1", _title(study)),
        html.tiles(facts),
    )


def _responses(study: Mapping[str, Any], figure: Figure) -> Html:
    noise = study["noise"]
    metric = f"{METRIC_NAMES[noise['figure']]}[{study['detector']}]"
    note = (
        f"{metric} of clean clips from other clips, distorted. The clips differ, so that strength 0 shows the floor "
        "that the number of clips makes (dashed); the FVD paper compares clips with their own distorted copies, which "
        "has no floor: column ρ, same clips, and fvd_same_clips in noise.csv. Strengths of different distortions have "
        "no common scale."
    )
    judged = _display(pd.DataFrame(noise["distortions"]), _distortion_headings(noise["figure"]))
    return section(
        "The answer to each distortion",
        note,
        _figure(figure, ALTS["noise"]),
        element("h3", "Rank correlation with strength, and how strong the answer is"),
        html.table(judged, "Answer of the distance to each distortion"),
        element("h3", f"{metric} by strength"),
        html.table(by_strength(noise), f"{metric} by distortion and strength"),
    )


def by_strength(noise: Mapping[str, Any]) -> pd.DataFrame:
    """The judged figure as text, a row for each distortion and a column for each strength."""
    floor = noise["rows"][0]
    rows = []
    for each in noise["distortions"]:
        curve = [floor, *(row for row in noise["rows"] if row["distortion"] == each["distortion"])]
        values = {f"{row['strength']:.2f}": format_number(row[noise["figure"]]) for row in curve}
        rows.append({"distortion": plain(each["distortion"]), **values})
    return pd.DataFrame(rows)


def _distortion_headings(figure: str) -> dict[str, str]:
    return {
        "distortion": "distortion",
        "kind": "kind",
        "spearman_fvd": "ρ, FVD",
        "spearman_fvd_same_clips": "ρ, same clips",
        "spearman_kvd": "ρ, KVD",
        "seen_from": "seen from",
        "response": f"{METRIC_NAMES[figure]} at 1, less floor",
        "share_of_static": "of median static",
    }


def _bias(bias: Mapping[str, Any], subject: str, figure: Figure) -> Html:
    note = (
        f"Two disjoint sets of clean clips, {bias['repeats']} times at each size: the true distance is 0. The features "
        f"spread as {bias['effective_dim']:.1f} equally wide directions would, of {bias['dim']}. Bars and ± "
        "are one standard deviation over pairs."
    )
    table = html.table(bias_table(bias), f"Distances of {subject} between sets of one distribution")
    heading = element("h3", "By the number of clips on each side, N")
    return section("Bias against the number of clips", note, _figure(figure, ALTS["bias"]), heading, table)


def bias_table(bias: Mapping[str, Any]) -> pd.DataFrame:
    """Mean and standard deviation of every figure by size, as text."""
    headings = {
        "fvd": "FVD",
        "n_times_fvd": "N · FVD",
        "fvd_inf": "FVD∞",
        "fvd_inf_real_fixed": "FVD∞, real side fixed",
        "kvd": "KVD",
    }
    rows = [
        {"N": str(row["n"]), **{title: _spread(row, name) for name, title in headings.items()}}
        for row in bias["by_size"]
    ]
    return pd.DataFrame(rows)


def _spread(row: Mapping[str, Any], figure: str) -> str:
    return "" if row[figure] is None else with_sd(row[figure], row[f"{figure}_sd"])


def _gaussians(check: Mapping[str, Any], figure: Figure) -> Html:
    note = (
        f"Standard Gaussians in {check['dim']} dimensions, where the answers are known: a check of the code, and what "
        "a detector with so many equally wide features would do."
    )
    kernel = _display(
        pd.DataFrame(check["kernel"]),
        {"n": "N", "unbiased": "U-statistic", "biased": "V-statistic", "expected_biased": "V-statistic, expected"},
    )
    bootstrap = _display(
        pd.DataFrame([check["bootstrap"]]),
        {
            "n": "N",
            "point": "FVD of one pair",
            "mean": "bootstrap, mean",
            "sd": "bootstrap, sd",
            "replicates_mean": "fresh pairs, mean",
            "replicates_sd": "fresh pairs, sd",
        },
    )
    return section(
        "The same on exact Gaussians",
        note,
        _figure(figure, ALTS["bias"]),
        element("h3", "By the number of samples on each side, N"),
        html.table(bias_table(check), "Distances between samples of one Gaussian"),
        element("h3", "Bootstrap with replacement"),
        html.table(bootstrap, "Bootstrap of an FVD"),
        element("h3", "KVD with the diagonals left out (U) and kept (V)"),
        html.table(kernel, "Kernel distance without and with diagonals"),
    )


def _provenance(study: Mapping[str, Any]) -> Html:
    sections: dict[str, Sequence[str]] = {
        "Protocol": ("protocol_hash", "protocol"),
        "Settings, machine and software": ("created", "wall_s", "settings", "machine", "software"),
    }
    folded = [
        element("details", element("summary", title), html.fields(flatten({name: study[name] for name in names})))
        for title, names in sections.items()
    ]
    return section("How it was measured", None, folded)


def _figure(figure: Figure, alt: str) -> Html:
    image = element("figure", Html(drawing.to_inline_svg(figure)), role="img", aria_label=alt)
    return element("div", image, class_="plots")


def _display(frame: pd.DataFrame, headings: Mapping[str, str]) -> pd.DataFrame:
    """The columns that hold something, as text under headings."""
    columns = [name for name in headings if frame[name].notna().any()]
    shown = frame[columns].map(_cell)
    if "distortion" in shown:
        shown["distortion"] = shown["distortion"].map(plain)
    return shown.rename(columns=dict(headings))


def _cell(value: Any) -> str:
    return ("yes" if value else "no") if isinstance(value, (bool, np.bool_)) else format_cell(value)

"""Tables of runs and of variants over their seeds, as CSV for programs and as Markdown for people.

CSV columns keep the names of `load_records`; Markdown and HTML show those that hold something, under headings with
units, numbers at four significant digits.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from stbench.records.statistics import median, summarise_seeds
from stbench.reports.text import csv_cell, format_cell, format_number, is_number, markdown_text

HEADINGS = {
    "label": "variant",
    "seed": "seed",
    "seeds": "seeds",
    "status": "status",
    "params_m": "params (M)",
    "gmacs": "GMACs",
    "forward_ms": "forward (ms)",
    "train_step_ms": "train step (ms)",
    "clips_per_s": "training (clips/s)",
    "peak_rss_mib": "peak RSS (MiB)",
    "peak_allocated_mib": "peak allocated (MiB)",
    "loss_final": "final loss",
    "dataset": "dataset",
    "n_real": "real clips",
    "n_fake": "sampled clips",
    "protocol_hash": "protocol",
}
IDENTITY = ("label", "seed", "seeds", "status")  # shown before the results
METRIC_NAMES = {"fvd": "FVD", "fvd_inf": "FVD∞", "kvd": "KVD"}  # distances: lower is better
# Higher is better. Precision, recall, density, coverage and the MMDs are in runs.csv: here they would push the costs
# out of sight.
RISING_NAMES = {"inception_score": "IS"}
SEED_FREE = ("params_m", "gmacs", "gflops", "n_real", "n_fake")
MACHINE_BOUND = (
    "forward_ms",
    "train_step_ms",
    "clips_per_s",
    "peak_rss_mib",
    "peak_allocated_mib",
    "peak_reserved_mib",
)


def quality_columns(runs: pd.DataFrame) -> dict[str, str]:
    """Return the columns of a table of runs that tell of quality with headings, e.g. `{"fvd_i3d": "FVD[i3d]"}`."""
    detectors = sorted(runs["detector"].dropna().unique())
    names = METRIC_NAMES | RISING_NAMES
    columns = {f"{metric}_{name}": f"{heading}[{name}]" for metric, heading in names.items() for name in detectors}
    return {column: heading for column, heading in columns.items() if runs[column].notna().any()}


def variant_table(runs: pd.DataFrame) -> pd.DataFrame:
    """Aggregate runs over seeds: one row for each configuration and protocol.

    A run that failed before its protocol was known counts with the others of its configuration. Quality is the mean
    over seeds with its sample standard deviation and 95 % t interval (empty for one seed). Times and memory are
    medians over seeds, and empty where the seeds ran on different machines.

    Args:
        runs: the table of a `ReportedRuns`.
    """
    qualities = list(quality_columns(runs))
    known = runs.groupby("group")["protocol_hash"].transform("first")
    keys = [runs["group"], runs["protocol_hash"].fillna(known).fillna("")]
    rows = []
    for _, group in runs.groupby(keys, sort=False):
        first, machines = group.iloc[0], group["machine"].nunique()
        statuses = group["status"].value_counts(sort=False)
        row: dict[str, Any] = {
            **{name: first[name] for name in ("label", "dataset", "preset")},
            "seeds": ", ".join(str(int(seed)) for seed in sorted(group["seed"].dropna())),
            "status": ", ".join(f"{count} {status}" for status, count in statuses.items()),
            "machines": machines,
        }
        for name in SEED_FREE + MACHINE_BOUND:
            values = [float(value) for value in group[name].dropna()]
            mixed = name in MACHINE_BOUND and machines > 1
            row[name] = median(values) if values and not mixed else None
        for name in qualities:
            values = [float(value) for value in group[name].dropna()]
            summary = summarise_seeds(values) if values else None
            row[name] = summary and summary.mean
            row |= {f"{name}_{field}": summary and getattr(summary, field) for field in ("sd", "low", "high")}
            row[f"{name}_seeds"] = summary.n if summary else 0
        protocols = group["protocol_hash"].dropna()
        row |= {"protocol_hash": protocols.iloc[0] if len(protocols) else None, "group": first["group"]}
        rows.append(row)
    return pd.DataFrame(rows)


def display_variants(variants: pd.DataFrame, headings: dict[str, str]) -> pd.DataFrame:
    """Return the variant table as text under headings: quality as mean and 95 % interval.

    Args:
        variants: from `variant_table`.
        headings: of the quality columns, from `quality_columns`.
    """
    shown = variants.copy()
    for name in headings:
        low, high = (variants[f"{name}_{bound}"] for bound in ("low", "high"))
        shown[name] = [
            format_number(mean) + ("" if pd.isna(a) else f" [{format_number(a)}, {format_number(b)}]")
            for mean, a, b in zip(variants[name], low, high, strict=True)
        ]
    return _display(shown, headings)


def display_runs(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the table of runs as text under headings; a run that did not finish says why beside its status."""
    shown = runs.copy()
    shown["status"] = [
        status if pd.isna(reason) else f"{status}: {reason}"
        for status, reason in zip(runs["status"], runs["reason"], strict=True)
    ]
    return _display(shown, quality_columns(runs))


def _display(frame: pd.DataFrame, qualities: dict[str, str]) -> pd.DataFrame:
    headings = {name: HEADINGS[name] for name in IDENTITY} | qualities | HEADINGS
    columns = [name for name in headings if name in frame and frame[name].notna().any()]
    shown = frame[columns].map(format_cell)
    if "protocol_hash" in shown:
        shown["protocol_hash"] = shown["protocol_hash"].str[:8]
    return shown.rename(columns=headings)


def to_markdown(shown: pd.DataFrame) -> str:
    """Return a displayed table as a Markdown table, numbers to the right.

    Args:
        shown: from `display_variants` or `display_runs`.
    """
    escaped = shown.map(markdown_text).rename(columns=markdown_text)
    align = ["right" if is_numeric else "left" for is_numeric in numeric_columns(shown)]
    return escaped.to_markdown(index=False, disable_numparse=True, colalign=align)


def numeric_columns(shown: pd.DataFrame) -> list[bool]:
    """Return for each column of a displayed table whether its cells are numbers, with or without an interval."""
    heads = [[cell.split(" [")[0] for cell in shown[name] if cell] for name in shown]
    return [bool(column) and all(map(is_number, column)) for column in heads]


def to_csv(frame: pd.DataFrame) -> str:
    """Return a table as CSV whose cells, names of columns included, no spreadsheet runs as formulas."""
    return frame.map(csv_cell).rename(columns=csv_cell).to_csv(index=False, lineterminator="\n")

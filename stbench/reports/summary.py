"""What the runs of a report found, in a few sentences that say how sure they are."""

from __future__ import annotations

import pandas as pd

from stbench.records.statistics import ALPHA, means_differ
from stbench.reports.runs import ReportedRuns
from stbench.reports.tables import format_number, quality_columns, variant_table


def findings(reported: ReportedRuns) -> list[str]:
    """Return the main results as sentences: the best quality first, then costs, then what went wrong."""
    variants = variant_table(reported.table)
    sentences = [
        sentence for column in _ranked_columns(reported.table) for sentence in _ranking(reported, variants, column)
    ]
    return [*sentences, *_cheapest(variants), *_unfinished(reported.table)] or ["These runs recorded no result yet."]


def _ranked_columns(runs: pd.DataFrame) -> list[tuple[str, str]]:
    """Return the columns to rank by: FVD, or KVD where FVD was refused for every run."""
    columns = list(quality_columns(runs).items())
    by_metric = ([(name, title) for name, title in columns if title.startswith(metric)] for metric in ("FVD[", "KVD["))
    return next(filter(None, by_metric), [])


def _ranking(reported: ReportedRuns, variants: pd.DataFrame, column: tuple[str, str]) -> list[str]:
    """Return one or two sentences for each protocol: who is best, and whether the next is beyond noise."""
    name, heading = column
    sentences = []
    for _, rivals in variants.dropna(subset=[name]).groupby("protocol_hash", sort=False):
        ordered = rivals.sort_values(name)
        best = ordered.iloc[0]
        sentences.append(f"Lowest {heading}: {best['label']} on {best['dataset']}, {_with_interval(best, name)}.")
        if len(ordered) > 1:
            sentences.append(_lead(reported, best, ordered.iloc[1], name))
    return sentences


def _with_interval(row: pd.Series, name: str) -> str:
    text, seeds = format_number(row[name]), int(row[f"{name}_seeds"])
    if seeds == 1:
        return f"{text} (one seed, so no interval)"
    low, high = format_number(row[f"{name}_low"]), format_number(row[f"{name}_high"])
    return f"{text} (95 % interval {low} to {high} over {seeds} seeds)"


def _lead(reported: ReportedRuns, best: pd.Series, second: pd.Series, name: str) -> str:
    values_best, values_second = (_seed_values(reported, row, name) for row in (best, second))
    start = f"Next is {second['label']} at {format_number(second[name])}"
    if min(len(values_best), len(values_second)) < 2:
        return f"{start}; with one seed this order may be noise."
    if means_differ(values_best, values_second):
        return f"{start}; the difference is beyond the noise of the seeds (Welch's t test, p < {ALPHA})."
    return f"{start}; the difference is within the noise of the seeds (Welch's t test, p ≥ {ALPHA})."


def _seed_values(reported: ReportedRuns, variant: pd.Series, name: str) -> list[float]:
    runs = reported.table
    group = runs[(runs["group"] == variant["group"]) & (runs["protocol_hash"] == variant["protocol_hash"])]
    return [float(value) for value in group[name].dropna()]


def _cheapest(variants: pd.DataFrame) -> list[str]:
    counted = variants.dropna(subset=["gmacs"])
    if len(counted) < 2:
        return []
    ordered = counted.sort_values("gmacs")
    low, high = ordered.iloc[0], ordered.iloc[-1]
    if low["gmacs"] == high["gmacs"]:
        return [f"Every variant costs the same computation: {format_number(low['gmacs'])} GMACs a forward pass."]
    return [
        f"Computation runs from {format_number(low['gmacs'])} GMACs a forward pass ({low['label']}) "
        f"to {format_number(high['gmacs'])} ({high['label']})."
    ]


def _unfinished(runs: pd.DataFrame) -> list[str]:
    count = int((runs["status"] != "finished").sum())
    return [f"{count} of {len(runs)} runs did not finish; their reasons are below."] if count else []

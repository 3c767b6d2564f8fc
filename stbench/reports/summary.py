"""What the runs of a report found, in a few sentences that say how sure they are."""

from __future__ import annotations

import pandas as pd

from stbench.records.statistics import ALPHA, means_differ
from stbench.reports.runs import ReportedRuns
from stbench.reports.tables import format_number, quality_columns, variant_table


def findings(reported: ReportedRuns) -> list[str]:
    """Return the main results as sentences: the best quality first, then costs, then what went wrong."""
    runs = reported.table
    variants = variant_table(runs)
    # Ranked by FVD, or by KVD where FVD was refused for every run.
    headings = quality_columns(runs)
    by_fvd, by_kvd = ([name for name in headings if headings[name].startswith(metric)] for metric in ("FVD[", "KVD["))
    sentences = [sentence for name in by_fvd or by_kvd for sentence in _ranking(runs, variants, name, headings[name])]
    sentences += _cheapest(variants)
    if unfinished := int((runs["status"] != "finished").sum()):
        sentences.append(f"{unfinished} of {len(runs)} runs did not finish; their reasons are below.")
    return sentences or ["These runs recorded no result yet."]


def _ranking(runs: pd.DataFrame, variants: pd.DataFrame, name: str, heading: str) -> list[str]:
    """Return one or two sentences for each protocol: who is best, and whether the next is beyond noise."""
    sentences = []
    for _, rivals in variants.dropna(subset=[name]).groupby("protocol_hash", sort=False):
        ordered = rivals.sort_values(name)
        best, seeds = ordered.iloc[0], int(ordered.iloc[0][f"{name}_seeds"])
        low, high = format_number(best[f"{name}_low"]), format_number(best[f"{name}_high"])
        sure = f"95 % interval {low} to {high} over {seeds} seeds" if seeds > 1 else "one seed, so no interval"
        where = f"{best['label']} on {best['dataset']}, {format_number(best[name])} ({sure})"
        sentences.append(f"Lowest {heading}: {where}.")
        if len(ordered) > 1:
            sentences.append(_lead(runs, best, ordered.iloc[1], name))
    return sentences


def _lead(runs: pd.DataFrame, best: pd.Series, second: pd.Series, name: str) -> str:
    """Return the sentence on the second best: whether its distance from the best is beyond the noise of the seeds."""
    of_best, of_second = (
        [float(value) for value in runs[same["group"] & same["protocol_hash"]][name].dropna()]
        for same in ({key: runs[key] == row[key] for key in ("group", "protocol_hash")} for row in (best, second))
    )
    start = f"Next is {second['label']} at {format_number(second[name])}"
    if min(len(of_best), len(of_second)) < 2:
        return f"{start}; with one seed this order may be noise."
    if means_differ(of_best, of_second):
        return f"{start}; the difference is beyond the noise of the seeds (Welch's t test, p < {ALPHA})."
    return f"{start}; the difference is within the noise of the seeds (Welch's t test, p ≥ {ALPHA})."


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

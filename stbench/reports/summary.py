"""What the runs of a report found, in a few sentences that say how sure they are."""

from __future__ import annotations

import pandas as pd

from stbench.records.statistics import ALPHA, means_differ
from stbench.reports.runs import ReportedRuns
from stbench.reports.tables import quality_columns, variant_table
from stbench.reports.text import format_number


def findings(reported: ReportedRuns) -> list[str]:
    """Return the main results as sentences: the best quality first, then costs, then what went wrong."""
    runs = reported.table
    variants = variant_table(runs)
    # Ranked by FVD, or by KVD where FVD was refused for every run.
    headings = quality_columns(runs)
    by_fvd, by_kvd = ([name for name in headings if headings[name].startswith(metric)] for metric in ("FVD[", "KVD["))
    sentences = [sentence for name in by_fvd or by_kvd for sentence in _ranking(runs, variants, name, headings[name])]
    counted = variants.dropna(subset=["gmacs"]).sort_values("gmacs")
    if len(counted) > 1:
        low, high = counted.iloc[0], counted.iloc[-1]
        least, most = format_number(low["gmacs"]), format_number(high["gmacs"])
        if low["gmacs"] == high["gmacs"]:
            sentences.append(f"Every variant costs the same computation: {least} GMACs a forward pass.")
        else:
            span = f"{least} GMACs a forward pass ({low['label']}) to {most} ({high['label']})"
            sentences.append(f"Computation runs from {span}.")
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
        if len(ordered) < 2:
            continue
        second = ordered.iloc[1]
        of_best, of_second = (
            runs[(runs["group"] == row["group"]) & (runs["protocol_hash"] == row["protocol_hash"])][name].dropna()
            for row in (best, second)
        )
        if min(len(of_best), len(of_second)) < 2:
            verdict = "with one seed this order may be noise"
        elif means_differ([float(value) for value in of_best], [float(value) for value in of_second]):
            verdict = f"the difference is beyond the noise of the seeds (Welch's t test, p < {ALPHA})"
        else:
            verdict = f"the difference is within the noise of the seeds (Welch's t test, p ≥ {ALPHA})"
        sentences.append(f"Next is {second['label']} at {format_number(second[name])}; {verdict}.")
    return sentences

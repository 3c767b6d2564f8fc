"""The report as one HTML page that carries everything with it: tables, plots, samples, and how it was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from stbench.records.schema import Record, flatten
from stbench.reports import html, tables
from stbench.reports.figures import Plot, SampleGrid
from stbench.reports.runs import ReportedRuns
from stbench.reports.summary import findings


@dataclass(frozen=True)
class Folded:
    """Names and values that are folded away under a title, with a word beside it."""

    title: str
    aside: str
    facts: dict[str, Any]


def report_page(
    reported: ReportedRuns, drawn: Sequence[Plot], missing: Sequence[str], grids: Sequence[SampleGrid]
) -> str:
    """Return the whole page.

    Args:
        reported: the runs.
        drawn: the plots of them.
        missing: a sentence for each plot that could not be drawn.
        grids: the samples, one grid a data set.
    """
    table, labels = reported.table, list(reported.colours)
    datasets = " and ".join(str(name) for name in table["dataset"].dropna().unique())
    subject = " and ".join(labels) if len(labels) <= 2 else f"{len(labels)} variants"
    dates = sorted(created[:10] for created in table["created"])
    # A variant whose runs have no counts of papers, or none at all, has no row there.
    everything = {label: run.record.counts for label, run in reported.labelled()}
    counted = {label: counts for label, counts in everything.items() if counts and counts.conventions}
    # As papers print them, beside the executed ones.
    conventions = [
        {"variant": label, "executed, one clip (GMACs)": f"{counts.gmacs:.3f}"}
        | {f"{name} (G)": f"{value:.3f}" for name, value in counts.conventions.items()}
        for label, counts in counted.items()
    ]
    return html.render(
        "report.html",
        title=f"{subject} on {datasets}" if datasets else subject,
        span=dates[0] if dates[0] == dates[-1] else f"{dates[0]} to {dates[-1]}",
        lead=f"Compared: {', '.join(labels)}." if len(labels) > 2 else None,
        facts=_header(table),
        findings=findings(reported),
        grids=grids,
        variants=tables.display_variants(tables.variant_table(table), tables.quality_columns(table)),
        runs=tables.display_runs(table),
        colours=reported.colours,
        plots=drawn,
        missing=missing,
        conventions=pd.DataFrame(conventions).fillna("") if counted else None,
        convention_notes=dict.fromkeys(note for counts in counted.values() for note in counts.convention_notes),
        troubles=_troubles(reported),
        protocols=_protocols(reported),
        provenance=_provenance(reported),
    )


def _header(table: pd.DataFrame) -> dict[str, str]:
    """What all the runs share, or which values they have."""
    finished = int((table["status"] == "finished").sum())
    columns = {
        "Seeds": table["seed"].dropna().astype(int),
        "Preset": table["preset"].dropna(),
        "Training steps": table["train.steps"].dropna().astype(int),
        "Detector": table["detector"].dropna(),
    }
    listed = {name: ", ".join(map(str, sorted(values.unique()))) for name, values in columns.items()}
    return {"Runs finished": f"{finished} of {len(table)}"} | {name: text for name, text in listed.items() if text}


def _troubles(reported: ReportedRuns) -> dict[str, list[str]]:
    """What went wrong: the title of a list -> its sentences; only lists that hold something."""
    kinds: dict[str, list[str]] = {
        "Runs that did not finish": [],
        "Scores refused": [],
        "Incomplete counts": [],
        "Records that cannot be read": list(reported.found.unreadable.values()),
        "Copies of runs, counted once": list(map(str, reported.found.copies)),
    }
    failed, refused, partial, *_ = kinds.values()
    for label, run in reported.labelled():
        record, name = run.record, _name(label, run.record)
        if not record.finished:
            failed.append(f"{name}: {record.status}, {record.reason}")
        if record.quality and record.quality.refused:
            refused.append(f"{name}: {record.quality.refused}")
        if record.counts and record.counts.incomplete:
            partial.append(f"{name}: operations not counted: {', '.join(record.counts.incomplete)}")
    return {title: sentences for title, sentences in kinds.items() if sentences}


def _name(label: str, record: Record) -> str:
    return f"{label}, seed {record.config.get('seed')} ({record.run_id})"


def _protocols(reported: ReportedRuns) -> list[Folded]:
    """Every protocol that a run was judged by, under the name that the first such run gave it."""
    folded: dict[str, Folded] = {}
    for run in reported.stored:
        if quality := run.record.quality:
            name = str(run.record.config.get("protocol") or "")
            folded.setdefault(quality.protocol_hash, _folded(quality.protocol_hash, name, asdict(quality.protocol)))
    return list(folded.values())


def _provenance(reported: ReportedRuns) -> list[Folded]:
    """Configuration, machine and software of every run."""
    folded = []
    for label, run in reported.labelled():
        record = run.record
        facts = {
            "created": record.created,
            "config_hash": record.config_hash,
            "protocol_hash": record.quality and record.quality.protocol_hash,
            "machine": asdict(record.machine) if record.machine else {},
            "software": asdict(record.software) if record.software else {},
            "config": record.config,
        }
        machine = (record.machine.gpu or record.machine.cpu) if record.machine else ""
        folded.append(_folded(_name(label, record), machine, flatten(facts)))
    return folded


def _folded(title: str, aside: str, values: Mapping[str, Any]) -> Folded:
    return Folded(title, aside, {name: value for name, value in values.items() if value not in (None, "", {}, [])})

"""The report as one HTML page that carries everything with it: tables, plots, samples, and how it was measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import pandas as pd

from stbench.errors import StbenchError
from stbench.records.claim_verdicts import Outcome, read_outcome
from stbench.records.schema import Record, flatten, value_at
from stbench.reports import html
from stbench.reports.claims.sentences import lead, registration
from stbench.reports.claims.tables import claims_table
from stbench.reports.command import command_of
from stbench.reports.context import context_of
from stbench.reports.figures import SECTIONS, draw_plots
from stbench.reports.matrix import NOTE, Matrix, matrices_of, one_budget_only
from stbench.reports.orders import orders_at_other_rates
from stbench.reports.plots import Plot
from stbench.reports.runs import ReportedRuns, dataset_of
from stbench.reports.samples import SampleGrid, sample_grids
from stbench.reports.scaling import NOTE as SCALING_NOTE
from stbench.reports.scaling import ScalingSection, scaling_section
from stbench.reports.summary import MOST_NAMED, findings, warnings
from stbench.reports.tables import NOTES, describe_seeds, shown_tables


@dataclass(frozen=True)
class Folded:
    """Names and values that are folded away under a title, with a word beside it."""

    title: str
    aside: str
    facts: dict[str, Any]


@dataclass(frozen=True)
class ReportContent:
    """What a report shows, on its page and elsewhere."""

    findings: list[str]
    warnings: list[str]
    tables: dict[str, pd.DataFrame]  # text under headings, by title, the results first
    drawn: dict[str, list[Plot]]  # by the title of their section
    missing: list[str]  # a sentence for each plot that could not be drawn
    grids: list[SampleGrid]
    unread: list[str]  # why files could not be read
    matrices: list[Matrix] = field(default_factory=list)
    scaling: ScalingSection = field(default_factory=ScalingSection)
    outcomes: list[Outcome] = field(default_factory=list)  # of claims

    @property
    def results(self) -> pd.DataFrame:
        """The main table."""
        return self.tables["Results"]

    @property
    def plots(self) -> list[Plot]:
        """All plots."""
        return [plot for plots in (*self.drawn.values(), self.scaling.plots) for plot in plots]


def report_content(reported: ReportedRuns) -> ReportContent:
    """Read the runs' files, draw and tabulate."""
    unread = list(reported.found.unreadable.values())
    drawn, missing = draw_plots(reported, unread)
    grids = sample_grids(reported, unread)
    tables = shown_tables(reported)
    matrices = matrices_of(reported)
    tables |= {f"Verdicts: {matrix.title}": matrix.table() for matrix in matrices}
    if (scaling := scaling_section(reported)).laws:
        tables["Scaling"] = scaling.table()
    outcomes = _outcomes(reported, unread)
    tables |= {f"Claims: {outcome.title}": claims_table(outcome) for outcome in outcomes}
    return ReportContent(
        findings(reported), warnings(reported), tables, drawn, missing, grids, unread, matrices, scaling, outcomes
    )


def _outcomes(reported: ReportedRuns, unread: list[str]) -> list[Outcome]:
    """What `stbench reproduce` made of claims, where that lies beside the runs."""
    outcomes = []
    for file in reported.outcomes:
        try:
            outcomes.append(read_outcome(file))
        except StbenchError as error:
            unread.append(str(error))
    return outcomes


def report_page(reported: ReportedRuns, content: ReportContent) -> str:
    """Return the whole page."""
    labels = list(reported.colours)
    dates = sorted(run.record.created[:10] for run in reported.stored)
    conventions, notes = _conventions(reported)
    return html.render(
        "report.html",
        content=content,
        title=_title(reported),
        span=dates[0] if dates[0] == dates[-1] else f"{dates[0]} to {dates[-1]}",
        lead=f"Compared: {', '.join(labels)}." if 2 < len(labels) <= MOST_NAMED else None,
        facts=_header(reported),
        notes=NOTES,
        context=context_of([run.record for run in reported.stored]),
        plot_notes=SECTIONS,
        matrix_note=NOTE,
        scaling_note=SCALING_NOTE,
        claims=[(each, lead(each), claims_table(each), registration(each)) for each in content.outcomes],
        one_budget_only=one_budget_only(content.matrices),
        orders=orders_at_other_rates(reported),
        colours=reported.colours,
        conventions=conventions,
        convention_notes=notes,
        troubles=_troubles(reported, content),
        protocols=_protocols(reported),
        provenance=_provenance(reported),
    )


def _title(reported: ReportedRuns) -> str:
    """What was compared on what: by name up to two configurations, else counted."""
    configs = [run.record.config for run in reported.stored]
    labels, names = list(reported.colours), {str(value_at(config, "variant.name")) for config in configs}
    subject = " and ".join(labels)
    if len(labels) > 2:
        variants = f"{len(names)} variant{'s' if len(names) > 1 else ''}"
        subject = variants if len(names) == len(labels) else f"{variants} in {len(labels)} configurations"
    return f"{subject} on {' and '.join(dict.fromkeys(map(dataset_of, configs)))}"


def _header(reported: ReportedRuns) -> dict[str, str]:
    """What all the runs share, or which values they have."""
    finished = sum(run.record.finished for run in reported.stored)
    begun = len(reported.stored) + len(reported.unfinished)
    paths = {"Preset": "preset", "Training steps": "train.steps"}
    values = {
        title: {value for run in reported.stored if (value := value_at(run.record.config, path)) is not None}
        for title, path in paths.items()
    }
    values["Detector"] = {group.detector for group in reported.groups if group.detector}
    listed = {title: ", ".join(map(str, sorted(each, key=_natural))) for title, each in values.items() if each}
    seeds = sorted({seed for group in reported.groups for seed in group.seeds})
    return {"Runs finished": f"{finished} of {begun}", "Seeds": describe_seeds(seeds) or "none"} | listed


def _natural(value: Any) -> tuple[bool, Any]:
    return (True, value) if isinstance(value, int) else (False, str(value))


def _conventions(reported: ReportedRuns) -> tuple[pd.DataFrame | None, list[str]]:
    """Counts as papers print them beside the executed ones, and what each counts; none where no run has any."""
    # A configuration whose runs have no counts of papers, or none at all, has no row there.
    everything = {label: run.record.counts for label, run in reported.labelled()}
    counted = {label: counts for label, counts in everything.items() if counts and counts.conventions}
    rows = [
        {"configuration": label, "executed, one clip (GMACs)": f"{counts.gmacs:.3f}"}
        | {f"{name} (G)": f"{value:.3f}" for name, value in counts.conventions.items()}
        for label, counts in counted.items()
    ]
    notes = list(dict.fromkeys(note for counts in counted.values() for note in counts.convention_notes))
    return (pd.DataFrame(rows).fillna("") if rows else None), notes


def _troubles(reported: ReportedRuns, content: ReportContent) -> dict[str, list[str]]:
    """What went wrong: the title of a list -> its sentences; only lists that hold something."""
    kinds: dict[str, list[str]] = {"Runs that did not finish": [], "Scores refused": [], "Incomplete counts": []}
    failed, refused, partial = kinds.values()
    for label, run in reported.labelled():
        record, name = run.record, _name(label, run.record)
        if not record.finished:
            failed.append(f"{name}: {record.status}, {record.reason}")
        if record.quality and record.quality.refused:
            refused.append(f"{name}: {record.quality.refused}")
        if record.counts and record.counts.incomplete:
            partial.append(f"{name}: operations not counted: {', '.join(record.counts.incomplete)}")
    failed += reported.unfinished
    kinds["Plots that could not be drawn"] = content.missing
    kinds["Files that cannot be read"] = content.unread
    kinds["Copies of runs, counted once"] = list(map(str, reported.found.copies))
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
    """How to repeat every run; its configuration, machine and software."""
    folded = []
    for label, run in reported.labelled():
        record = run.record
        facts = {
            "repeat it with": command_of(record.config),
            "created": record.created,
            "config_hash": record.config_hash,
            "protocol_hash": record.quality and record.quality.protocol_hash,
            "machine": asdict(record.machine) if record.machine else {},
            "conditions": asdict(record.conditions) if record.conditions else {},
            "software": asdict(record.software) if record.software else {},
            "config": record.config,
        }
        machine = (record.machine.gpu or record.machine.cpu) if record.machine else ""
        folded.append(_folded(_name(label, record), machine, flatten(facts)))
    return folded


def _folded(title: str, aside: str, values: Mapping[str, Any]) -> Folded:
    return Folded(title, aside, {name: value for name, value in values.items() if value not in (None, "", {}, [])})

"""The report as one HTML page that carries everything with it: tables, plots, samples, and how it was measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import pandas as pd

from stbench.records.schema import Record
from stbench.reports import drawing, html, tables
from stbench.reports.figures import Plot, SampleGrid, SampleRow
from stbench.reports.html import Html, element, section
from stbench.reports.runs import ReportedRuns, flatten
from stbench.reports.summary import findings


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
    body = element(
        "main",
        html.items(findings(reported), "findings"),
        _samples(grids),
        _variants(reported),
        _plots(drawn, missing),
        _runs(reported),
        _conventions(reported),
        _troubles(reported),
        _protocols(reported),
        _provenance(reported),
    )
    footer = element("footer", "Made by stbench. This page holds all of its data and asks the network for nothing.")
    return html.page(_title(reported), _header(reported), body, footer)


def _title(reported: ReportedRuns) -> str:
    labels = list(reported.colours)
    datasets = [str(name) for name in reported.table["dataset"].dropna().unique()]
    subject = " and ".join(labels) if len(labels) <= 2 else f"{len(labels)} variants"
    return f"{subject} on {' and '.join(datasets)}" if datasets else subject


def _header(reported: ReportedRuns) -> Html:
    runs = reported.table
    finished = int((runs["status"] == "finished").sum())
    facts = {
        "Runs finished": f"{finished} of {len(runs)}",
        "Seeds": _listed(runs["seed"].dropna().astype(int)),
        "Preset": _listed(runs["preset"]),
        "Training steps": _listed(runs["train_steps"].dropna().astype(int)),
        "Detector": _listed(runs["detector"]),
    }
    dates = sorted(created[:10] for created in runs["created"])
    span = dates[0] if dates[0] == dates[-1] else f"{dates[0]} to {dates[-1]}"
    return element(
        "header",
        element("p", f"stbench report · {span}", class_="eyebrow"),
        element("h1", _title(reported)),
        element("p", f"Compared: {', '.join(reported.colours)}.", class_="lead") if len(reported.colours) > 2 else None,
        html.tiles({name: value for name, value in facts.items() if value}),
    )


def _listed(values: pd.Series) -> str:
    return ", ".join(str(value) for value in sorted(values.dropna().unique()))


def _samples(grids: Sequence[SampleGrid]) -> Html | None:
    if not grids:
        return section("Samples", "No run kept samples to show.")
    note = "Real clips first, then every run. Where a column is a class, compare down the column."
    several = len(grids) > 1
    return section("Samples", note, [[element("h3", grid.dataset) if several else None, _grid(grid)] for grid in grids])


def _grid(grid: SampleGrid) -> Html:
    names = element("div", html.items(grid.columns, "classes"), class_="strip-classes") if grid.columns else None
    return element("div", names, [_strip(row, grid.columns) for row in grid.rows], class_="strips")


def _strip(row: SampleRow, columns: list[str]) -> Html:
    strip = row.strip
    what = "real clips" if row.run is None else f"samples of {row.run.record.run_id}"
    alt = f"Moving {what}" + (f", by column: {', '.join(columns)}" if columns else "")
    still = html.data_uri(strip.still, "image/png")
    image = element("img", src=html.data_uri(strip.webp, "image/webp"), alt=alt, width=strip.width, height=strip.height)
    source = element("source", media="(prefers-reduced-motion: reduce)", srcset=still)
    caption = element("figcaption", element("strong", row.label), element("span", _score(row)))
    return element("figure", caption, element("picture", source, image), class_="strip")


def _score(row: SampleRow) -> str:
    if row.run is None:
        return "the data set"
    record, quality = row.run.record, row.run.record.quality
    seed = f"seed {record.config.get('seed')}"
    if quality is None or quality.fvd is None:
        return f"{seed} · no FVD"
    return f"{seed} · FVD[{quality.detector}] {tables.format_number(quality.fvd)}"


def _variants(reported: ReportedRuns) -> Html:
    headings = tables.quality_columns(reported.table)
    shown = tables.display_variants(tables.variant_table(reported.table), headings)
    note = (
        "One row for each configuration and protocol. Scores are means over seeds with the 95 % interval of the "
        "mean (none for one seed); times and memory are medians, and left out where seeds ran on different machines."
    )
    return section("Variants", note, html.table(shown, "Results by variant, over seeds", reported.colours))


def _plots(drawn: Sequence[Plot], missing: Sequence[str]) -> Html:
    images = [(Html(drawing.to_inline_svg(plot.figure)), plot.alt) for plot in drawn]
    figures = [element("figure", image, role="img", aria_label=alt) for image, alt in images]
    return section(
        "Plots",
        "Large dots are means over seeds, small ones single seeds; runs without a score stand on the upper edge.",
        element("div", figures, class_="plots") if figures else None,
        [element("p", sentence, class_="note") for sentence in missing],
    )


def _runs(reported: ReportedRuns) -> Html:
    shown = tables.display_runs(reported.table)
    return section("Runs", "Every run, as recorded.", html.table(shown, "Results of every run", reported.colours))


def _conventions(reported: ReportedRuns) -> Html | None:
    """Counts as papers print them, beside the executed ones, and what they leave out."""
    everything = {label: run.record.counts for label, run in reported.labelled()}
    counted = {label: counts for label, counts in everything.items() if counts and counts.conventions}
    if not counted:
        return None
    rows = [
        {"variant": label, "executed, one clip (GMACs)": f"{counts.gmacs:.3f}"}
        | {f"{name} (G)": f"{value:.3f}" for name, value in counts.conventions.items()}
        for label, counts in counted.items()
    ]
    notes = list(dict.fromkeys(note for counts in counted.values() for note in counts.convention_notes))
    table = html.table(pd.DataFrame(rows).fillna(""), "Counts under the conventions of papers", reported.colours)
    return section("Counts as papers print them", None, table, [element("p", note, class_="note") for note in notes])


def _troubles(reported: ReportedRuns) -> Html | None:
    named = [(_name(label, run.record), run.record) for label, run in reported.labelled()]
    failed = [f"{name}: {record.status}, {record.reason}" for name, record in named if not record.finished]
    refused = [
        f"{name}: {record.quality.refused}" for name, record in named if record.quality and record.quality.refused
    ]
    partial = [
        f"{name}: operations not counted: {', '.join(record.counts.incomplete)}"
        for name, record in named
        if record.counts and record.counts.incomplete
    ]
    kinds = {"Runs that did not finish": failed, "Scores refused": refused, "Incomplete counts": partial}
    lists = [[element("h3", title), html.items(texts, "reasons")] for title, texts in kinds.items() if texts]
    return section("What is missing, and why", None, lists) if lists else None


def _name(label: str, record: Record) -> str:
    return f"{label}, seed {record.config.get('seed')} ({record.run_id})"


def _protocols(reported: ReportedRuns) -> Html | None:
    judged: dict[str, Record] = {}
    for run in reported.stored:
        if run.record.quality:
            judged.setdefault(run.record.quality.protocol_hash, run.record)
    if not judged:
        return None
    note = "Scores may be compared only under one protocol: equal hash, equal conditions."
    folded = [
        _folded(name, str(record.config.get("protocol") or ""), asdict(record.quality.protocol), len(judged) == 1)
        for name, record in judged.items()
        if record.quality
    ]
    return section("Protocol", note, folded)


def _provenance(reported: ReportedRuns) -> Html:
    note = "Configuration, machine and software of every run."
    runs = [(_name(label, run.record), run.record) for label, run in reported.labelled()]
    folded = [
        _folded(name, (record.machine.gpu or record.machine.cpu) if record.machine else "", _facts(record))
        for name, record in runs
    ]
    return section("How it was measured", note, folded)


def _facts(record: Record) -> dict[str, object]:
    sections = {
        "created": record.created,
        "config_hash": record.config_hash,
        "protocol_hash": record.quality and record.quality.protocol_hash,
        "machine": asdict(record.machine) if record.machine else {},
        "software": asdict(record.software) if record.software else {},
        "config": record.config,
    }
    return flatten(sections)


def _folded(title: str, aside: str, values: dict[str, object], unfolded: bool = False) -> Html:
    shown = {name: value for name, value in values.items() if value not in (None, "", {}, [])}
    summary = element("summary", title, element("span", aside))
    return element("details", summary, html.fields(shown), open="" if unfolded else None)

"""The report of a set of runs: CSV and Markdown tables, plots, moving samples, and a page that holds them all."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from stbench.reports import tables
from stbench.reports.drawing import write_figure
from stbench.reports.figures import draw_plots, sample_grids
from stbench.reports.report_page import report_page
from stbench.reports.runs import load_runs
from stbench.storage.folder import swapped_in

CONTENTS = ("index.html", "runs.csv", "runs.md", "variants.csv", "plots", "samples")


@dataclass(frozen=True)
class ReportFiles:
    """The parts of a report that are for reading: its page, and its tables for a terminal."""

    index: Path
    runs_markdown: Path


def write_report(run_paths: Iterable[Path | str], out_dir: Path | str) -> ReportFiles:
    """Report the runs under `run_paths` in the folder `out_dir`, which appears whole or not at all.

    Args:
        run_paths: run folders, folders of them, or record files.
        out_dir: a new or empty folder, or an earlier report, which is replaced.

    Raises:
        StbenchError: a record cannot be read, or the folder cannot be written or holds something else.
    """
    reported, out = load_runs(run_paths), Path(out_dir)
    runs, variants = reported.table, tables.variant_table(reported.table)
    by_variant = tables.to_markdown(tables.display_variants(variants, tables.quality_columns(runs)))
    by_run = tables.to_markdown(tables.display_runs(runs))
    drawn, missing = draw_plots(reported)
    grids = sample_grids(reported)
    with swapped_in(out, CONTENTS) as folder:
        (folder / "runs.md").write_text(f"## Variants\n\n{by_variant}\n\n## Runs\n\n{by_run}\n", encoding="utf-8")
        (folder / "runs.csv").write_text(tables.to_csv(runs), encoding="utf-8")
        (folder / "variants.csv").write_text(tables.to_csv(variants), encoding="utf-8")
        for name in ("plots", "samples"):
            (folder / name).mkdir()
        for plot in drawn:
            write_figure(plot.figure, folder / "plots", plot.name)
        for row in [row for grid in grids for row in grid.rows]:
            (folder / "samples" / f"{row.name}.webp").write_bytes(row.strip.webp)
        (folder / "index.html").write_text(report_page(reported, drawn, missing, grids), encoding="utf-8")
    return ReportFiles(out / "index.html", out / "runs.md")

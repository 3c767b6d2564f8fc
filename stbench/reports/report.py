"""The report of a set of runs: tables in CSV, Markdown and LaTeX, plots, moving samples, and a page that holds them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from stbench.reports import formats, tables
from stbench.reports.drawing import write_figure
from stbench.reports.report_page import ReportContent, report_content, report_page
from stbench.reports.runs import load_runs
from stbench.storage.folder import swapped_in

CONTENTS = ("index.html", "runs.csv", "runs.md", "runs.tex", "variants.csv", "plots", "samples")


@dataclass(frozen=True)
class Report:
    """What a report says, and where its page lies."""

    index: Path
    content: ReportContent


def write_report(run_paths: Iterable[Path | str], out_dir: Path | str) -> Report:
    """Report the runs under `run_paths` in the folder `out_dir`, which appears whole or not at all.

    Args:
        run_paths: run folders, folders of them, or record files.
        out_dir: a new or empty folder, or an earlier report, which is replaced.

    Raises:
        StbenchError: there is no record that can be read, or the folder cannot be written or holds something else.
    """
    reported, out = load_runs(run_paths), Path(out_dir)
    content = report_content(reported)
    sections = [f"## {title}\n\n{formats.to_markdown(table)}\n" for title, table in content.tables.items()]
    with swapped_in(out, CONTENTS) as folder:
        texts = {
            "index.html": report_page(reported, content),
            "runs.md": "\n".join(sections),
            "runs.tex": formats.to_latex(content.results, tables.INTERVALS),
            "runs.csv": formats.to_csv(reported.frame()),
            "variants.csv": formats.to_csv(tables.figures_frame(reported.groups)),
        }
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
        for name in ("plots", "samples"):
            (folder / name).mkdir()
        for plot in content.plots:
            write_figure(plot.figure, folder / "plots", plot.name)
        for row in [row for grid in content.grids for row in grid.all_rows]:
            (folder / "samples" / f"{row.name}.webp").write_bytes(row.strip.webp)
    return Report(out / "index.html", content)

"""The files of an outcome of claims: a page, tables for people and for programs, and plots."""

from __future__ import annotations

from pathlib import Path

from stbench.records.claim_verdicts import Outcome
from stbench.records.store import OUTCOME_NAME
from stbench.reports.claims.page import claims_page
from stbench.reports.claims.plots import draw_plots
from stbench.reports.claims.tables import claims_table, comparisons_table, outcome_markdown
from stbench.reports.drawing import write_figure
from stbench.reports.formats import to_csv
from stbench.storage.files import write_bytes, write_json


def write_outcome(outcome: Outcome, folder: Path) -> None:
    """Write `index.html`, `claims.md`, `claims.csv`, `comparisons.csv`, `claims.json` and the plots into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    figures = draw_plots(outcome)
    write_json(folder / OUTCOME_NAME, outcome.to_json())
    texts = {
        "claims.md": outcome_markdown(outcome),
        "claims.csv": to_csv(claims_table(outcome)),
        "comparisons.csv": to_csv(comparisons_table(outcome)),
        "index.html": claims_page(outcome, figures),
    }
    for name, text in texts.items():
        write_bytes(folder / name, text.encode())
    for stem, figure in figures.items():
        write_figure(figure, folder, stem)

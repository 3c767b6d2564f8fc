"""What commands print of records, for people. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from stbench.records.sections import Quality

if TYPE_CHECKING:
    from stbench.reports.report import ReportFiles

FVD_DECIMALS = 2


def print_rows(rows: Iterable[tuple[str, ...]], indent: int = 0) -> None:
    """Print rows in aligned columns."""
    table = [tuple(str(cell) for cell in row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print(" " * indent + line.rstrip())


def print_record(folder: Path) -> None:
    """Print the main figures of a finished run, and where its files lie."""
    from stbench.records.store import read_record

    record = read_record(folder)
    counts, step, training = record.counts, record.timing["train_step"], record.training
    assert counts and training and record.quality  # as of every finished run
    rows = [
        ("run", str(folder)),
        ("parameters", f"{counts.params_trainable / 1e6:.2f} M trainable"),
        ("operations", f"{counts.gmacs:.3f} GMACs ({counts.gflops:.3f} GFLOPs) per clip and network evaluation"),
        ("training step", f"{step.median * 1e3:.1f} ms, {step.batch_size} clips"),
        ("training", f"{training.steps} steps, {training.wall_s:.0f} s, {training.precision}"),
    ]
    print_rows(rows)
    print_quality(record.quality)


def print_quality(quality: Quality) -> None:
    """Print the distances of a record's quality section with what they were measured by."""
    clips = f"{quality.n_real} real, {quality.n_fake} generated clips"
    rows = [("FVD", "", distance_or_reason(quality.fvd, quality.refused) + f"  ({clips})")]
    rows += [("FVD", f" at step {point.step}", f"{point.fvd:.{FVD_DECIMALS}f}") for point in quality.curve]
    for title, distance, bounds, spec in (
        ("FVD∞", quality.fvd_inf, quality.fvd_interval, f".{FVD_DECIMALS}f"),
        ("KVD", quality.kvd, quality.kvd_interval, ".4g"),
        ("MMD", quality.mmd, quality.mmd_interval, ".4g"),
    ):
        if distance is not None:
            interval = f" (95 % interval {bounds[0]:{spec}} to {bounds[1]:{spec}})" if bounds else ""
            # The interval of FVD∞ is of another estimate, which lies in the middle of it.
            middle = f", by jackknife {sum(bounds) / 2:{spec}}" if bounds and title == "FVD∞" else ""
            rows.append((title, "", f"{distance:{spec}}{middle}{interval}"))
    for title, first, second in (
        ("precision, recall", quality.precision, quality.recall),
        ("density, coverage", quality.density, quality.coverage),
    ):
        if first is not None and second is not None:
            rows.append((title, "", f"{first:.3f}, {second:.3f}"))
    if quality.inception_score is not None:
        rows.append(("Inception Score", "", f"{quality.inception_score:.2f}"))
    table = [(f"{title} [{quality.detector}]{where}", figure) for title, where, figure in rows]
    print_rows([*table, ("protocol", quality.protocol_hash[:12])])


def print_report(files: ReportFiles) -> None:
    """Print a report's table, and where its page lies."""
    print(files.runs_markdown.read_text(encoding="utf-8").rstrip())
    print(f"\nreport: {files.index}")


def distance_or_reason(value: float | None, refused: str | None) -> str:
    """A distance, or why there is none."""
    return f"refused: {refused}" if value is None else f"{value:.{FVD_DECIMALS}f}"

"""What commands print of records, for people. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
    counts, timing, training = record.counts, record.timing, record.training
    rows = [
        ("run", str(folder)),
        ("parameters", f"{counts['params_trainable'] / 1e6:.2f} M trainable"),
        ("operations", f"{counts['gmacs']:.3f} GMACs ({counts['gflops']:.3f} GFLOPs) per clip and network evaluation"),
        ("training step", f"{timing['train_step']['median'] * 1e3:.1f} ms, {timing['train_step']['batch_size']} clips"),
        ("training", f"{training['steps']} steps, {training['wall_s']:.0f} s, {training['precision']}"),
    ]
    print_rows(rows)
    print_quality(record.quality)


def print_quality(quality: dict[str, Any]) -> None:
    """Print the distances of a record's quality section with what they were measured by."""
    detector = quality["detector"]
    clips = f"{quality['n_real']} real, {quality['n_fake']} generated clips"
    rows = [(f"FVD [{detector}]", _distance(quality["fvd"], quality["refused"]) + f"  ({clips})")]
    rows += [(f"FVD [{detector}] at step {point['step']}", f"{point['fvd']:.{FVD_DECIMALS}f}")
             for point in quality.get("curve") or []]  # fmt: skip
    rows += [(f"{title} [{detector}]", text) for title, text in _further_figures(quality)]
    rows.append(("protocol", quality["protocol_hash"][:12]))
    print_rows(rows)


def print_fvd(outcome: dict[str, Any]) -> None:
    """Print what `stbench fvd` found: the two sides, the distances, and the control beside them."""
    from stbench.data.clips import summarise_reasons

    rows = []
    for name, title in (("real", "real"), ("fake", "generated")):
        side = outcome[name]
        why = summarise_reasons(video["reason"] for video in side["dropped"])
        dropped = f"; dropped {len(side['dropped'])}: {why}" if why else ""
        ignored = f"; {len(side['ignored'])} other files ignored" if side["ignored"] else ""
        rows.append((title, f"{side['origin']}: {side['used']} of {side['found']} videos used{dropped}{ignored}"))
    quality, control = outcome["quality"], outcome["control"] or {}
    print_rows([*rows, ("preset", outcome["preset"]), ("label", quality["label"])])
    print_quality(quality)
    shuffled = [(f"{title} [{quality['detector']}], frames shuffled", f"{control[key]:{form}}")
                for title, key, form in (("FVD", "fvd_shuffled", f".{FVD_DECIMALS}f"), ("KVD", "kvd_shuffled", ".4g"))
                if control.get(key) is not None]  # fmt: skip
    if shuffled:
        print_rows(shuffled)
    if frames := outcome["frames"]:
        numbers = f"{frames['num_real']} real, {frames['num_fake']} generated frames"
        fid = _distance(frames["fid"], frames["refused"])
        print_rows([(f"FID [{frames['detector']}], single frames", f"{fid}  ({numbers})")])


def print_report(files: ReportFiles) -> None:
    """Print a report's table, and where its page lies."""
    print(files.runs_markdown.read_text(encoding="utf-8").rstrip())
    print(f"\nreport: {files.index}")


def _distance(value: float | None, refused: str | None) -> str:
    return f"refused: {refused}" if value is None else f"{value:.{FVD_DECIMALS}f}"


def _further_figures(quality: dict[str, Any]) -> list[tuple[str, str]]:
    """What a quality section holds beside the FVD; records of earlier versions hold less."""
    rows = []
    if quality.get("fvd_inf") is not None:
        rows.append(("FVD∞", f"{quality['fvd_inf']:.{FVD_DECIMALS}f}{_jackknife(quality.get('fvd_interval'))}"))
    for name, title in (("kvd", "KVD"), ("mmd", "MMD")):
        if quality.get(name) is not None:
            rows.append((title, f"{quality[name]:.4g}{_within(quality.get(f'{name}_interval'), '.4g')}"))
    for pair in (("precision", "recall"), ("density", "coverage")):
        if None not in (values := [quality.get(name) for name in pair]):
            rows.append((", ".join(pair), ", ".join(f"{value:.3f}" for value in values)))
    if quality.get("inception_score") is not None:
        rows.append(("Inception Score", f"{quality['inception_score']:.2f}"))
    return rows


def _jackknife(bounds: list[float] | None) -> str:
    """The other estimate of FVD∞, which has the interval, and lies in the middle of it."""
    return f", by jackknife {sum(bounds) / 2:.{FVD_DECIMALS}f}{_within(bounds, f'.{FVD_DECIMALS}f')}" if bounds else ""


def _within(bounds: list[float] | None, spec: str) -> str:
    return f" (95 % interval {bounds[0]:{spec}} to {bounds[1]:{spec}})" if bounds else ""

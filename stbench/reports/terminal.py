"""What commands print of records, for people. Imports no torch."""

from __future__ import annotations

import itertools
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from stbench.records.sections import EmbeddingCosines, MotionScores, Quality, StageCost, Timing, Validation
from stbench.reports.text import format_number

if TYPE_CHECKING:
    from stbench.reports.report import Report

FVD_DECIMALS = 2
GAP = "  "  # between columns
LEAST_WIDTH = 12  # characters: a wider column is narrowed before another has to move below


def print_rows(rows: Iterable[tuple[str, ...]], indent: int = 0) -> None:
    """Print rows in aligned columns, on a terminal in lines that it has room for.

    There long cells go on below themselves, and columns that find no room follow further down, beside the first column
    once more. In a file or a pipe a row stays a line.
    """
    table = [tuple(str(cell) for cell in row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    room = terminal_width()
    blocks = [tuple(range(len(widths)))] if room is None else _blocks(widths, room - indent)
    for number, columns in enumerate(blocks):
        if number:
            print()
        chosen = [widths[column] for column in columns]
        fitted = chosen if room is None else _narrowed(chosen, room - indent)
        for row in table:
            cells = [_wrapped(row[column], width) for column, width in zip(columns, fitted, strict=True)]
            for parts in itertools.zip_longest(*cells, fillvalue=""):
                line = GAP.join(part.ljust(width) for part, width in zip(parts, fitted, strict=True))
                print(" " * indent + line.rstrip())


def terminal_width() -> int | None:
    """How many characters a line of standard output has room for; None where that is no terminal."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def _blocks(widths: Sequence[int], room: int) -> list[tuple[int, ...]]:
    """The columns of each part of a table that has too many of them for one: the first stands in every part."""
    least = [min(width, LEAST_WIDTH) for width in widths]
    blocks: list[tuple[int, ...]] = [(0,)]
    for column in range(1, len(widths)):
        longer = (*blocks[-1], column)
        fits = sum(least[each] for each in longer) + len(GAP) * len(longer[1:]) <= room
        if fits or len(blocks[-1]) == 1:
            blocks[-1] = longer
        else:
            blocks.append((0, column))
    return blocks


def _narrowed(widths: Sequence[int], room: int) -> list[int]:
    """Widths that fit, taken from the widest columns; one of at most `LEAST_WIDTH` keeps what it has."""
    narrowed = list(widths)
    while sum(narrowed) + len(GAP) * len(narrowed[1:]) > room and max(narrowed) > LEAST_WIDTH:
        narrowed[narrowed.index(max(narrowed))] -= 1
    return narrowed


def _wrapped(cell: str, width: int) -> list[str]:
    return [cell] if len(cell) <= width else textwrap.wrap(cell, width)


def print_record(folder: Path) -> None:
    """Print the main figures of a finished run, and where its files lie."""
    from stbench.records.store import read_record

    record = read_record(folder)
    counts, step, training = record.counts, record.timing["train_step"], record.training
    assert counts and training and record.quality  # as of every finished run
    rows = [
        ("run", str(folder)),
        ("parameters", f"{counts.params_total / 1e6:.2f} M, {counts.params_trainable / 1e6:.2f} M of them trainable"),
        ("operations", f"{counts.gmacs:.3f} GMACs ({counts.gflops:.3f} GFLOPs) per clip and network evaluation"),
        ("training step", f"{step.median * 1e3:.1f} ms alone, {step.batch_size} clips{_load(step)}"),
        ("training", f"{training.steps} steps, {training.wall_s:.0f} s with data and averaging, {training.precision}"),
    ]
    print_rows(rows)
    print_validation(record.validation, record.no_validation)
    print_quality(record.quality)


def print_validation(validation: Validation | None, reason: str | None) -> None:
    """Print the validation loss with what it was measured on, or why there is none."""
    if validation:
        first, clips = validation.curve[0], f"{validation.n_clips} held-out clips, {validation.draws} timesteps each"
        found = f"{validation.loss:.4f}  ({clips}; after {first.step} steps {first.loss:.4f})"
        print_rows([("validation loss", found), ("validation hash", validation.protocol_hash[:12])])
    elif reason:
        print_rows([("validation loss", f"none: {reason}")])


def print_cascade(stages: Sequence[StageCost]) -> None:
    """Print what each stage of a cascade made, and what one of its clips took."""
    rows = [("task", "run", "frames", "pixels", "windows", "GMACs a clip", "s a clip")]
    for stage in stages:
        num, num_frames, height, width = stage.shape
        size, cost = (str(num_frames), f"{height}x{width}"), (format_number(stage.gmacs), f"{stage.seconds / num:.3g}")
        rows.append((stage.task, Path(stage.run).name, *size, str(stage.windows), *cost))
    total = sum(stage.seconds / stage.shape[0] for stage in stages)
    rows.append(("together", "", "", "", "", format_number(sum(stage.gmacs for stage in stages)), f"{total:.3g}"))
    print_rows(rows)


def print_quality(quality: Quality) -> None:
    """Print the distances of a record's quality section with what they were measured by."""
    clips = f"{quality.n_real} real, {quality.n_fake} generated clips"
    fvd = distance_or_reason(quality.fvd, quality.refused) + _interval(quality.fvd_interval, f".{FVD_DECIMALS}f")
    rows = [("FVD", "", f"{fvd}  ({clips})")]
    rows += [("FVD", f" at step {point.step}", f"{point.fvd:.{FVD_DECIMALS}f}") for point in quality.curve]
    for what, reference in (("untrained", quality.fvd_untrained), ("real against real", quality.fvd_real_vs_real)):
        if reference is not None:
            rows.append(("FVD", f", {what}", f"{reference:.{FVD_DECIMALS}f}"))
    for title, distance, bounds, spec in (
        ("FVD∞", quality.fvd_inf, quality.fvd_inf_interval, f".{FVD_DECIMALS}f"),
        ("KVD", quality.kvd, quality.kvd_interval, ".4g"),
        ("MMD", quality.mmd, quality.mmd_interval, ".4g"),
    ):
        if distance is not None:
            rows.append((title, "", f"{distance:{spec}}{_interval(bounds, spec)}"))
    for title, first, second in (
        ("precision, recall", quality.precision, quality.recall),
        ("density, coverage", quality.density, quality.coverage),
    ):
        if first is not None and second is not None:
            rows.append((title, "", f"{first:.3f}, {second:.3f}"))
    if quality.inception_score is not None:
        rows.append(("Inception Score", "", f"{quality.inception_score:.2f}"))
    if quality.class_agreement is not None:
        rows.append(("class agreement", "", f"{quality.class_agreement:.2f}"))
    if quality.class_agreement_real is not None:
        rows.append(("class agreement", ", real clips", f"{quality.class_agreement_real:.2f}"))
    table = [(f"{title} [{quality.detector}]{where}", figure) for title, where, figure in rows]
    for title, motion in (("motion", quality.motion), ("motion, real clips", quality.motion_real)):
        if motion is not None:
            table.append((title, _shares(motion)))
    for title, fidelity in (("fidelity", quality.fidelity), ("fidelity, no network", quality.fidelity_plain)):
        if fidelity is not None:
            others = {"SSIM": fidelity.ssim, "LPIPS": fidelity.lpips}
            beside = "".join(f", {name} {value:.3f}" for name, value in others.items() if value is not None)
            table.append((title, f"PSNR {fidelity.psnr_db:.2f} dB{beside}  ({fidelity.n_frames} frames)"))
    if quality.cosines is not None:
        table.append(("cosine to real embeddings", _cosines(quality.cosines)))
    print_rows([*table, ("protocol hash", quality.protocol_hash[:12])])


def _cosines(found: EmbeddingCosines) -> str:
    """How near sampled embeddings are to real ones, beside what one may expect."""
    of_class, real, chance = (
        "none" if each is None else f"{each:.3f}" for each in (found.same_class, found.real_same_class, found.any_class)
    )
    return f"{of_class} of the same class  (real ones among themselves {real}, of any class {chance})"


def _shares(motion: MotionScores) -> str:
    """What share of the clips is right in each respect, and in all."""
    parts = {"direction": motion.direction, "speed": motion.speed, "colour": motion.color, "shape": motion.shape}
    said = ", ".join(f"{name} {share:.2f}" for name, share in parts.items())
    return f"{said}; all four {motion.all:.2f}  ({motion.n_clips} clips)"


def _load(timing: Timing) -> str:
    """What to say of a time that was taken while other work kept the machine busy."""
    from stbench.records.statistics import under_load, waiting

    return f"; {waiting(timing.waited_share)}" if timing.waited_share and under_load(timing.waited_share) else ""


def _interval(bounds: tuple[float, float] | None, spec: str) -> str:
    """The 95 % interval of a record, which is of its clips alone."""
    return f" (95 % interval of these clips: {bounds[0]:{spec}} to {bounds[1]:{spec}})" if bounds else ""


def print_report(report: Report) -> None:
    """Print what a report found, what forbids to believe it, its main table, and where its page lies."""
    content = report.content
    for sentence in content.findings:
        print_sentence(sentence)
    for sentence in content.warnings:
        print_sentence(f"warning: {sentence}")
    for reason in content.unread:
        print_sentence(f"cannot be read: {reason}")
    print()
    print_rows([tuple(content.results.columns), *content.results.itertuples(index=False, name=None)])
    print(f"\nreport: {report.index}")


def print_sentence(sentence: str) -> None:
    """Print a sentence, on a terminal in lines that it has room for."""
    room = terminal_width()
    print(sentence if room is None else textwrap.fill(sentence, room, subsequent_indent=GAP))


def distance_or_reason(value: float | None, refused: str | None) -> str:
    """A distance, or why there is none."""
    return f"refused: {refused}" if value is None else f"{value:.{FVD_DECIMALS}f}"

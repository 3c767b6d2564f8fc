"""What `make bench` leaves behind: bench.json with every sample, bench.md with the tables, and a plot."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import pandas as pd
from matplotlib.figure import Figure

from stbench.records.store import BENCH_NAME
from stbench.reports.drawing import INK, NEUTRAL, STYLE, new_figure, to_svg
from stbench.reports.formats import to_markdown
from stbench.reports.runs import PALETTE
from stbench.storage.files import write_json

MATRIX_COLUMNS = {
    "attention": "attention",
    "compile": "compile",
    "variant": "variant",
    "forward_ms": "forward (ms)",
    "train_step_ms": "train step (ms)",
    "sampling_step_ms": "sampling step (ms)",
    "train_step_compile_s": "compile (s)",
    "peak_mib": "peak (MiB)",
    "mfu_of_measured_ceiling": "MFU of measured",
    "reason": "why not",
}


def write_outcome(outcome: Mapping[str, Any], folder: Path) -> None:
    """Write what was measured so far into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / BENCH_NAME, dict(outcome))
    machine = outcome["machine"]
    paragraphs = [
        "# Speed of stbench on one machine",
        f"{machine['gpu'] or machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB; written by "
        "`make bench`, all samples in `bench.json`.",
    ]
    for name, section in SECTIONS.items():
        if name in outcome:
            paragraphs += section(outcome[name])
    (folder / "bench.md").write_text("\n\n".join(paragraphs) + "\n", encoding="utf-8")
    if "training_step" in outcome:
        figure = training_step_plot(outcome["training_step"]["rows"])
        (folder / "training-step.svg").write_text(to_svg(figure), encoding="utf-8")


def _training_step(measured: Mapping[str, Any]) -> Iterable[str]:
    ceilings = ", ".join(f"{value:.0f} in {name}" for name, value in measured["ceiling_gflop_per_s"].items())
    yield "## A training step against the released pattern"
    yield (
        f"Latte-{measured['size']}/2, batch {measured['batch_size']}, latents {measured['latents']}, "
        f"{measured['gflop']:.0f} GFLOP a step. Medians of steps taken in turn. Ceiling of matrix products measured "
        f"beside them (GFLOP/s): {ceilings}."
    )
    yield _table(
        ("computation", "step (s)", "GFLOP/s", "of ceiling", "times released", "times released float32", "compile (s)"),
        (
            (
                row["name"],
                f"{row['median_s']:.2f}",
                f"{row['gflop_per_s']:.0f}",
                f"{row['share_of_ceiling']:.0%}",
                f"{row['speedup_same_precision']:.2f}",
                f"{row['speedup_over_released_float32']:.2f}",
                _cell(row["compile_s"]),
            )
            for row in measured["rows"]
        ),
    )
    yield "![training step](training-step.svg)"


def _matrix(measured: Mapping[str, Any]) -> Iterable[str]:
    yield "## Variants, attention backends, compilation"
    yield f"preset={measured['preset']}, latents {measured['latents']}, batch {measured['batch_size']}."
    rows = ([_cell(row.get(key)) for key in MATRIX_COLUMNS] for row in measured["rows"])
    yield _table(tuple(MATRIX_COLUMNS.values()), rows)


def _harness(measured: Mapping[str, Any]) -> Iterable[str]:
    training, sampling = measured["training"], measured["sampling"]
    works = {
        f"training, {training['steps']} steps": training,
        f"guided sampling, {sampling['clips']} clips, {sampling['steps']} steps": sampling,
    }
    yield "## What stbench adds"
    yield _table(
        ("work", "with stbench (s)", "bare (s)", "overhead"),
        (
            (work, f"{both['stbench_s']:.3f}", f"{both['bare_s']:.3f}", f"{both['overhead']:+.1%}")
            for work, both in works.items()
        ),
    )
    yield f"`stbench --help`: {measured['help_s']:.3f} s."


def _metrics(measured: Mapping[str, Any]) -> Iterable[str]:
    i3d = measured["i3d"]
    yield "## Video distances"
    yield (
        f"I3D on one clip of {i3d['clip']}: {i3d['plain_s']:.3f} s as published, {i3d['folded_s']:.3f} s as stbench "
        f"runs it, {i3d['speedup']:.2f} times as fast."
    )
    yield _table(
        ("Fréchet distance", "clips a side", "median (s)"),
        ((f"{row['dimensions']}-d", str(row["clips"]), f"{row['median_s']:.3f}") for row in measured["frechet"]),
    )


def _sweep(measured: Mapping[str, Any]) -> Iterable[str]:
    yield "## Cells per hour"
    yield (
        f"Cells `{' '.join(measured['words'])}`. The first two that were compiled took "
        f"{measured['seconds_of_the_first_to_compile']:.0f} s, and left what they compiled to the others."
    )
    yield _table(
        ("steps", "cells", "way", "all cells (s)", "cells per hour", "times the first way"),
        (
            (
                *(str(row["steps"]), str(row["cells"]), row["way"]),
                *(f"{row['seconds']:.0f}", f"{row['cells_per_hour']:.1f}", f"{row['speedup']:.2f}"),
            )
            for row in measured["rows"]
        ),
    )


SECTIONS = {
    "training_step": _training_step,
    "matrix": _matrix,
    "harness": _harness,
    "metrics": _metrics,
    "sweep": _sweep,
}


def _table(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return to_markdown(pd.DataFrame([list(row) for row in rows], columns=list(heading)))


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


@matplotlib.rc_context(STYLE)
def training_step_plot(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Seconds of a step, a bar for each computation, with every sample as a dot on it."""
    figure, axes = new_figure("Time of a training step", "Seconds (median; dots: samples)", "")
    for place, row in enumerate(rows):
        colour = PALETTE[0] if row["computation"] == "stbench" else NEUTRAL
        axes.barh(place, row["median_s"], color=colour, height=0.7)
        axes.plot(row["samples"], [place] * len(row["samples"]), "o", color=INK, markersize=2.5)
    axes.set_yticks(range(len(rows)), [row["name"] for row in rows])
    axes.invert_yaxis()
    axes.set_xlim(left=0)
    return figure

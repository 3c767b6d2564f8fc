"""`python -m stbench.bench --out FOLDER [PART...]`: measure, and keep the figures as bench.json, bench.md and plots.

Parts that are not asked for keep the figures of the last time, where the folder has them from the same machine.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from stbench.bench.harness import measure_overheads
from stbench.bench.matrix import measure_matrix
from stbench.bench.metrics import measure_metrics
from stbench.bench.outcome import write_outcome
from stbench.bench.sweep import measure_cells_per_hour
from stbench.bench.training_step import measure_training_steps
from stbench.errors import StbenchError
from stbench.progress import say
from stbench.records.sections import Machine
from stbench.records.store import BENCH_NAME
from stbench.runtime.device import choose_device
from stbench.runtime.machine import describe_machine, software_versions


class Part(str, Enum):
    """What can be measured by itself."""

    training_step = "training_step"
    matrix = "matrix"
    harness = "harness"
    metrics = "metrics"
    sweep = "sweep"


MEASURE: dict[Part, Callable[[], Any]] = {
    Part.training_step: lambda: measure_training_steps(choose_device("auto")),
    Part.matrix: measure_matrix,
    Part.harness: measure_overheads,
    Part.metrics: measure_metrics,
    Part.sweep: measure_cells_per_hour,
}


def main(
    out: Annotated[Path, typer.Option("--out", help="Folder of folders, one for each machine.")],
    parts: Annotated[list[Part] | None, typer.Argument(help="What to measure; everything when left out.")] = None,
) -> None:
    """Measure how fast stbench is on this machine."""
    machine = describe_machine()
    folder = out / machine_name(machine) / "bench"
    outcome: dict[str, Any] = {"machine": asdict(machine)}
    if (folder / BENCH_NAME).is_file():
        earlier = json.loads((folder / BENCH_NAME).read_text(encoding="utf-8"))
        fingerprint = earlier["machine"]["fingerprint"]
        if fingerprint != machine.fingerprint:
            raise StbenchError(f"{folder / BENCH_NAME} was measured on another machine ({fingerprint})")
        outcome = {**earlier, **outcome}
    for part in parts or list(Part):
        say(f"measuring {part.value}")
        outcome[part.value] = {"software": asdict(software_versions()), **MEASURE[part]()}
        write_outcome(outcome, folder)  # part by part: what was measured is not lost with what fails after it
    print(folder / "bench.md")


def machine_name(machine: Machine) -> str:
    """A folder's name for a machine: processor or GPU, cores and fingerprint."""
    words = f"{machine.gpu or machine.cpu} {machine.cores} cores {machine.fingerprint}"
    return "-".join("".join(c if c.isalnum() else " " for c in words.lower()).split())


if __name__ == "__main__":
    typer.run(main)

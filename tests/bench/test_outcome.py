"""bench.md as a whole text, and the samples beside it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from matplotlib.patches import Rectangle

from stbench.bench.outcome import training_step_plot, write_outcome
from stbench.records.store import find_records

MACHINE: dict[str, Any] = {"gpu": None, "cpu": "AMD EPYC", "cores": 2, "memory_gib": 24, "fingerprint": "ac36b8a25b6a"}


def step_row(computation: str, seconds: float, **more: Any) -> dict[str, Any]:
    return {
        "computation": computation,
        "name": f"{computation}, float32",
        "median_s": seconds,
        "samples": [seconds, seconds],
        "gflop_per_s": 800 / seconds,
        "share_of_ceiling": 2 / seconds,
        "speedup_same_precision": 8 / seconds,
        "speedup_over_released_float32": 8 / seconds,
        "compile_s": None,
        **more,
    }


OVERHEAD = {"stbench_s": 1.02, "bare_s": 1.0, "overhead": 0.02}
OUTCOME: dict[str, Any] = {
    "machine": MACHINE,
    "training_step": {
        "size": "S",
        "batch_size": 2,
        "latents": [4, 16, 32, 32],
        "gflop": 800.0,
        "ceiling_gflop_per_s": {"float32": 400.0, "bfloat16": 800.0},
        "rows": [step_row("released", 8.0), step_row("stbench", 4.0, compile_s=7.0)],
    },
    "matrix": {
        "latents": "4x8x16x16",
        "preset": "demo",
        "batch_size": 4,
        "rows": [
            {"attention": "auto", "compile": "off", "variant": "latte1", "forward_ms": 12.345, "reason": None},
            {"attention": "cudnn", "compile": "off", "variant": "latte1", "reason": "needs a CUDA GPU"},
        ],
    },
    "harness": {
        "training": {"steps": 500, **OVERHEAD},
        "sampling": {"clips": 16, "steps": 10, **OVERHEAD},
        "help_s": 0.06,
    },
    "metrics": {
        "i3d": {"clip": [3, 16, 224, 224], "plain_s": 1.0, "folded_s": 0.5, "speedup": 2.0},
        "frechet": [{"dimensions": 400, "clips": 2048, "median_s": 0.25}],
    },
    "sweep": {
        "words": ["dataset=shapes", "preset=demo"],
        "seconds_of_the_first_to_compile": 90.0,
        "rows": [
            {"steps": 400, "cells": 4, "way": "run", "seconds": 400.0, "cells_per_hour": 36.0, "speedup": 1.0},
        ],
    },
}

MARKDOWN = """\
# Speed of stbench on one machine

AMD EPYC, 2 cores, 24 GiB; written by `make bench`, all samples in `bench.json`.

## A training step against the released pattern

Latte-S/2, batch 2, latents [4, 16, 32, 32], 800 GFLOP a step. Medians of steps taken in turn. Ceiling of \
matrix products measured beside them (GFLOP/s): 400 in float32, 800 in bfloat16.

| computation | step (s) | GFLOP/s | of ceiling | times released | times released float32 | compile (s) |
|:--|--:|--:|:--|--:|--:|:--|
| released, float32 | 8.00 | 100 | 25% | 1.00 | 1.00 | - |
| stbench, float32 | 4.00 | 200 | 50% | 2.00 | 2.00 | 7 |

![training step](training-step.svg)

## Variants, attention backends, compilation

preset=demo, latents 4x8x16x16, batch 4.

| attention | compile | variant | forward (ms) | train step (ms) | sampling step (ms) | compile (s) | peak \
(MiB) | MFU of measured | why not |
|:--|:--|:--|:--|:--|:--|:--|:--|:--|:--|
| auto | off | latte1 | 12.3 | - | - | - | - | - | - |
| cudnn | off | latte1 | - | - | - | - | - | - | needs a CUDA GPU |

## What stbench adds

| work | with stbench (s) | bare (s) | overhead |
|:--|--:|--:|:--|
| training, 500 steps | 1.020 | 1.000 | +2.0% |
| guided sampling, 16 clips, 10 steps | 1.020 | 1.000 | +2.0% |

`stbench --help`: 0.060 s.

## Video distances

I3D on one clip of [3, 16, 224, 224]: 1.000 s as published, 0.500 s as stbench runs it, 2.00 times as fast.

| Fréchet distance | clips a side | median (s) |
|:--|--:|--:|
| 400-d | 2048 | 0.250 |

## Cells per hour

Cells `dataset=shapes preset=demo`. The first two that were compiled took 90 s, and left what they compiled \
to the others.

| steps | cells | way | all cells (s) | cells per hour | times the first way |
|--:|--:|:--|--:|--:|--:|
| 400 | 4 | run | 400 | 36.0 | 1.00 |
"""


def squeezed(text: str) -> str:
    """Markdown without the spaces and lines that only align its columns."""
    return re.sub(r"-{2,}", "--", re.sub(r" {2,}", " ", text))


def test_markdown_is_written_whole(tmp_path: Path) -> None:
    write_outcome(OUTCOME, tmp_path)
    assert squeezed((tmp_path / "bench.md").read_text()) == MARKDOWN
    assert json.loads((tmp_path / "bench.json").read_text()) == OUTCOME
    assert (tmp_path / "training-step.svg").read_text().startswith("<?xml")


def test_parts_that_were_not_measured_are_left_out(tmp_path: Path) -> None:
    write_outcome({"machine": {**MACHINE, "gpu": "a GPU"}}, tmp_path / "new")
    assert (tmp_path / "new" / "bench.md").read_text() == (
        "# Speed of stbench on one machine\n\n"
        "a GPU, 2 cores, 24 GiB; written by `make bench`, all samples in `bench.json`.\n"
    )
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["bench.json", "bench.md"]


def test_plot_has_a_bar_for_each_computation_and_a_dot_for_each_sample() -> None:
    [axes] = training_step_plot(OUTCOME["training_step"]["rows"]).axes
    bars = [bar for bar in axes.patches if isinstance(bar, Rectangle)]
    assert [bar.get_width() for bar in bars] == [8.0, 4.0]
    assert bars[1].get_facecolor() != bars[0].get_facecolor()
    assert [line.get_xdata().tolist() for line in axes.lines] == [[8.0, 8.0], [4.0, 4.0]]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["released, float32", "stbench, float32"]


def test_a_bench_is_no_record(tmp_path: Path, reference: Path) -> None:
    """`stbench report results/reference` reads the records beside it."""
    assert find_records([reference]).stored
    (tmp_path / "bench.json").write_text("{}")
    for path in reference.rglob("*-s0.json"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    assert len(find_records([tmp_path]).stored) == len(list(reference.rglob("*-s0.json")))

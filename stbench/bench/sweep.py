"""Cells per hour: one `stbench run` after the other, as it was before there were sweeps, against `stbench sweep`.

The cells are short trainings of tiny networks, so that all that a cell takes besides its steps counts as it does in the
smallest ablations. A compiled cell finds what one before it has compiled, as all but an arm's first do; what the first
ones take stands beside them.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from stbench.runtime.timing import time_once

ARMS, SEEDS, SEED_TO_COMPILE = ("latte1", "dit"), (0, 1, 2), 99
SHARED = (
    *("dataset=shapes", "preset=demo", "train.steps=300", "train.checkpoint_every=300"),
    *("eval.num_clips=128", "eval.every=0", "eval.untrained=false"),
)
WAYS: dict[str, tuple[str, ...]] = {
    "stbench sweep --jobs 2": ("--jobs", "2"),
    "stbench sweep --jobs 2, compiled": ("--jobs", "2", "compile=default"),
}


def measure_cells_per_hour() -> dict[str, Any]:
    """Time the same cells in every way, each in a folder of its own.

    Returns:
        cells (how many), words (of all of them), rows: those of `rows_of`.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        environment = {**os.environ, "TORCHINDUCTOR_CACHE_DIR": str(folder / "compiled")}
        seconds = {"stbench run, one after the other": _time(_runs(folder / "runs"), environment)}
        first = _time(
            [_sweep(folder / "first", WAYS["stbench sweep --jobs 2, compiled"], [SEED_TO_COMPILE])], environment
        )
        for number, (way, words) in enumerate(WAYS.items()):
            seconds[way] = _time([_sweep(folder / str(number), words, SEEDS)], environment)
    return {
        "cells": len(ARMS) * len(SEEDS),
        "words": list(SHARED),
        "seconds_of_the_first_to_compile": first,
        "rows": rows_of(seconds, len(ARMS) * len(SEEDS)),
    }


def rows_of(seconds: Mapping[str, float], cells: int) -> list[dict[str, Any]]:
    """A row for each way: `way`, `seconds`, `cells_per_hour`, and `speedup` over the first."""
    slowest = next(iter(seconds.values()))
    return [
        {"way": way, "seconds": taken, "cells_per_hour": 3600 * cells / taken, "speedup": slowest / taken}
        for way, taken in seconds.items()
    ]


def _runs(out: Path) -> list[list[str]]:
    cells = [[f"variant={arm}", f"seed={seed}"] for seed in SEEDS for arm in ARMS]
    return [["run", *SHARED, *cell, "--out", str(out)] for cell in cells]


def _sweep(out: Path, words: Sequence[str], seeds: Sequence[int]) -> list[str]:
    lists = f"variant={','.join(ARMS)}", f"seed={','.join(map(str, seeds))}"
    return ["sweep", *SHARED, *lists, *words, "--out", str(out)]


def _time(commands: Sequence[Sequence[str]], environment: Mapping[str, str]) -> float:
    """Seconds that commands of stbench take, one after the other."""
    run = partial(subprocess.run, check=True, env=environment, stdout=subprocess.DEVNULL)
    return time_once(
        lambda: [run([sys.executable, "-m", "stbench", *command]) for command in commands], torch.device("cpu")
    )

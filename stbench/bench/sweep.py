"""Cells per hour: one `stbench run` after the other, as it was before there were sweeps, against `stbench sweep`.

The cells are trainings of tiny networks: short ones, where all that a cell takes besides its steps counts as it does in
the smallest ablations, and some as long as the demo's. A compiled cell finds what one before it has compiled, as all
but an arm's first do; what the first ones take stands beside them.
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

ARMS = ("latte1", "dit")
SEEDS = {300: (0, 1, 2), 1800: (0,)}  # by training steps
STEPS_TO_COMPILE, SEED_TO_COMPILE = 300, 99
SHARED = (
    *("dataset=shapes", "preset=demo", "train.checkpoint_every=600"),
    *("eval.num_clips=128", "eval.every=0", "eval.untrained=false"),
)
FIRST_WAY = "stbench run, one after the other"
WAYS: dict[str, tuple[str, ...]] = {
    "stbench sweep --jobs 2": ("--jobs", "2"),
    "stbench sweep --jobs 2, compiled": ("--jobs", "2", "compile=default"),
}


def measure_cells_per_hour() -> dict[str, Any]:
    """Time the same cells in every way, each in a folder of its own.

    Returns:
        words (of all cells), rows: those of `rows_of` for each number of steps.
    """
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        environment = {**os.environ, "TORCHINDUCTOR_CACHE_DIR": str(folder / "compiled")}
        compiled = WAYS["stbench sweep --jobs 2, compiled"]
        first = _sweep(folder / "first", compiled, STEPS_TO_COMPILE, (SEED_TO_COMPILE,))
        seconds_to_compile = _time([first], environment)
        for steps, seeds in SEEDS.items():
            seconds = {FIRST_WAY: _time(_runs(folder / "runs", steps, seeds), environment)}
            for number, (way, words) in enumerate(WAYS.items()):
                seconds[way] = _time([_sweep(folder / str(number), words, steps, seeds)], environment)
            rows += rows_of(seconds, steps, len(ARMS) * len(seeds))
    return {"words": list(SHARED), "seconds_of_the_first_to_compile": seconds_to_compile, "rows": rows}


def rows_of(seconds: Mapping[str, float], steps: int, cells: int) -> list[dict[str, Any]]:
    """A row for each way: `steps`, `cells`, `way`, `seconds`, `cells_per_hour`, and `speedup` over the first."""
    slowest = next(iter(seconds.values()))
    shared = {"steps": steps, "cells": cells}
    return [
        {**shared, "way": way, "seconds": taken, "cells_per_hour": 3600 * cells / taken, "speedup": slowest / taken}
        for way, taken in seconds.items()
    ]


def _runs(out: Path, steps: int, seeds: Sequence[int]) -> list[list[str]]:
    cells = [[f"variant={arm}", f"seed={seed}"] for seed in seeds for arm in ARMS]
    return [["run", *SHARED, f"train.steps={steps}", *cell, "--out", str(out)] for cell in cells]


def _sweep(out: Path, words: Sequence[str], steps: int, seeds: Sequence[int]) -> list[str]:
    lists = f"variant={','.join(ARMS)}", f"seed={','.join(map(str, seeds))}"
    return ["sweep", *SHARED, f"train.steps={steps}", *lists, *words, "--out", str(out)]


def _time(commands: Sequence[Sequence[str]], environment: Mapping[str, str]) -> float:
    """Seconds that commands of stbench take, one after the other."""
    run = partial(subprocess.run, check=True, env=environment, stdout=subprocess.DEVNULL)
    return time_once(
        lambda: [run([sys.executable, "-m", "stbench", *command]) for command in commands], torch.device("cpu")
    )

"""Speeds of a training step as ratios of medians, and one round of the real thing at a small size."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
import torch

from stbench.backbones.latte import Latte
from stbench.bench import training_step
from stbench.bench.training_step import CANDIDATES, Candidate, measure_training_steps, rows_of
from stbench.profiling.workload import Workload
from stbench.runtime.timing import timing_of


def rows() -> dict[str, dict[str, Any]]:
    """Released steps of 8 s, ours of 4 s; half of that in bfloat16."""
    seconds = {"released": 8.0, "stbench": 4.0}
    timings = {
        each.name: timing_of(
            each.name,
            [seconds[each.computation] / (1 + (each.precision == "bfloat16")) * factor for factor in (0.5, 1.0, 2.0)],
            batch_size=2,
            first_s=100.0,
        )
        for each in CANDIDATES
    }
    return {row["name"]: row for row in rows_of(timings, 800.0, {"float32": 400.0, "bfloat16": 800.0})}


def test_names_of_candidates_differ() -> None:
    assert [each.name for each in CANDIDATES] == [
        "released, float32",
        "released, float32, freed memory kept",
        "stbench, float32",
        "stbench, float32, compiled",
        "released, bfloat16",
        "released, bfloat16, freed memory kept",
        "stbench, bfloat16",
        "stbench, bfloat16, compiled",
    ]


def test_speeds_are_ratios_of_medians() -> None:
    ours = rows()["stbench, bfloat16, compiled"]
    assert ours == {
        "computation": "stbench",
        "precision": "bfloat16",
        "compile_mode": "default",
        "freed_memory": "kept",
        "name": "stbench, bfloat16, compiled",
        "samples": [1.0, 2.0, 4.0],
        "median_s": 2.0,
        "gflop_per_s": 400.0,
        "share_of_ceiling": 0.5,
        "speedup_same_precision": 2.0,
        "speedup_over_released_float32": 4.0,
        "compile_s": 98.0,
    }


def test_the_released_pattern_is_the_unit() -> None:
    for precision, over_float32 in (("float32", 1.0), ("bfloat16", 2.0)):
        released = rows()[f"released, {precision}"]
        assert released["speedup_same_precision"] == 1.0
        assert released["speedup_over_released_float32"] == over_float32
        assert released["compile_s"] is None


def test_a_round_on_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a process of its own and without compiling, which take long."""
    few = (Candidate("released", "float32", freed_memory="returned"), Candidate("stbench", "float32"))
    monkeypatch.setattr(training_step, "CANDIDATES", few)
    monkeypatch.setattr(training_step, "SUBJECTS", {"cpu": ("tiny", 1)})
    monkeypatch.setattr(training_step, "WORKLOAD", Workload((4, 4, 8, 8)))
    monkeypatch.setattr(training_step, "Latte", lambda size: Latte(size=size, sample_size=8, num_frames=4))
    monkeypatch.setattr(training_step, "own_process", lambda build, *arguments: nullcontext(build(*arguments)))
    monkeypatch.setattr(training_step, "keep_freed_memory", lambda: None)
    monkeypatch.setattr(training_step, "matmul_ceiling", lambda device, dtype: 100.0)
    measured = measure_training_steps(torch.device("cpu"), min_samples=1)
    assert [row["name"] for row in measured["rows"]] == ["released, float32", "stbench, float32"]
    assert measured["ceiling_gflop_per_s"] == {"float32": 100.0, "bfloat16": 100.0}
    for row in measured["rows"]:
        assert row["gflop_per_s"] == measured["gflop"] / row["median_s"]
        assert len(row["samples"]) == 1
    kinds = [choice["backward"] for choice in measured["attention"]]
    assert kinds and all(kinds)  # attention of a training step has gradients

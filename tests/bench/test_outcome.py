import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from stbench.bench.__main__ import machine_name
from stbench.bench.outcome import write_outcome
from stbench.bench.training_step import CANDIDATES, rows_of
from stbench.records.sections import Machine
from stbench.records.store import find_records
from stbench.runtime.timing import timing_of

MACHINE: dict[str, Any] = {"gpu": None, "cpu": "AMD EPYC", "cores": 2, "memory_gib": 24, "fingerprint": "ac36b8a25b6a"}


def training_step() -> dict[str, Any]:
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
    return {
        "size": "S",
        "batch_size": 2,
        "latents": [4, 16, 32, 32],
        "gflop": 800.0,
        "ceiling_gflop_per_s": {"float32": 400.0, "bfloat16": 800.0},
        "rows": rows_of(timings, 800.0, {"float32": 400.0, "bfloat16": 800.0}),
    }


def test_speeds_are_ratios_of_medians() -> None:
    rows = {row["name"]: row for row in training_step()["rows"]}
    assert len(rows) == len(CANDIDATES)
    ours = rows["stbench, bfloat16, compiled"]
    assert ours["median_s"] == 2.0
    assert ours["gflop_per_s"] == 400.0
    assert ours["share_of_ceiling"] == 0.5
    assert ours["speedup_same_precision"] == 2.0
    assert ours["speedup_over_released_float32"] == 4.0
    assert ours["compile_s"] == 100.0 - 2.0
    assert rows["released, float32"]["speedup_same_precision"] == 1.0
    assert rows["released, float32"]["compile_s"] is None


def test_tables_samples_and_plot(tmp_path: Path) -> None:
    harness = {"stbench_s": 1.02, "bare_s": 1.0, "overhead": 0.02}
    outcome = {
        "machine": MACHINE,
        "training_step": training_step(),
        "matrix": {
            "latents": "4x8x16x16", "preset": "demo", "batch_size": 4,
            "rows": [{"attention": "cudnn", "compile": "off", "variant": "latte1", "reason": "needs a CUDA GPU"}],
        },
        "harness": {"training": {"steps": 500, **harness}, "sampling": {"clips": 16, "steps": 10, **harness},
                    "help_s": 0.06},
    }  # fmt: skip
    write_outcome(outcome, tmp_path)
    assert json.loads((tmp_path / "bench.json").read_text()) == outcome
    text = (tmp_path / "bench.md").read_text()
    assert "| stbench, bfloat16, compiled | 2.00 | 400 | 50% | 2.00 | 4.00 | 98 |" in text
    assert "| cudnn | off | latte1 | - | - | - | - | - | - | needs a CUDA GPU |" in text
    assert "| training, 500 steps | 1.020 | 1.000 | +2.0% |" in text
    assert "Video distances" not in text  # not measured
    assert (tmp_path / "training-step.svg").read_text().startswith("<?xml")


def test_a_bench_is_no_record(tmp_path: Path) -> None:
    """`stbench report results/reference` reads the records beside it."""
    records = Path(__file__).parents[2] / "results" / "reference"
    assert find_records([records])
    (tmp_path / "bench.json").write_text("{}")
    for path in records.rglob("*-s0.json"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    assert len(find_records([tmp_path])) == len(list(records.rglob("*-s0.json")))


def test_machine_name() -> None:
    machine = Machine(**MACHINE, threads=2, os="Linux")
    assert machine_name(machine) == "amd-epyc-2-cores-ac36b8a25b6a"
    on_gpu = replace(machine, gpu="NVIDIA H100 80GB HBM3")
    assert machine_name(on_gpu) == "nvidia-h100-80gb-hbm3-2-cores-ac36b8a25b6a"

"""Small fabricated runs: records, loss curves and clips, without training anything."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stbench.records.protocol import Protocol
from stbench.records.schema import SCHEMA_VERSION, Record
from stbench.records.sections import CostConditions

CLASS_NAMES = ["circle", "square"]


def merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Return `base` with dotted keys of `changes` set, e.g. `{"config.seed": 1}`."""
    for path, value in changes.items():
        *parents, last = path.split(".")
        target = base
        for name in parents:
            target = target.setdefault(name, {})
        target[last] = value
    return base


def timing(what: str, seconds: float) -> dict[str, Any]:
    """Return a timing whose samples vary by a few per cent around `seconds`."""
    samples = [seconds * factor for factor in (0.98, 1.0, 1.02)] * 5
    rate = {"batch_size": 2, "clips_per_s": 2 / seconds, "compile_s": None}
    return {"what": what, "samples": samples, "median": seconds, "spread": 0.04 * seconds, "unit": "s", **rate}


def record_content(
    protocol: Protocol, conditions: CostConditions, variant: str = "latte1", seed: int = 0, fvd: float = 100.0
) -> dict[str, Any]:
    """Return the JSON content of a finished run's record."""
    curve = [(0, 900.0), (20, 300.0), (40, fvd * 1.2)]
    return {
        "schema": SCHEMA_VERSION,
        "run_id": f"{variant}-{seed}",
        "status": "finished",
        "created": "2026-01-02T03:04:05+00:00",
        "config": {
            "variant": {"name": variant, "backbone": "stbench.backbones.latte:Latte", "arguments": {"size": "S"}},
            "dataset": {"name": "shapes", "arguments": {"image_size": 16, "num_frames": 4}},
            "train": {"steps": 40, "batch_size": 2},
            "protocol": "smoke",
            "precision": "float32",
            "seed": seed,
            "preset": "demo",
        },
        "config_hash": f"hash-of-{variant}-{seed}",
        "machine": {
            "fingerprint": "box-1",
            "cpu": "Test CPU",
            "cores": 2,
            "threads": 2,
            "gpu": None,
            "memory_gib": 8,
            "os": "Linux",
        },
        "software": {"python": "3.11", "torch": "2.13.0", "stbench": "0.1.0", "commit": "abc1234"},
        "counts": {"params_total": 32_480_000, "params_trainable": 32_000_000, "gmacs": 1.5, "gflops": 3.0},
        "conditions": {**asdict(conditions), "latents": list(conditions.latents)},
        "timing": {"forward": timing("forward", 0.010), "train_step": timing("train step", 0.030)},
        "memory": {"peak_rss_mib": 500.0, "peak_allocated_mib": None, "peak_reserved_mib": None},
        "training": {
            "steps": 40,
            "loss_curve": "loss.csv",
            "loss_final": 0.5,
            "wall_s": 4.0,
            "clips_per_s": 20.0,
            "precision": "float32",
            "attention": "math",
            "device": "cpu",
            "freed_memory": "kept",
        },
        "quality": {
            "protocol": protocol.to_dict(),
            "protocol_hash": "protocol-a",
            "detector": "shapes3d",
            "fvd": fvd,
            "fvd_inf": None,
            "kvd": 0.25,
            "kvd_interval": [0.2, 0.3],
            "n_real": 64,
            "n_fake": 64,
            "refused": None,
            "label": "internal",
            "curve": [
                {"step": step, "fvd": value, "n_fake": 16, "protocol_hash": "protocol-b"} for step, value in curve
            ],
        },
        "files": {"loss_curve": "loss.csv", "samples": "samples.npz", "real": "real.npz"},
    }


def group_of(content: dict[str, Any]) -> str:
    """A hash that runs share whose configurations differ in the seed alone."""
    config = {name: value for name, value in content["config"].items() if name != "seed"}
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()


def write_clips(path: Path, labels: list[int], brightness: int) -> None:
    """Write clips (N, 4, 16, 16, 3) of one colour, told apart by their label and frame."""
    clips = np.full((len(labels), 4, 16, 16, 3), brightness, np.uint8)
    clips[..., 0] = np.array(labels)[:, None, None, None] * 100
    clips[..., 2] = np.arange(4)[:, None, None] * 60
    np.savez(path, clips=clips, labels=np.array(labels), class_names=np.array(CLASS_NAMES))


MakeRun = Callable[..., Path]


@pytest.fixture(scope="session")
def run_maker(protocol: Protocol, conditions: CostConditions) -> Callable[[Path], MakeRun]:
    """Return a function that, for a root, returns a function that writes a run folder below it and returns it."""

    def maker(root: Path) -> MakeRun:
        def make(
            variant: str = "latte1", seed: int = 0, fvd: float = 100.0, folder: str = "runs", **changes: Any
        ) -> Path:
            content = merged(record_content(protocol, conditions, variant, seed, fvd), copy.deepcopy(changes))
            if content["training"]:  # a finished run took the steps that it was asked for
                content["training"]["steps"] = content["config"]["train"]["steps"]
            run_dir = root / folder / f"{len(list((root / folder).glob('*')))}"
            run_dir.mkdir(parents=True)
            (run_dir / "loss.csv").write_text("step,loss\n" + "".join(f"{i},{1 / (i + 1)}\n" for i in range(40)))
            write_clips(run_dir / "samples.npz", [0, 1, 0, 1], 80)
            write_clips(run_dir / "real.npz", [1, 0, 1, 0], 200)
            record = Record.from_json({"group_hash": group_of(content), **content})
            (run_dir / "result.json").write_text(json.dumps(record.to_json()), encoding="utf-8")
            return run_dir

        return make

    return maker


@pytest.fixture
def make_run(run_maker: Callable[[Path], MakeRun], tmp_path: Path) -> MakeRun:
    """Return a function that writes a run folder and returns it; dotted keywords change the record."""
    return run_maker(tmp_path)


@pytest.fixture(scope="session")
def failed() -> dict[str, Any]:
    """Changes that make a record one of a run that ran out of memory while it trained."""
    return {"status": "oom", "reason": "out of memory at step 3", "quality": None, "timing": {}, "files": {}}

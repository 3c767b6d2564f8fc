"""A small record to change one thing of, and records of trainings."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import pytest

from stbench.records.protocol import Protocol
from stbench.records.schema import Record
from stbench.records.sections import CostConditions


@pytest.fixture
def content(protocol: Protocol, conditions: CostConditions) -> dict[str, Any]:
    """The JSON content of a small finished record."""
    forward = {"what": "forward", "samples": [1.0, 2.0, 3.0], "median": 2.0, "spread": 1.0, "unit": "s"}
    return {
        "schema": 5,
        "run_id": "latte1-0",
        "status": "finished",
        "reason": None,
        "created": "2026-01-02T03:04:05Z",
        "config": {
            "variant": {"name": "latte1", "arguments": {"size": "S"}},
            "dataset": {"name": "shapes", "arguments": {"motions": ["left", "right"]}},
            "train": {"steps": 40, "batch_size": 2, "lr": 1e-3},
            "precision": "auto",
            "preset": "demo",
            "seed": 0,
        },
        "config_hash": "c0ffee",
        "group_hash": "beefbeefbeefbeef",
        "machine": {
            "cpu": "Test CPU",
            "cores": 2,
            "threads": 2,
            "memory_gib": 8,
            "gpu": None,
            "gpu_memory_gib": None,
            "driver": None,
            "os": "Linux",
            "fingerprint": "box-1",
        },
        "software": {"stbench": "0.1.0", "python": "3.11.7", "torch": "2.13.0"},
        "counts": {"params_total": 2_000_000, "params_trainable": 1_900_000, "gmacs": 1.5, "gflops": 3.0},
        "conditions": {**asdict(conditions), "latents": list(conditions.latents)},
        "timing": {"forward": {**forward, "batch_size": 2, "clips_per_s": 1.0, "compile_s": 0.5}},
        "memory": {"peak_rss_mib": 500.0},
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
            "protocol_hash": "p1",
            "detector": "shapes3d",
            "n_real": 64,
            "n_fake": 32,
            "fvd": 100.0,
            "label": "internal",
        },
        "files": {"samples": "samples.npz"},
    }


@pytest.fixture
def trained(content: dict[str, Any]) -> Callable[..., Record]:
    """Return a function that makes the record of a training of 40 steps of 2 clips, its losses by step."""

    def build(seed: int = 0, curve: dict[int, float] | None = None, **changes: Any) -> Record:
        losses = curve or {0: 1.0, 20: 0.4, 40: 0.2}
        made = copy.deepcopy(content)
        made["run_id"] = f"{changes.get('run_id', 'run')}-{seed}"
        made["config"] |= {"seed": seed}
        made["config"]["train"]["lr_schedule"] = changes.get("schedule", "constant")
        step = {"median": changes.get("seconds", 0.5), "waited_share": changes.get("waited_share")}
        made["timing"]["train_step"] = {**made["timing"]["forward"], **step}
        made["counts"] |= {
            "gmacs_train_step": changes.get("gmacs", 4.5),
            "params_total": changes.get("params", 1000),
        }
        made["quality"]["fvd"] = changes.get("fvd", 100.0)
        made["validation"] = {
            "protocol_hash": changes.get("protocol_hash", "v1"),
            "n_clips": 4,
            "draws": 1,
            "edges": [0.0, 1.0],
            "loss": losses[40],
            "buckets": [losses[40]],
            "curve": [{"step": step, "loss": loss, "buckets": [loss]} for step, loss in losses.items()],
        }
        if status := changes.get("status"):
            made |= {"status": status, "reason": "diverged"}
        return Record.from_json(made)

    return build

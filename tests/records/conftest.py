"""A small record to change one thing of."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture
def content() -> dict[str, Any]:
    """The JSON content of a small finished record."""
    return {
        "schema": 1,
        "run_id": "latte1-0",
        "status": "finished",
        "created": "2026-01-02T03:04:05Z",
        "config": {"variant": {"name": "latte1"}, "dataset": {"name": "shapes"}, "preset": "demo", "seed": 0},
        "config_hash": "c0ffee",
        "reason": None,
        "machine": {"fingerprint": "box-1"},
        "software": {"torch": "2.13.0"},
        "counts": {"params_total": 2_000_000, "gmacs": 1.5, "gflops": 3.0, "incomplete": []},
        "timing": {"forward": {"what": "forward", "samples": [1.0, 2.0, 3.0], "median": 2.0, "unit": "s"}},
        "memory": {"peak_rss_mib": 500.0},
        "training": {"clips_per_s": 20.0, "loss_final": 0.5},
        "quality": {"detector": "shapes3d", "protocol_hash": "p1", "fvd": 100.0, "n_real": 64, "n_fake": 32},
        "files": {"samples": "samples.npz"},
    }

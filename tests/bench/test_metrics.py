"""What is timed of the video distances, with networks that cost nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from stbench.bench import metrics
from stbench.bench.metrics import measure_metrics


def test_figures_of_detector_and_distance(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, ...]] = []

    class Detector(nn.Module):
        def forward(self, clips: torch.Tensor) -> torch.Tensor:
            seen.append(tuple(clips.shape))
            assert not torch.is_grad_enabled() and not self.training
            assert clips.abs().max() <= 1
            return clips.mean()

    monkeypatch.setattr(metrics, "I3D", Detector)
    monkeypatch.setattr(metrics, "fold", lambda network: network)
    monkeypatch.setattr(metrics, "CLIP", (3, 4, 8, 8))
    monkeypatch.setattr(metrics, "FRECHET", ((2, 8), (3, 16)))
    sizes: list[tuple[int, ...]] = []
    monkeypatch.setattr(metrics, "frechet_distance", lambda real, fake: sizes.append((*real.shape, *fake.shape)))
    measured = measure_metrics(min_samples=2)
    assert set(seen) == {(1, 3, 4, 8, 8)}
    i3d = measured["i3d"]
    assert i3d["clip"] == [3, 4, 8, 8]
    assert i3d["speedup"] == i3d["plain_s"] / i3d["folded_s"]
    for name in ("plain", "folded"):
        assert i3d[f"{name}_s"] == np.median(i3d["samples"][name])
        assert len(i3d["samples"][name]) == 2
    assert [(row["dimensions"], row["clips"]) for row in measured["frechet"]] == [(2, 8), (3, 16)]
    assert set(sizes) == {(8, 2, 8, 2), (16, 3, 16, 3)}

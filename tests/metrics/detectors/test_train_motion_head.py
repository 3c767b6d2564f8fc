"""The classifier of motions is fitted on the features that ship, and says so."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from stbench.metrics.detectors import train_motion_head as training
from stbench.metrics.detectors.shapes3d import BUILTIN_WEIGHTS, CLASSES, MOTION_HEAD


def made_by(path: Path) -> dict[str, object]:
    with safe_open(path, framework="pt") as content:
        said: dict[str, object] = json.loads(content.metadata()["training"])
        return said


def test_what_can_be_told_apart_is_told_apart_whatever_its_scale() -> None:
    motions = torch.arange(900) % len(CLASSES)
    noise = torch.randn(900, 64, generator=torch.Generator().manual_seed(0))
    features = 100 + 0.01 * (noise + 10 * torch.nn.functional.one_hot(motions, 64))
    head = training.fit(features, motions)
    assert (head(features).argmax(dim=1) == motions).float().mean() > 0.99


def test_a_file_says_how_it_was_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "head.safetensors"
    monkeypatch.setattr(training, "TEST_BATCHES", 1)
    monkeypatch.setattr(sys, "argv", ["train_motion_head", "--out", str(path), "--batches", "2"])
    training.main()
    printed = json.loads(capsys.readouterr().out)
    assert made_by(path) == {key: printed[key] for key in ("batches", "detector", "accuracy")}
    assert printed["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_shipped_file_belongs_to_the_shipped_features() -> None:
    assert made_by(MOTION_HEAD)["detector"] == hashlib.sha256(BUILTIN_WEIGHTS.read_bytes()).hexdigest()
    assert MOTION_HEAD.stat().st_size < 10_000

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from stbench.metrics.detectors import build_detector
from stbench.metrics.detectors import train_shapes3d as training


def test_batches_mix_datasets_and_label_every_task() -> None:
    clips, labels = training.draw_batch(np.random.default_rng(0), first_seed=0)
    N = training.DATASETS_PER_BATCH * training.CLIPS_PER_DATASET
    assert clips.shape[:2] == (N, 3)
    assert clips.shape[2] in training.CLIP_LENGTHS
    assert clips.shape[3:] == (32, 32)
    assert set(labels) == set(training.TASKS)
    for task, classes in training.TASKS.items():
        known = labels[task][labels[task] != training.UNKNOWN]
        assert labels[task].shape == (N,)
        assert ((known >= 0) & (known < classes)).all()


def test_labels_that_are_unknown_do_not_count() -> None:
    logits = {task: torch.zeros(2, classes) for task, classes in training.TASKS.items()}
    labels = {task: torch.full((2,), training.UNKNOWN) for task in training.TASKS}
    labels["motion"] = torch.tensor([0, training.UNKNOWN])
    assert training.task_loss(logits, labels).item() == pytest.approx(math.log(training.TASKS["motion"]))


def test_two_steps_write_weights_that_load_and_say_how_they_were_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "weights.safetensors"
    monkeypatch.setattr(sys, "argv", ["train_shapes3d", "--out", str(path), "--steps", "2", "--seed", "3"])
    monkeypatch.setattr(training, "TEST_BATCHES", 2)
    training.main()
    printed = json.loads(capsys.readouterr().out)
    with safe_open(path, framework="pt") as file:
        made_by = json.loads(file.metadata()["training"])
    assert (made_by["steps"], made_by["seed"], set(made_by["accuracy"])) == (2, 3, set(training.TASKS))
    assert build_detector("shapes3d", weights=path).weights_sha256 == printed["sha256"]
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]

"""Checkpoints: whole or not at all, strict, and exact."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from stbench.errors import StbenchError
from stbench.settings.schema import TrainConfig
from stbench.training import checkpoint
from stbench.training.checkpoint import (
    KEPT_CHECKPOINTS,
    list_checkpoints,
    load_checkpoint,
    read_ema_weights,
    save_checkpoint,
)
from stbench.training.loop import new_state


def state_after(steps: int, width: int = 3) -> Any:
    torch.manual_seed(0)
    state = new_state(nn.Linear(width, 2), TrainConfig(lr=0.1, ema_decay=0.5))
    for _ in range(steps):
        state.backbone(torch.ones(1, width)).sum().backward()
        state.optimizer.step()
        state.ema.update(state.backbone)
        state.step += 1
    return state


@pytest.mark.parametrize("steps", [0, 3])
def test_round_trip_is_exact(tmp_path: Path, steps: int) -> None:
    saved = state_after(steps)
    path = save_checkpoint(saved, tmp_path, "hash")
    loaded = state_after(0)
    loaded.backbone.weight.data.zero_()
    load_checkpoint(loaded, path, "hash")
    assert loaded.step == steps
    for state in (saved, loaded):  # one more step each: equal only when the optimizer's moments are
        state.backbone.zero_grad()
        state.backbone(torch.full((1, 3), 2.0)).sum().backward()
        state.optimizer.step()
        state.ema.update(state.backbone)
    assert torch.equal(saved.backbone.weight, loaded.backbone.weight)
    assert torch.equal(saved.ema.module.weight, loaded.ema.module.weight)


def test_only_the_newest_are_kept_and_partial_files_are_ignored(tmp_path: Path) -> None:
    for steps in range(KEPT_CHECKPOINTS + 2):
        save_checkpoint(state_after(steps), tmp_path, "hash")
    (tmp_path / "step-00000099.partial").write_bytes(b"half of a checkpoint")
    assert [path.name for path in list_checkpoints(tmp_path)] == [
        "step-00000002.safetensors",
        "step-00000003.safetensors",
    ]
    assert torch.equal(read_ema_weights(list_checkpoints(tmp_path)[-1])["weight"], state_after(3).ema.module.weight)


def test_a_full_disk_leaves_the_last_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = save_checkpoint(state_after(1), tmp_path, "hash")

    def full(tensors: object, path: Path, metadata: object) -> None:
        path.write_bytes(b"begun")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(StbenchError, match=r"cannot write checkpoint .*step-00000002.* No space left"):
        save_checkpoint(state_after(2), tmp_path, "hash")
    assert sorted(path.name for path in tmp_path.iterdir()) == [first.name]


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    path = save_checkpoint(state_after(1), tmp_path, "a" * 64)
    with pytest.raises(StbenchError, match="was written by configuration aaaaaaaa, this run is bbbbbbbb"):
        load_checkpoint(state_after(0), path, "b" * 64)
    with pytest.raises(StbenchError, match=r"has shape \(2, 3\), expected \(2, 4\)"):
        load_checkpoint(state_after(0, width=4), path, "a" * 64)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(StbenchError, match=r"step-00000001\.safetensors \(100 bytes\) cannot be read"):
        load_checkpoint(state_after(0), path, "a" * 64)

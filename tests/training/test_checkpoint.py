"""Checkpoints: whole or not at all, strict, and exact."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from stbench.errors import StbenchError
from stbench.settings.schema import TrainConfig
from stbench.training import checkpoint
from stbench.training.checkpoint import (
    KEPT_CHECKPOINTS,
    TrainingState,
    list_checkpoints,
    load_checkpoint,
    read_ema_weights,
    save_checkpoint,
)
from stbench.training.loop import new_state

NETWORK = {"backbone": "torch.nn:Linear", "arguments": {"in_features": 3}}


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
    path = save_checkpoint(saved, tmp_path, "hash", NETWORK)
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
        save_checkpoint(state_after(steps), tmp_path, "hash", NETWORK)
    (tmp_path / "step-00000099.partial").write_bytes(b"half of a checkpoint")
    assert [path.name for path in list_checkpoints(tmp_path)] == [
        "step-00000002.safetensors",
        "step-00000003.safetensors",
    ]
    weights, architecture = read_ema_weights(list_checkpoints(tmp_path)[-1])
    assert torch.equal(weights["weight"], state_after(3).ema.module.weight)
    assert architecture == NETWORK


def test_a_full_disk_leaves_the_last_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = save_checkpoint(state_after(1), tmp_path, "hash", NETWORK)

    def full(tensors: object, path: Path, metadata: object) -> None:
        path.write_bytes(b"begun")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(
        StbenchError, match=r"cannot write .*step-00000002\.safetensors: No space left on device \(after 5"
    ):
        save_checkpoint(state_after(2), tmp_path, "hash", NETWORK)
    assert sorted(path.name for path in tmp_path.iterdir()) == [first.name]


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    path = save_checkpoint(state_after(1), tmp_path, "a" * 64, NETWORK)
    with pytest.raises(StbenchError, match="was written by configuration aaaaaaaa, this run is bbbbbbbb"):
        load_checkpoint(state_after(0), path, "b" * 64)
    with pytest.raises(StbenchError, match=r"has shape \(2, 3\), expected \(2, 4\)"):
        load_checkpoint(state_after(0, width=4), path, "a" * 64)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(
        StbenchError, match=r"step-00000001\.safetensors \(100 bytes\) is damaged: .*; delete it, and the one"
    ):
        load_checkpoint(state_after(0), path, "a" * 64)


def saved_names(path: Path) -> tuple[list[str], dict[str, str]]:
    with safe_open(path, framework="pt") as file:
        return sorted(file.keys()), file.metadata()


def test_the_names_in_the_file(tmp_path: Path) -> None:
    """Others read these files: ours of an earlier version, and whoever wants the weights."""
    weights = ["ema.bias", "ema.weight", "model.bias", "model.weight"]
    moments = [f"optimizer.{name}.{m}" for name in ("bias", "weight") for m in ("exp_avg", "exp_avg_sq", "step")]
    for step, names in ((0, weights), (2, [*weights, *moments])):
        found, metadata = saved_names(save_checkpoint(state_after(step), tmp_path, "hash", NETWORK))
        assert found == names
        assert len(metadata.pop("sha256")) == 64
        assert metadata == {"step": str(step), "config_hash": "hash", "architecture": json.dumps(NETWORK)}


def test_buffers_are_kept_with_the_weights(tmp_path: Path) -> None:
    def normed(batches: int) -> TrainingState:
        state = new_state(nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)), TrainConfig())
        for seed in range(batches):
            state.backbone(torch.randn(4, 3, generator=torch.Generator().manual_seed(seed)))
            state.ema.update(state.backbone)
        return state

    saved, loaded = normed(3), normed(0)
    load_checkpoint(loaded, save_checkpoint(saved, tmp_path, "hash", NETWORK), "hash")
    for one, other in ((loaded.backbone, saved.backbone), (loaded.ema.module, saved.ema.module)):
        assert all(map(torch.equal, one.state_dict().values(), other.state_dict().values()))
    assert loaded.ema.module[1].num_batches_tracked == 3


def test_frozen_weights_have_no_moments(tmp_path: Path) -> None:
    state = state_after(0)
    state.backbone.bias.requires_grad_(False)
    state = new_state(state.backbone, TrainConfig())
    state.backbone(torch.ones(1, 3)).sum().backward()
    state.optimizer.step()
    path = save_checkpoint(state, tmp_path, "hash", NETWORK)
    assert [name for name in saved_names(path)[0] if name.startswith("optimizer.")] == [
        "optimizer.weight.exp_avg",
        "optimizer.weight.exp_avg_sq",
        "optimizer.weight.step",
    ]
    load_checkpoint(state, path, "hash")


def test_weights_of_two_names_are_written_under_both(tmp_path: Path) -> None:
    """Tied ones, and frozen ones, which the average shares."""

    def tied() -> TrainingState:
        first, second = nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False)
        second.weight = first.weight
        frozen = nn.Linear(3, 2).requires_grad_(False)
        return new_state(nn.Sequential(first, second, frozen), TrainConfig())

    saved, loaded = tied(), tied()
    load_checkpoint(loaded, save_checkpoint(saved, tmp_path, "hash", NETWORK), "hash")
    for one, other in ((loaded.backbone, saved.backbone), (loaded.ema.module, saved.ema.module)):
        assert all(map(torch.equal, one.state_dict().values(), other.state_dict().values()))


def test_missing_and_left_over_tensors_are_named(tmp_path: Path) -> None:
    saved = new_state(nn.Linear(3, 2, bias=False), TrainConfig())
    path = save_checkpoint(saved, tmp_path, "hash", NETWORK)
    with pytest.raises(StbenchError) as caught:
        load_checkpoint(new_state(nn.Linear(3, 2), TrainConfig()), path, "hash")
    names = "['ema.bias', 'model.bias', 'optimizer.bias.exp_avg']"
    assert str(caught.value) == f"{path} does not fit: missing {names}, left over nothing (8 and 0 tensors)"
    path = save_checkpoint(new_state(nn.Linear(3, 2), TrainConfig()), tmp_path, "hash", NETWORK)
    with pytest.raises(StbenchError) as caught:
        load_checkpoint(new_state(nn.Linear(3, 2, bias=False), TrainConfig()), path, "hash")
    names = "['ema.bias', 'model.bias']"
    assert str(caught.value) == f"{path} does not fit: missing nothing, left over {names} (0 and 2 tensors)"


def test_a_file_without_a_hash_is_of_no_run(tmp_path: Path) -> None:
    path = tmp_path / "step-00000001.safetensors"
    save_file({"ema.weight": torch.zeros(2)}, path)
    with pytest.raises(StbenchError, match=r"is not a checkpoint of a run: it has no SHA-256 of what it holds$"):
        load_checkpoint(state_after(0), path, "hash")


def flipped(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


def renamed(content: bytes) -> bytes:
    """The moments of the weight under each other's names, which have equal shapes."""
    names = (b'"optimizer.weight.exp_avg"', b'"optimizer.weight.exp_avg_sq"')
    return content.replace(names[0], b"@").replace(names[1], names[0]).replace(b"@", names[1])


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "cut": lambda content: content[: len(content) // 2],
    "a bit of a weight": lambda content: flipped(content, len(content) - 3),
    "the step": lambda content: content.replace(b'"step":"2"', b'"step":"7"'),
    "a step that is none": lambda content: content.replace(b'"step":"2"', b'"step":"x"'),
    "no step": lambda content: content.replace(b'"step":"2"', b'"stop":"2"'),
    "the configuration": lambda content: content.replace(b'"hash"', b'"hush"'),
    "exchanged names": renamed,
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_what_is_damaged_is_never_taken(tmp_path: Path, damage: str) -> None:
    path = save_checkpoint(state_after(2), tmp_path, "hash", NETWORK)
    before = path.read_bytes()
    path.write_bytes(DAMAGE[damage](before))
    assert path.read_bytes() != before
    message = rf"^checkpoint {path} \(\d+ bytes\) is damaged: .*; delete it, and the one before is taken$"
    for read in (lambda: load_checkpoint(state_after(0), path, "hash"), lambda: read_ema_weights(path)):
        with pytest.raises(StbenchError, match=message):
            read()


def test_a_checkpoint_under_another_steps_name_is_not_taken(tmp_path: Path) -> None:
    path = save_checkpoint(state_after(2), tmp_path, "hash", NETWORK).rename(tmp_path / "step-00000009.safetensors")
    with pytest.raises(
        StbenchError, match=r"step-00000009\.safetensors holds step 2: expected the file's name to say so"
    ):
        load_checkpoint(state_after(0), path, "hash")


def test_a_run_whose_folder_is_gone_does_not_get_it_back(tmp_path: Path) -> None:
    with pytest.raises(StbenchError, match=r"cannot write .*: No such file or directory"):
        save_checkpoint(state_after(1), tmp_path / "run" / "checkpoints", "hash", NETWORK)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_checkpoint_says_so(tmp_path: Path) -> None:
    with pytest.raises(StbenchError, match=r"^checkpoint .*step-00000001\.safetensors \(0 bytes\) is damaged: No such"):
        read_ema_weights(tmp_path / "step-00000001.safetensors")


def test_no_folder_holds_no_checkpoints(tmp_path: Path) -> None:
    assert list_checkpoints(tmp_path / "nothing") == []

"""Checkpoints: one safetensors file with weights, averaged weights, optimizer state and the step.

A checkpoint is written under another name, flushed and renamed, so that the newest complete one survives a kill or a
full disk at any moment; it holds a hash of itself, so that a damaged one is never taken. Data order and noise are
functions of (seed, step), so the step is all the state they need.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from stbench.errors import StbenchError
from stbench.storage.files import write_whole
from stbench.storage.hashing import canonical_json
from stbench.training.ema import Ema

KEPT_CHECKPOINTS = 2


@dataclass
class TrainingState:
    """Everything that a training step changes.

    Attributes:
        backbone: the network that is trained.
        ema: its average.
        optimizer: AdamW over the backbone's trainable parameters.
        step: optimizer steps taken.
    """

    backbone: nn.Module
    ema: Ema
    optimizer: torch.optim.Optimizer
    step: int = 0


def save_checkpoint(state: TrainingState, folder: Path, config_hash: str, architecture: Mapping[str, Any]) -> Path:
    """Write `step-XXXXXXXX.safetensors` whole or not at all, and drop all but the newest two.

    Args:
        state: what to save.
        folder: the run's checkpoint folder; made when missing, but for the run's own folder.
        config_hash: of the run, so that another run's checkpoint is never taken for this one's.
        architecture: what the network is, so that its weights are never taken for another one's of equal shapes.

    Raises:
        StbenchError: when the file cannot be written; the checkpoints before it are untouched.
    """
    path = folder / f"step-{state.step:08d}.safetensors"
    tensors = _in_memory_of_their_own(_tensors(state))
    described = json.dumps(architecture, default=str)
    metadata = {"step": str(state.step), "config_hash": config_hash, "architecture": described}
    with write_whole(path) as temporary:
        folder.mkdir(exist_ok=True)
        try:
            save_file(tensors, temporary, metadata={**metadata, "sha256": _sha256(tensors, metadata)})
        except SafetensorError as error:
            size_mib = sum(tensor.nbytes for tensor in tensors.values()) / 2**20
            raise OSError(f"{error}, a file of {size_mib:.0f} MiB") from error
    for old in list_checkpoints(folder)[:-KEPT_CHECKPOINTS]:
        old.unlink()
    return path


@torch.no_grad()
def load_checkpoint(state: TrainingState, path: Path, config_hash: str) -> None:
    """Load a checkpoint into `state`, in place.

    Raises:
        StbenchError: when the file is damaged, belongs to another configuration, or its tensors do not fit.
    """
    saved, metadata = _read(path)
    written_by = metadata["config_hash"]
    if written_by != config_hash:
        raise StbenchError(f"{path} was written by configuration {written_by[:8]}, this run is {config_hash[:8]}")
    if path.stem != f"step-{int(metadata['step']):08d}":
        raise StbenchError(f"{path} holds step {metadata['step']}: expected the file's name to say so")

    # AdamW would only make its moments in its first step: give it some to load into. `step` is a tensor on the
    # parameter's device, where the fused AdamW keeps it.
    for group in state.optimizer.param_groups:
        for parameter in group["params"]:
            zeros = {name: torch.zeros_like(parameter) for name in ("exp_avg", "exp_avg_sq")}
            state.optimizer.state[parameter] = {"step": torch.zeros((), device=parameter.device), **zeros}

    targets = _tensors(state)
    missing, left_over = sorted(targets.keys() - saved.keys()), sorted(saved.keys() - targets.keys())
    without_moments = not any(name.startswith("optimizer.") for name in saved)  # as before the first step
    if saved and without_moments and all(name.startswith("optimizer.") for name in missing):
        missing = []
    if missing or left_over:
        raise StbenchError(
            f"{path} does not fit: missing {missing[:3] or 'nothing'}, left over {left_over[:3] or 'nothing'} "
            f"({len(missing)} and {len(left_over)} tensors)"
        )
    for name, tensor in saved.items():
        target = targets[name]
        if target.shape != tensor.shape:
            raise StbenchError(f"{path}: {name} has shape {tuple(tensor.shape)}, expected {tuple(target.shape)}")
        target.copy_(tensor)
    state.step = int(metadata["step"])


def read_ema_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The averaged weights of a checkpoint, by the backbone's own names, and the architecture they belong to."""
    saved, metadata = _read(path)
    weights = {name.removeprefix("ema."): tensor for name, tensor in saved.items() if name.startswith("ema.")}
    return weights, json.loads(metadata["architecture"])


def list_checkpoints(folder: Path) -> list[Path]:
    """Complete checkpoints in a folder, oldest first."""
    return sorted(folder.glob("step-*.safetensors"))


def _tensors(state: TrainingState) -> dict[str, Tensor]:
    """Every tensor of the state by name: `model.*`, `ema.*`, `optimizer.<parameter>.<moment>`."""
    tensors = {f"model.{name}": tensor for name, tensor in state.backbone.state_dict().items()}
    tensors |= {f"ema.{name}": tensor for name, tensor in state.ema.module.state_dict().items()}
    for name, parameter in state.backbone.named_parameters():
        for moment, tensor in state.optimizer.state.get(parameter, {}).items():
            tensors[f"optimizer.{name}.{moment}"] = tensor
    return tensors


def _in_memory_of_their_own(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors as a file wants them: on the host, and none a view of another (tied weights, averages of frozen ones)."""
    own: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in tensors.items():
        tensor = tensor.detach().cpu().contiguous()
        place = tensor.untyped_storage().data_ptr()
        own[name] = tensor.clone() if place in seen else tensor
        seen.add(place)
    return own


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and the metadata of a checkpoint, as they were written."""
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            metadata = dict(file.metadata() or {})
    except (OSError, SafetensorError) as error:
        raise _damaged(path, str(error)) from error
    expected = metadata.pop("sha256", None)
    if expected is None:
        raise StbenchError(f"{path} is not a checkpoint of a run: it has no SHA-256 of what it holds")
    if expected != _sha256(tensors, metadata):
        raise _damaged(path, "what it holds has another SHA-256 than was written")
    return tensors, metadata


def _sha256(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """The hash of all that a checkpoint holds; its tensors are contiguous, and lie in the host's memory."""
    digest = hashlib.sha256(canonical_json(metadata).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _damaged(path: Path, how: str) -> StbenchError:
    size = path.stat().st_size if path.exists() else 0
    return StbenchError(f"checkpoint {path} ({size} bytes) is damaged: {how}; delete it, and the one before is taken")

"""The cost of a backbone: parameters, operations, times of a forward pass and a training step, peak memory.

Operations are those of one clip. Times and memory are measured with the run's batch size, precision and attention
backend, on random latents: what a step costs does not depend on the values.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from stbench.backbones.attention import set_attention_backend
from stbench.backbones.base import Conditioning
from stbench.diffusion.loss import diffusion_loss, sample_timesteps
from stbench.diffusion.schedule import NUM_TIMESTEPS
from stbench.environment import Runtime
from stbench.profiling.conventions import NOTES, published_conventions
from stbench.profiling.flops import count_operations, count_parameters
from stbench.profiling.memory import PeakMemory
from stbench.profiling.timing import Timing, measure

MIN_SAMPLES = 5
MAX_SECONDS = 3.0


@dataclass(frozen=True)
class CostProfile:
    """What a backbone costs, as the record's sections `counts`, `timing` and `memory`."""

    counts: dict[str, Any]
    timing: dict[str, Timing] = field(default_factory=dict)
    memory: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The three sections."""
        timing = {name: each.to_json() for name, each in self.timing.items()}
        return {"counts": self.counts, "timing": timing, "memory": self.memory}


@dataclass(frozen=True)
class Workload:
    """The input that a cost refers to.

    Attributes:
        latent_shape: (C, F, H, W)
        num_classes: 0 when unconditional.
        context_shape: of one clip's text embedding, None without.
        joint_images: images appended to each clip in a training step, and only there.
    """

    latent_shape: tuple[int, int, int, int]
    num_classes: int = 0
    context_shape: tuple[int, ...] | None = None
    joint_images: int = 0

    def inputs(self, batch_size: int, num_images: int = 0) -> tuple[Tensor, Tensor, Conditioning]:
        """Random input of a backbone on torch's current default device."""
        C, F, H, W = self.latent_shape
        conditioning = Conditioning(
            class_labels=self._labels(batch_size),
            context=torch.randn(batch_size, *self.context_shape) if self.context_shape else None,
            num_images=num_images,
            image_labels=self._labels(batch_size, num_images) if num_images else None,
        )
        latents = torch.randn(batch_size, C, F + num_images, H, W)
        return latents, torch.randint(NUM_TIMESTEPS, (batch_size,)), conditioning

    def _labels(self, *shape: int) -> Tensor | None:
        return torch.randint(self.num_classes, shape) if self.num_classes else None


def count(construct: Callable[[], nn.Module], workload: Workload) -> dict[str, Any]:
    """Parameters and the operations of one clip, without running anything: the record's `counts`.

    Args:
        construct: builds the backbone on torch's current default device.
        workload: the input.
    """
    operations = count_operations(construct, lambda: workload.inputs(1))
    with torch.device("meta"):
        backbone = construct()
    total, trainable = count_parameters(backbone)
    conventions = published_conventions(backbone)
    return {
        "params_total": total,
        "params_trainable": trainable,
        "gmacs": operations.gmacs,
        "gflops": operations.gflops,
        "gmacs_by_counter": operations.gmacs_by_counter,
        "gmacs_by_operator": operations.gmacs_by_operator,
        "gmacs_by_module": operations.gmacs_by_module,
        "conventions": conventions,
        "convention_notes": [NOTES[name] for name in conventions],
        "incomplete": operations.incomplete,
    }


def profile_backbone(
    construct: Callable[[], nn.Module],
    runtime: Runtime,
    workload: Workload,
    *,
    objective: str,
    batch_size: int,
    compile_mode: str = "off",
) -> CostProfile:
    """Count and measure a backbone on weights of its own, which are thrown away.

    Args:
        construct: builds the backbone on torch's current default device.
        runtime: device, precision and attention backend.
        workload: the input.
        objective: of the training step.
        batch_size: clips of a training step and of the timed forward pass.
        compile_mode: "off", "default" or "max-autotune".
    """
    counts = count(construct, workload)
    device = runtime.device
    backbone = construct().to(device)
    set_attention_backend(backbone, runtime.attention)
    compile_in_place(backbone, compile_mode)
    inputs = tuple(value.to(device) for value in workload.inputs(batch_size))
    training_inputs = tuple(value.to(device) for value in workload.inputs(batch_size, workload.joint_images))

    def forward() -> None:
        with torch.no_grad(), runtime.autocast():
            backbone(*inputs)

    step = _training_step(backbone, training_inputs, objective, runtime)

    def timed(name: str, work: Callable[[], object]) -> Timing:
        return measure(work, device, what=name, min_samples=MIN_SAMPLES, max_seconds=MAX_SECONDS, batch_size=batch_size)

    backbone.eval()
    timing = {"forward": timed("forward", forward)}
    backbone.train()
    timing["train_step"] = timed("train_step", step)
    with PeakMemory(device) as peak:
        step()
    return CostProfile(counts, timing, {f"peak_{name}": value for name, value in peak.to_json().items()})


def compile_in_place(backbone: nn.Module, mode: str) -> None:
    """Compile a backbone's forward with torch.compile, unless `mode` is "off"; its weights keep their names."""
    if mode != "off":
        backbone.compile(mode=mode, dynamic=False)


def _training_step(
    backbone: nn.Module, inputs: tuple[Any, ...], objective: str, runtime: Runtime
) -> Callable[[], None]:
    """One forward and backward pass with an optimizer step, as in training."""
    latents, _, conditioning = inputs
    optimizer = torch.optim.AdamW((p for p in backbone.parameters() if p.requires_grad), lr=1e-6, fused=True)

    def step() -> None:
        timesteps = sample_timesteps(objective, len(latents), None, latents.device)
        with runtime.autocast():
            terms = diffusion_loss(backbone, latents, timesteps, torch.randn_like(latents), conditioning, objective)
        optimizer.zero_grad(set_to_none=True)
        terms.total.mean().backward()
        optimizer.step()

    return step

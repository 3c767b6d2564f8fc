"""A backbone set up to be measured: the three pieces of work that are timed, and a training step's memory and energy.

`forward` is one network evaluation; `sampling_step` the same with the sampler's arithmetic around it, without guidance;
`train_step` a forward and a backward pass with the optimizer's step. Inputs are random: the cost does not depend on
the values.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from stbench.diffusion.loss import diffusion_loss, sample_timesteps
from stbench.diffusion.samplers import Sampling, sample
from stbench.profiling.energy import EnergyMeter
from stbench.profiling.memory import PeakMemory
from stbench.profiling.workload import Workload
from stbench.records.sections import Energy, Memory
from stbench.runtime.attention.attend import set_attention_backend
from stbench.runtime.compilation import compile_in_place
from stbench.runtime.device import Runtime
from stbench.runtime.timing import Work
from stbench.settings.schema import OBJECTIVE_SAMPLERS

ENERGY_STEPS = 20  # the energy counter of a GPU moves some tens of times a second


@dataclass(frozen=True)
class Conditions:
    """What all backbones of a comparison are measured under.

    Attributes:
        runtime: device, precision and attention backend.
        objective: of the training and the sampling step.
        batch_size: clips of every step.
        compile_mode: "off", "default" or "max-autotune".
    """

    runtime: Runtime
    objective: str
    batch_size: int
    compile_mode: str = "off"


@dataclass(frozen=True)
class Subject:
    """What is measured: how to build a backbone on torch's current default device, and its input."""

    construct: Callable[[], nn.Module]
    workload: Workload


class Workbench:
    """A backbone on its device, with weights of its own that are thrown away.

    Args:
        subject: what to measure.
        conditions: under what.
    """

    def __init__(self, subject: Subject, conditions: Conditions) -> None:
        self.subject, self.conditions = subject, conditions
        self.device = conditions.runtime.device
        self.backbone = subject.construct().to(self.device)
        runtime = conditions.runtime
        set_attention_backend(self.backbone, runtime.attention, runtime.attention_choices)
        compile_in_place(self.backbone, conditions.compile_mode)
        trainable = [p for p in self.backbone.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(trainable, lr=1e-6, fused=True)

    def work(self, name: str) -> Work:
        """The piece of work of that name, with the backbone in the mode and the input on the device that it wants."""
        training = name == "train_step"
        self.backbone.train(training)
        objective, autocast = self.conditions.objective, self.conditions.runtime.autocast
        device, workload = self.device, self.subject.workload
        inputs = workload.inputs(self.conditions.batch_size, training)
        latents, timesteps, conditioning = inputs[0].to(device), inputs[1].to(device), inputs[2].to(device)

        def forward() -> None:
            with torch.no_grad(), autocast():
                self.backbone(latents, timesteps, conditioning)

        def train_step() -> None:
            drawn = sample_timesteps(objective, len(latents), None, latents.device)
            noise = torch.randn_like(latents)
            with autocast():
                terms = diffusion_loss(self.backbone, latents, drawn, noise, conditioning, objective)
            self.optimizer.zero_grad(set_to_none=True)
            terms.total.mean().backward()
            self.optimizer.step()

        usual = OBJECTIVE_SAMPLERS[objective][0]
        sampling = Sampling(objective=objective, sampler=usual, num_sampling_steps=2, num_classes=workload.num_classes)

        def sampling_step() -> None:
            with contextlib.suppress(_FirstStepDone), autocast():
                sample(self.backbone, latents, conditioning, sampling, progress=_stop_after_the_first)

        return {"forward": forward, "train_step": train_step, "sampling_step": sampling_step}[name]

    def peaks(self) -> Memory:
        """Peak memory of a training step once the optimizer has its state."""
        step = self.work("train_step")
        step()
        with PeakMemory(self.device) as peak:
            step()
        return peak.memory

    def energy(self) -> Energy:
        """Energy of a training step, and who says so; None for both on a device that does not tell."""
        meter = EnergyMeter(self.device)
        return Energy(train_step_j=meter.joules_per_call(self.work("train_step"), ENERGY_STEPS), source=meter.source)


class _FirstStepDone(Exception):
    """Ends sampling."""


def _stop_after_the_first(done: int, of: int) -> None:
    raise _FirstStepDone

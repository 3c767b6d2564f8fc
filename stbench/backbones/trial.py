"""A backbone on trial: a network that is thrown away, and the input that a run would give it.

What the contract asks (`contract`) would hold for a network of zeros, so parameters that start as zeros are filled with
noise first. Inputs are made anew for every pass: a backbone may have written into those of the pass before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from stbench.backbones.base import Conditioning
from stbench.runtime.attention.attend import set_attention_backend
from stbench.runtime.attention.backends import AUTO
from stbench.runtime.device import Runtime

MODES = ("evaluation", "training")
OTHER_NOISE = 1_000_000  # seeds from here on are no sample's


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a run asks of its backbone.

    Attributes:
        latent_shape: (C, F, H, W) of one clip.
        num_classes: of the dataset; 0 when it has none.
        learned_variance: whether the prediction has 2C channels.
        whole_timesteps: timesteps are integers from 0 to 999, or else numbers from 0 to 1000 ("flow").
        batch_size: clips of a training step.
        joint_images: images appended to each clip in training.
        context_shape: (L, D) of what is read of the clip's frames; None where a class stands in for it.
        concat_channels: of what is given of the clip; 0 for nothing.
        fps: frames per second of the clips; None where they are not told.
        runtime: device, precision and attention backend.
    """

    latent_shape: tuple[int, int, int, int]
    num_classes: int
    learned_variance: bool
    whole_timesteps: bool
    batch_size: int
    joint_images: int
    runtime: Runtime
    context_shape: tuple[int, int] | None = None
    concat_channels: int = 0
    fps: float | None = None

    @property
    def attention(self) -> str:
        """The backend to ask under: for "auto", which would time every shape first, one that runs everywhere."""
        return "sdpa" if self.runtime.attention == AUTO else self.runtime.attention

    @property
    def timestep_range(self) -> tuple[float, float]:
        """The lowest and the highest timestep that training and sampling hand on."""
        return (0, 999) if self.whole_timesteps else (0.0, 1000.0)

    def prediction_shape(self, batch_size: int, num_images: int = 0) -> tuple[int, ...]:
        """What `forward` returns: (B, C or 2C, F + K, H, W)."""
        C, F, H, W = self.latent_shape
        return batch_size, 2 * C if self.learned_variance else C, F + num_images, H, W


class Inputs(NamedTuple):
    """The arguments of one call of `forward`."""

    latents: Tensor  # (B, C, F + K, H, W)
    timesteps: Tensor  # (B,)
    conditioning: Conditioning

    def rows(self, indices: Sequence[int]) -> Inputs:
        """A batch of these samples."""
        chosen = {name: tensor[list(indices)] for name, tensor in _tensors(self.conditioning).items()}
        conditioning = replace(self.conditioning, **chosen)  # type: ignore[arg-type]
        return Inputs(self.latents[list(indices)], self.timesteps[list(indices)], conditioning)

    def at(self, timesteps: Sequence[float]) -> Inputs:
        """The same at other timesteps, one a sample."""
        return self._replace(timesteps=torch.tensor(timesteps).to(self.timesteps))

    def labelled(self, labels: Tensor) -> Inputs:
        """The same with other class labels (B,)."""
        return self._replace(conditioning=replace(self.conditioning, class_labels=labels))

    def with_noise(self, axis: int, index: int) -> Inputs:
        """The same with other noise in one channel (axis 1) or frame (axis 2) of the latents."""
        latents = self.latents.clone()
        part = latents.select(axis, index)
        part.copy_(torch.randn(part.shape, generator=torch.Generator().manual_seed(OTHER_NOISE + index)))
        return self._replace(latents=latents)

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor by its name."""
        return {"noisy_latents": self.latents, "timesteps": self.timesteps, **_tensors(self.conditioning)}


class Trial:
    """A network of a variant with its zeros filled.

    Args:
        construct: builds the network on torch's current default device.
        task: what it is asked.
    """

    def __init__(self, construct: Callable[[], nn.Module], task: Task) -> None:
        self.construct, self.task = construct, task

    @cached_property
    def backbone(self) -> nn.Module:
        """The network, in evaluation mode except within `training`."""
        backbone = self.build()
        fill_zeros(backbone)
        backbone.eval()
        return backbone

    @cached_property
    def prediction(self) -> Tensor:
        """What it makes of the first two samples in evaluation mode."""
        return self.predict(self.inputs(2))

    def build(self) -> nn.Module:
        """Another network of the same variant, as it was drawn, on the device and with the backend of the task."""
        backbone = self.construct().to(self.task.runtime.device)
        set_attention_backend(backbone, self.task.attention)
        return backbone

    def inputs(self, batch_size: int, num_images: int = 0) -> Inputs:
        """Random samples; sample i is the same in a batch of any size."""
        C, F, H, W = self.task.latent_shape
        draws = [torch.Generator().manual_seed(index) for index in range(batch_size)]
        latents = torch.stack([torch.randn(C, F + num_images, H, W, generator=draw) for draw in draws])
        index = torch.arange(batch_size)
        timesteps = (137 + 311 * index) % 1000
        labels = image_labels = None
        if self.task.num_classes:
            labels = index % self.task.num_classes
            image_labels = (labels[:, None] + torch.arange(num_images)) % self.task.num_classes if num_images else None
        context = concat = None
        if self.task.context_shape:
            context = torch.stack([torch.randn(self.task.context_shape, generator=draw) for draw in draws])
        if self.task.concat_channels:
            concat = torch.stack([torch.randn(self.task.concat_channels, F, H, W, generator=draw) for draw in draws])
        conditioning = Conditioning(labels, context, num_images=num_images, image_labels=image_labels, concat=concat)
        conditioning = conditioning.at_rate(self.task.fps, batch_size)
        device = self.task.runtime.device
        dtype = torch.int64 if self.task.whole_timesteps else torch.float32
        return Inputs(latents.to(device), timesteps.to(device, dtype), conditioning.to(device))

    def forward(self, inputs: Inputs, *, backbone: nn.Module | None = None) -> Any:
        """Whatever the network, or another one, returns, called in the task's precision."""
        with self.task.runtime.autocast():
            return (backbone or self.backbone)(*inputs)

    @torch.no_grad()
    def predict(self, inputs: Inputs, *, backbone: nn.Module | None = None, runtime: Runtime | None = None) -> Tensor:
        """The prediction in float32, without gradients; of another network, or under another runtime, when given."""
        with (runtime or self.task.runtime).autocast():
            return (backbone or self.backbone)(*inputs).float()

    def mode(self, name: str) -> AbstractContextManager[object]:
        """A block in one of `MODES`."""
        return self.training() if name == "training" else nullcontext()

    @contextmanager
    def training(self) -> Iterator[dict[str, Tensor]]:
        """Train mode; hands out copies of the buffers, which are put back at the end with evaluation mode."""
        kept = {name: buffer.clone() for name, buffer in self.backbone.named_buffers()}
        self.backbone.train()
        try:
            yield kept
        finally:
            for name, buffer in self.backbone.named_buffers():
                if name in kept:
                    buffer.copy_(kept[name])
            self.backbone.zero_grad(set_to_none=True)
            self.backbone.eval()


@torch.no_grad()
def fill_zeros(backbone: nn.Module) -> None:
    """Fill parameters that are all zeros, and trained, with noise of its own for each."""
    for index, parameter in enumerate(backbone.parameters()):
        if parameter.requires_grad and not parameter.count_nonzero():
            noise = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(index))
            inputs = parameter[0].numel() if parameter.ndim > 1 else 100
            parameter.copy_(noise * inputs**-0.5)


def _tensors(conditioning: Conditioning) -> dict[str, Tensor]:
    return {name: value for name, value in vars(conditioning).items() if isinstance(value, Tensor)}

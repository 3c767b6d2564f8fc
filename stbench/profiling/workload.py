"""The input that a cost refers to: random latents and conditioning of a run's shapes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from stbench.backbones.base import Conditioning
from stbench.diffusion.schedule import NUM_TIMESTEPS


@dataclass(frozen=True)
class Workload:
    """The input that a cost refers to.

    Attributes:
        latent_shape: (C, F, H, W)
        num_classes: 0 when unconditional.
        context_shape: of one clip's text embedding, None without.
        joint_images: images appended to each clip in a training step, and only there.
        whole_timesteps: as of `Objective`.
        concat_channels: E of what is given of the clip, 0 for nothing.
    """

    latent_shape: tuple[int, int, int, int]
    num_classes: int = 0
    context_shape: tuple[int, ...] | None = None
    joint_images: int = 0
    whole_timesteps: bool = True
    concat_channels: int = 0

    def inputs(self, batch_size: int, training: bool = False) -> tuple[Tensor, Tensor, Conditioning]:
        """Random input of a backbone, or of a training step with its images, on torch's current default device."""
        (C, F, H, W), num_images = self.latent_shape, self.joint_images if training else 0
        conditioning = Conditioning(
            class_labels=self._labels(batch_size),
            context=torch.randn(batch_size, *self.context_shape) if self.context_shape else None,
            num_images=num_images,
            image_labels=self._labels(batch_size, num_images) if num_images else None,
            concat=torch.randn(batch_size, self.concat_channels, F, H, W) if self.concat_channels else None,
        )
        latents = torch.randn(batch_size, C, F + num_images, H, W)
        timesteps = torch.randint(NUM_TIMESTEPS, (batch_size,))
        return latents, timesteps if self.whole_timesteps else timesteps.float(), conditioning

    def _labels(self, *shape: int) -> Tensor | None:
        return torch.randint(self.num_classes, shape) if self.num_classes else None

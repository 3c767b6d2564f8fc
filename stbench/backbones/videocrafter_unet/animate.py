"""AnimateAnything's U-Net (arXiv 2311.12886): ModelScope's (arXiv 2308.06571), which goes on from a given frame.

ModelScope's is VideoCrafter2's without the frame rate. Here the clean latents of a first frame go through it before the
noisy ones, as one frame more. Where the clip may move is a mask before the channels of all frames, and how much is a
number whose sinusoid is added to the timestep's. Class labels and learned variance are additions of this benchmark.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from stbench.backbones.base import UNCONDITIONAL, Conditioning
from stbench.backbones.videocrafter_unet.diffusers_names import DiffusersLayout
from stbench.backbones.videocrafter_unet.network import VideoCrafterUNet
from stbench.backbones.videocrafter_unet.stages import Enter, SinusoidMlp, Told
from stbench.errors import StbenchError


class MaskedEnter(Enter):
    """As `Enter`, or by a convolution of its own where a mask stands before the channels of the latents."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels)
        self.masked = nn.Conv2d(1 + in_channels, out_channels, 3, padding=1)

    def forward(self, x: Tensor, told: Told) -> Tensor:
        """(B F, C or 1 + C, H, W) to (B F, D, H, W)."""
        return self.masked(x) if x.shape[1] == self.masked.in_channels else super().forward(x, told)


class AnimateUNet(VideoCrafterUNet):
    """The U-Net of AnimateAnything; without a first frame it goes on from zeros, which no picture has as latents.

    Raises:
        StbenchError: when the figures do not fit together.
    """

    enter = MaskedEnter
    published_layout = DiffusersLayout()
    animates = True
    fills_in = "the first frame with zeros, where no task gives one"

    def __init__(
        self,
        *,
        dim: int = 320,  # channels of the first convolution
        dim_multipliers: Sequence[int] = (1, 2, 4, 4),  # channels of every level, as multiples of `dim`
        blocks_per_level: int = 2,  # residual blocks of a level on the way down, one more on the way up
        attention_levels: Sequence[int] = (0, 1, 2),  # indices of the levels with attention; the middle always has it
        head_dim: int = 64,  # channels of a head
        norm_groups: int = 32,  # of every group norm
        context_dim: int = 1024,  # D of the context
        motion: bool = True,  # a run tells mask and strength, as task=animate does; what it does not need is frozen
        in_channels: int = 4,  # C of the latents
        num_classes: int = 0,  # whose tokens take the place of a context; the label `num_classes` is the null class
        learned_variance: bool = False,  # predict 2C channels, noise and variance
    ) -> None:
        super().__init__(
            dim=dim,
            dim_multipliers=dim_multipliers,
            blocks_per_level=blocks_per_level,
            attention_levels=attention_levels,
            head_dim=head_dim,
            norm_groups=norm_groups,
            context_dim=context_dim,
            default_fps=None,
            in_channels=in_channels,
            num_classes=num_classes,
            learned_variance=learned_variance,
        )
        self.strength_proj = nn.Linear(dim, dim, bias=False)
        self.motion_embed = SinusoidMlp(dim, 4 * dim).requires_grad_(False)  # of the authors' files; nothing reads it
        self.strength_proj.requires_grad_(motion)
        self.get_submodule("encoder.0.0.masked").requires_grad_(motion)
        self.get_submodule("encoder.0.0.conv").requires_grad_(not motion)

    def forward(self, noisy_latents: Tensor, timesteps: Tensor, conditioning: Conditioning = UNCONDITIONAL) -> Tensor:
        """Predict noise (and variance) of a batch of clips.

        Args:
            noisy_latents: (B, C, F, H, W), H and W multiples of 2^(levels - 1).
            timesteps: (B,), or (B, F) for each frame its own; the first frame has that of the next.
            conditioning: a context (B, L, D), or class labels (B,); `first_frame` (B, C, 1, H, W), `motion_mask`
                (B, 1, 1, H, W) and `motion_strength` (B,), each of which may be missing.

        Returns:
            (B, C or 2C, F, H, W)
        """
        self.check_clips(noisy_latents, timesteps, conditioning, self.in_channels)
        self._check_animation(noisy_latents, conditioning)
        first = conditioning.first_frame
        if first is None:
            first = torch.zeros_like(noisy_latents[:, :, :1])
        if timesteps.ndim == 2:
            timesteps = torch.cat([timesteps[:, :1], timesteps], dim=1)
        clips = torch.cat([first, noisy_latents], dim=2)  # (B, C, 1 + F, H, W)
        return super().forward(clips, timesteps, conditioning)[:, :, 1:]

    def _concatenated(self, noisy_latents: Tensor, conditioning: Conditioning) -> Tensor:
        """The latents with the mask before them, if there is one: (B, C or 1 + C, 1 + F, H, W)."""
        mask = conditioning.motion_mask
        if mask is None:
            return noisy_latents
        return torch.cat([mask.to(noisy_latents).expand_as(noisy_latents[:, :1]), noisy_latents], dim=1)

    def _embedding(self, timesteps: Tensor, conditioning: Conditioning) -> Tensor:
        """Timestep and strength: (B, E), or (B, 1 + F, E)."""
        strength = conditioning.motion_strength
        if strength is None:
            return self.timestep_embed(timesteps)
        return self.timestep_embed(timesteps, self.strength_proj(self.timestep_embed.sinusoid(strength)))

    def _check_animation(self, noisy_latents: Tensor, conditioning: Conditioning) -> None:
        """Refuse a first frame, a mask or a strength of the wrong shape, in words."""
        B, C, _, H, W = noisy_latents.shape
        expected = {"first_frame": (B, C, 1, H, W), "motion_mask": (B, 1, 1, H, W), "motion_strength": (B,)}
        for name, shape in expected.items():
            given = getattr(conditioning, name)
            if given is not None and tuple(given.shape) != shape:
                raise StbenchError(f"conditioning.{name}: expected {shape}, got {tuple(given.shape)}")

"""The U-Net of Stable Diffusion 1 (arXiv 2112.10752), frame by frame, and what gives it time.

| what | `temporal` | its norms |
|---|---|---|
| Stable Diffusion 1.4, 1.5 | none | of frames |
| Tune-A-Video (arXiv 2212.11565) | sparse_causal | `clip_norms` |
| AnimateDiff (arXiv 2307.04725), version 1 | motion_module, not in the middle | `clip_norms` |
| version 2 | motion_module | of frames |
| version 3 | motion_module, not in the middle | of frames |

Norms that pool over all frames of a clip come from the authors' 2D norms, which they gave clips: an image network's
prediction is then another as soon as frames differ. Class labels and learned variance are additions of this benchmark.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from stbench.backbones.base import UNCONDITIONAL, Conditioning
from stbench.backbones.layers import ContextTokens
from stbench.backbones.videocrafter_unet.diffusers_names import StableDiffusionLayout
from stbench.backbones.videocrafter_unet.in_time import MotionLayer, SparseCausalBlock
from stbench.backbones.videocrafter_unet.layers import ResNetBlock
from stbench.backbones.videocrafter_unet.stages import (
    ClipNorm,
    Enter,
    FrameNorm,
    SinusoidMlp,
    Stage,
    StagedUNet,
    Told,
    check_widths,
    clips_to_frames,
    frames_to_clips,
    zeroed,
)
from stbench.backbones.videocrafter_unet.transformers import SpatialBlock, SpatialTransformer
from stbench.errors import check_whole, unknown_name

TEMPORAL = ("none", "sparse_causal", "motion_module")
TEXT_TOKENS = 77  # of CLIP's text encoder


class StableDiffusionUNet(StagedUNet):
    """The U-Net of Stable Diffusion 1, with time or without.

    Raises:
        StbenchError: when the figures do not fit together.
    """

    published_layout = StableDiffusionLayout()

    def __init__(
        self,
        *,
        dim: int = 320,  # channels of the first convolution
        dim_multipliers: Sequence[int] = (1, 2, 4, 4),  # channels of every level, as multiples of `dim`
        blocks_per_level: int = 2,  # residual blocks of a level on the way down, one more on the way up
        attention_levels: Sequence[int] = (0, 1, 2),  # indices of the levels with attention; the middle always has it
        num_heads: int = 8,  # of every attention
        norm_groups: int = 32,  # of every group norm
        context_dim: int = 768,  # D of the context
        temporal: str = "none",  # a name of `TEMPORAL`
        middle_motion: bool = True,  # a motion module in the middle, too
        clip_norms: bool = False,  # norms of residual blocks, and the last one, pool over all frames of a clip
        in_channels: int = 4,  # C of the latents
        num_classes: int = 0,  # whose tokens take the place of a context; the label `num_classes` is the null class
        learned_variance: bool = False,  # predict 2C channels, noise and variance
    ) -> None:
        check_whole(1, dim=dim, blocks_per_level=blocks_per_level, num_heads=num_heads, context_dim=context_dim)
        check_whole(1, norm_groups=norm_groups, in_channels=in_channels)
        check_whole(0, num_classes=num_classes)
        if temporal not in TEMPORAL:
            raise unknown_name("temporal", temporal, TEMPORAL)
        widths, embed_dim = [dim, *(dim * multiplier for multiplier in dim_multipliers)], 4 * dim
        check_widths(widths, attention_levels, norm_groups, num_heads, "num_heads")
        norm = ClipNorm if clip_norms else FrameNorm
        block = SparseCausalBlock if temporal == "sparse_causal" else SpatialBlock

        def behind(level: int | None, width: int) -> list[nn.Module]:
            layers: list[nn.Module] = []
            if level is None or level in attention_levels:
                in_space = block(width, head_dim=width // num_heads, context_dim=context_dim)
                layers.append(SpatialTransformer(width, in_space, norm_groups))
            if temporal == "motion_module" and (middle_motion or level is not None):
                layers.append(MotionLayer(width, num_heads))
            return layers

        super().__init__(
            Stage(Enter(in_channels, dim)),
            widths,
            blocks_per_level,
            partial(ResNetBlock, embed_dim=embed_dim, norm_groups=norm_groups, norm=norm, embeds_frames=False),
            behind,
        )
        self.in_channels, self.num_classes, self.context_dim = in_channels, num_classes, context_dim
        self.timestep_embed = SinusoidMlp(dim, embed_dim)
        self.context = ContextTokens(context_dim, num_classes)
        self.norm_out = norm(norm_groups, dim)
        self.conv_out = zeroed(nn.Conv2d(dim, in_channels * (2 if learned_variance else 1), 3, padding=1))

    @property
    def context_shape(self) -> tuple[int, int] | None:
        """(L, D) that published costs refer to; None where the class stands in for a context."""
        return None if self.num_classes else (TEXT_TOKENS, self.context_dim)

    def forward(self, noisy_latents: Tensor, timesteps: Tensor, conditioning: Conditioning = UNCONDITIONAL) -> Tensor:
        """Predict noise (and variance) of a batch of clips.

        Args:
            noisy_latents: (B, C, F, H, W), H and W multiples of 2^(levels - 1).
            timesteps: (B,), or (B, F) for each frame its own.
            conditioning: a context (B, L, D); without it class labels (B,).

        Returns:
            (B, C or 2C, F, H, W)
        """
        self.check_clips(noisy_latents, timesteps, conditioning, self.in_channels)
        num_frames = noisy_latents.shape[2]
        context = self.context(conditioning, noisy_latents).repeat_interleave(num_frames, dim=0)  # (B F, L, D)
        told = Told(self.timestep_embed(timesteps), (context,), num_frames)
        x = self.through_stages(clips_to_frames(noisy_latents), told)  # (B F, D, H, W)
        x = self.conv_out(F.silu(self.norm_out(x, num_frames)))  # (B F, C or 2C, H, W)
        return frames_to_clips(x, num_frames)

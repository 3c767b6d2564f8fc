"""The latent video U-Net of VideoCrafter (arXiv 2310.19512, 2401.09047): Stable Diffusion's, with layers in time.

| release | what it has |
|---|---|
| t2v_512_v2.0 (VideoCrafter2) | convolutions in time, no positions of frames, frame rate |
| t2v_512_v1.0 | relative positions, no convolutions in time, no frame rate |
| t2v_1024_v1.0 | the same with frame rate |
| i2v_512_v1.0 | VideoCrafter2's, with attention to an image |
| DynamiCrafter (arXiv 2310.12190) | the same with an image for each frame, and its latents beside the noise |
| StyleCrafter (arXiv 2312.00330) | t2v_512_v1.0 with attention to the style of an image |

As released it has 12 stages down and 12 up. Class labels and learned variance are additions of this benchmark.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stbench.backbones.base import UNCONDITIONAL, Conditioning
from stbench.backbones.layers import ContextTokens
from stbench.backbones.published import PublishedLayout
from stbench.backbones.videocrafter_unet.layers import ResNetBlock
from stbench.backbones.videocrafter_unet.published import VideoCrafterLayout
from stbench.backbones.videocrafter_unet.stages import (
    Enter,
    SinusoidMlp,
    Stage,
    StagedUNet,
    Told,
    add_of_clip,
    check_widths,
    clips_to_frames,
    frames_to_clips,
    zeroed,
)
from stbench.backbones.videocrafter_unet.style import ScaleEncoder, StyleAttention
from stbench.backbones.videocrafter_unet.transformers import (
    TO_CONTEXT,
    SpatialBlock,
    SpatialTransformer,
    TemporalTransformer,
)
from stbench.errors import StbenchError, check_whole, unknown_name

FIRST_HEADS = 8  # of the attention between frames behind the first convolution, whatever its width
TEXT_TOKENS = 77  # of CLIP's text encoder; an image's tokens stand behind them
IMAGE_TOKENS = 16  # of an image, as released
STYLE_TOKENS = 8  # of a style


class VideoCrafterUNet(StagedUNet):
    """The U-Net of VideoCrafter.

    Raises:
        StbenchError: when the figures do not fit together.
    """

    enter: type[Enter] = Enter  # what the latents go through first
    published_layout: PublishedLayout = VideoCrafterLayout()

    def __init__(
        self,
        *,
        dim: int = 320,  # channels of the first convolution
        dim_multipliers: Sequence[int] = (1, 2, 4, 4),  # channels of every level, as multiples of `dim`
        blocks_per_level: int = 2,  # residual blocks of a level on the way down, one more on the way up
        attention_levels: Sequence[int] = (0, 1, 2),  # indices of the levels with attention; the middle always has it
        head_dim: int = 64,  # channels of a head
        norm_groups: int = 32,  # of every group norm; one for each channel would take the timestep away again
        context_dim: int = 1024,  # D of the context
        temporal_conv: bool = True,  # convolutions in time behind every residual block
        relative_position: bool = False,  # of frames, up to `num_frames` apart, in every attention in time
        causal: bool = False,  # no attention in time looks at later frames; convolutions in time and norms still do
        temporal_context: bool = False,  # the second attention in time looks at the text, as the literature draws it
        image_attention: str = "none",  # beside the text: a name of `TO_CONTEXT`
        image_of_each_frame: bool = False,  # 16 tokens for each frame, or else every frame looks at all there are
        concat_channels: int = 0,  # of `conditioning.concat`, behind the noisy latents; zeros where it is None
        default_fps: int | None = 28,  # of a clip that does not tell; None: the frame rate is not looked at
        fps_from_zero: bool = False,  # the frame rate counts for nothing before it is trained
        dropout: float = 0.0,  # in residual blocks
        in_channels: int = 4,  # C of the latents
        num_frames: int = 16,  # how far relative positions reach; clips may have another number
        num_classes: int = 0,  # whose tokens take the place of a context; the label `num_classes` is the null class
        learned_variance: bool = False,  # predict 2C channels, noise and variance
    ) -> None:
        check_whole(1, dim=dim, blocks_per_level=blocks_per_level, head_dim=head_dim, context_dim=context_dim)
        check_whole(1, norm_groups=norm_groups, in_channels=in_channels, num_frames=num_frames)
        check_whole(0, num_classes=num_classes, concat_channels=concat_channels)
        if image_attention not in TO_CONTEXT:
            raise unknown_name("image_attention", image_attention, TO_CONTEXT)
        widths = [dim, *(dim * multiplier for multiplier in dim_multipliers)]
        check_widths(widths, attention_levels, norm_groups, head_dim, "head_dim")
        embed_dim = 4 * dim
        in_space = partial(SpatialBlock, head_dim=head_dim, context_dim=context_dim, image_attention=image_attention)
        temporal = partial(
            TemporalTransformer,
            head_dim=head_dim,
            context_dim=context_dim if temporal_context else None,
            reach=num_frames if relative_position else 0,
            causal=causal,
            norm_groups=norm_groups,
        )

        def behind(level: int | None, width: int) -> list[nn.Module]:
            if level is not None and level not in attention_levels:
                return []
            return [SpatialTransformer(width, in_space(width), norm_groups), temporal(width, width // head_dim)]

        super().__init__(
            Stage(self.enter(in_channels + concat_channels, dim), temporal(dim, FIRST_HEADS)),
            widths,
            blocks_per_level,
            partial(
                ResNetBlock,
                embed_dim=embed_dim,
                temporal_conv=temporal_conv,
                norm_groups=norm_groups,
                dropout=dropout,
            ),
            behind,
        )
        self.in_channels, self.concat_channels, self.num_frames = in_channels, concat_channels, num_frames
        self.num_classes, self.context_dim, self.default_fps = num_classes, context_dim, default_fps
        self.image_attention, self.image_of_each_frame = image_attention, image_of_each_frame
        self.timestep_embed = SinusoidMlp(dim, embed_dim)
        self.fps_embed = SinusoidMlp(dim, embed_dim) if default_fps is not None else None
        if self.fps_embed is not None and fps_from_zero:
            zeroed(self.fps_embed[-1])
        self.context = ContextTokens(context_dim, num_classes)
        self.style_scales = self._scales_of_styles()
        self.norm_out = nn.GroupNorm(norm_groups, dim)
        self.conv_out = zeroed(nn.Conv2d(dim, in_channels * (2 if learned_variance else 1), 3, padding=1))

    def _scales_of_styles(self) -> ScaleEncoder | None:
        """What scales the style in each layer that looks at one, if there are any; the layers are numbered in order."""
        looking = [module for module in self.modules() if isinstance(module, StyleAttention)]
        for index, module in enumerate(looking):
            module.layer = index
        return ScaleEncoder(self.context_dim, len(looking)) if looking else None

    @property
    def reads_frame_rate(self) -> bool:
        """See `backbones.base`."""
        return self.fps_embed is not None

    @property
    def context_shape(self) -> tuple[int, int] | None:
        """(L, D) that published costs refer to; None where the class stands in for a context."""
        of_image = {"none": 0, "style": STYLE_TOKENS}.get(self.image_attention, IMAGE_TOKENS)
        images = self.num_frames if self.image_of_each_frame else 1
        return None if self.num_classes else (TEXT_TOKENS + images * of_image, self.context_dim)

    def forward(self, noisy_latents: Tensor, timesteps: Tensor, conditioning: Conditioning = UNCONDITIONAL) -> Tensor:
        """Predict noise (and variance) of a batch of clips.

        Args:
            noisy_latents: (B, C, F, H, W), H and W multiples of 2^(levels - 1).
            timesteps: (B,), or (B, F) for each frame its own.
            conditioning: a context (B, L, D), with attention to an image 77 tokens of text before the image's; without
                it class labels (B,); fps (B,); and `concat` (B, `concat_channels`, F, H, W).

        Returns:
            (B, C or 2C, F, H, W)
        """
        self._check_input(noisy_latents, timesteps, conditioning)
        num_frames = noisy_latents.shape[2]
        contexts = self._contexts(noisy_latents, conditioning)
        told = Told(self._embedding(timesteps, conditioning), contexts, num_frames)
        x = clips_to_frames(self._concatenated(noisy_latents, conditioning))  # (B F, C, H, W)
        x = self.through_stages(x, told)  # (B F, D, H, W)
        x = self.conv_out(F.silu(self.norm_out(x)))  # (B F, C or 2C, H, W)
        return frames_to_clips(x, num_frames)

    def _concatenated(self, noisy_latents: Tensor, conditioning: Conditioning) -> Tensor:
        """The latents with what is given of the clip behind them: (B, C + concat channels, F, H, W)."""
        if not self.concat_channels:
            return noisy_latents
        concat = conditioning.concat
        if concat is None:
            concat = torch.zeros_like(noisy_latents[:, :1]).expand(-1, self.concat_channels, -1, -1, -1)
        return torch.cat([noisy_latents, concat], dim=1)

    def _embedding(self, timesteps: Tensor, conditioning: Conditioning) -> Tensor:
        """Timestep and frame rate: (B, E), or (B, F, E)."""
        embedding = self.timestep_embed(timesteps)
        if self.fps_embed is None or self.default_fps is None:
            return embedding
        fps = conditioning.fps
        if fps is None:
            fps = torch.full(timesteps.shape[:1], self.default_fps, device=timesteps.device)
        return add_of_clip(embedding, self.fps_embed(fps))

    def _contexts(self, noisy_latents: Tensor, conditioning: Conditioning) -> tuple[Tensor, ...]:
        """What every frame looks at, each (B F, L, D): the text, and an image; and the scales of its style.

        A class stands for text and image alike.
        """
        num_frames, tokens = noisy_latents.shape[2], self.context(conditioning, noisy_latents)
        if self.image_attention == "none":
            return (tokens.repeat_interleave(num_frames, dim=0),)
        text = image = tokens
        if conditioning.context is not None:
            text, image = tokens[:, :TEXT_TOKENS], tokens[:, TEXT_TOKENS:]
        of_clips = [text, image, *([self.style_scales(image, text)] if self.style_scales else [])]
        of_frames = [each.repeat_interleave(num_frames, dim=0) for each in of_clips]
        if self.image_of_each_frame and conditioning.context is not None:
            of_frames[1] = image.unflatten(1, (num_frames, -1)).flatten(0, 1)
        return tuple(of_frames)

    def _check_input(self, noisy_latents: Tensor, timesteps: Tensor, conditioning: Conditioning) -> None:
        """Refuse input of the wrong shape, in words; `ContextTokens` looks at the context's."""
        self.check_clips(noisy_latents, timesteps, conditioning, self.in_channels)
        (B, _, num_frames, *size), fps, concat = noisy_latents.shape, conditioning.fps, conditioning.concat
        if fps is not None and tuple(fps.shape) != (B,):
            raise StbenchError(f"conditioning.fps: expected (B,) = ({B},), got {tuple(fps.shape)}")
        expected = (B, self.concat_channels, num_frames, *size)
        if self.concat_channels and concat is not None and tuple(concat.shape) != expected:
            raise StbenchError(f"conditioning.concat: expected (B, E, F, H, W) = {expected}, got {tuple(concat.shape)}")
        if self.image_attention != "none" and conditioning.context is not None:
            self._check_image(conditioning.context, num_frames)

    def _check_image(self, context: Tensor, num_frames: int) -> None:
        """Refuse a context without tokens of an image, or with another number of them than frames share."""
        L, of_frames = context.shape[1], TEXT_TOKENS + num_frames * IMAGE_TOKENS
        if self.image_of_each_frame and of_frames != L:
            raise StbenchError(
                f"conditioning.context: expected {TEXT_TOKENS} tokens of text and {IMAGE_TOKENS} for each of "
                f"{num_frames} frames, {of_frames} in all, got {L}"
            )
        if L <= TEXT_TOKENS:
            raise StbenchError(
                f"conditioning.context: expected {TEXT_TOKENS} tokens of text and an image's behind them, got {L}"
            )

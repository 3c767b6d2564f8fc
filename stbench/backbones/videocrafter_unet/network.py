"""The latent video U-Net of VideoCrafter (arXiv 2310.19512, 2401.09047): Stable Diffusion's, with layers in time.

| release | what it has |
|---|---|
| t2v_512_v2.0 (VideoCrafter2) | convolutions in time, no positions of frames, frame rate |
| t2v_512_v1.0 | relative positions, no convolutions in time, no frame rate |
| t2v_1024_v1.0 | the same with frame rate |
| i2v_512_v1.0 | VideoCrafter2's with attention to an image |

The U-Net is cut into stages: 12 down and 12 up as released, each resolution's residual blocks, attention and change of
resolution. Every stage up starts from what comes from below beside what the mirrored stage down made. Class labels and
learned variance are additions of this benchmark.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stbench.backbones.base import UNCONDITIONAL, Conditioning
from stbench.backbones.layers import ContextTokens, timestep_sinusoid
from stbench.backbones.videocrafter_unet.layers import (
    Downsample,
    Enter,
    ResNetBlock,
    Stage,
    Told,
    Upsample,
    clips_to_frames,
    frames_to_clips,
    zeroed,
)
from stbench.backbones.videocrafter_unet.published import VideoCrafterLayout
from stbench.backbones.videocrafter_unet.transformers import SpatialTransformer, TemporalTransformer
from stbench.errors import StbenchError, check_whole, unknown_name

FIRST_HEADS = 8  # of the attention between frames behind the first convolution, whatever its width
TEXT_TOKENS = 77  # of CLIP's text encoder; an image's tokens stand behind them
IMAGE_TOKENS = 16  # of an image, as released
IMAGE_ATTENTIONS = ("none", "dual", "scaled")


class SinusoidMlp(nn.Sequential):
    """Sinusoid of a number through a two-layer SiLU MLP."""

    def __init__(self, dim: int, embed_dim: int) -> None:
        super().__init__(nn.Linear(dim, embed_dim), nn.SiLU(), nn.Linear(embed_dim, embed_dim))
        self.dim = dim

    def forward(self, numbers: Tensor) -> Tensor:
        """Embed numbers of any shape (...) as (..., E)."""
        sinusoid = timestep_sinusoid(numbers.flatten(), self.dim, cos_first=True, inclusive=False)
        return super().forward(sinusoid).unflatten(0, numbers.shape)


class VideoCrafterUNet(nn.Module):
    """The U-Net of VideoCrafter.

    Raises:
        StbenchError: when the figures do not fit together.
    """

    published_layout = VideoCrafterLayout()

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
        image_attention: str = "none",  # to an image, beside the text: "dual", or "scaled" by a learned factor
        default_fps: int | None = 28,  # of a clip that does not tell; None: the frame rate is not looked at
        dropout: float = 0.0,  # in residual blocks
        in_channels: int = 4,  # C of the latents
        num_frames: int = 16,  # how far relative positions reach; clips may have another number
        num_classes: int = 0,  # whose tokens take the place of a context; the label `num_classes` is the null class
        learned_variance: bool = False,  # predict 2C channels, noise and variance
    ) -> None:
        super().__init__()
        widths = [dim * multiplier for multiplier in dim_multipliers]
        check_whole(1, dim=dim, blocks_per_level=blocks_per_level, head_dim=head_dim, context_dim=context_dim)
        check_whole(1, norm_groups=norm_groups, in_channels=in_channels, num_frames=num_frames)
        check_whole(0, num_classes=num_classes)
        if image_attention not in IMAGE_ATTENTIONS:
            raise unknown_name("image_attention", image_attention, IMAGE_ATTENTIONS)
        _check_widths([dim, *widths], attention_levels, head_dim, norm_groups)
        self.in_channels, self.num_classes, self.context_dim = in_channels, num_classes, context_dim
        self.num_levels, self.image_attention, self.default_fps = len(widths), image_attention, default_fps
        embed_dim = 4 * dim
        resnet = partial(
            ResNetBlock,
            embed_dim=embed_dim,
            temporal_conv=temporal_conv,
            norm_groups=norm_groups,
            dropout=dropout,
        )
        spatial = partial(
            SpatialTransformer,
            head_dim=head_dim,
            context_dim=context_dim,
            image_attention=image_attention,
            norm_groups=norm_groups,
        )
        temporal = partial(
            TemporalTransformer,
            head_dim=head_dim,
            norm_groups=norm_groups,
            context_dim=context_dim if temporal_context else None,
            reach=num_frames if relative_position else 0,
            causal=causal,
        )

        def attention(width: int) -> tuple[nn.Module, nn.Module]:
            return spatial(width), temporal(width, width // head_dim)

        def block(level: int, wide_in: int, wide_out: int) -> list[nn.Module]:
            return [resnet(wide_in, wide_out), *(attention(wide_out) if level in attention_levels else ())]

        self.timestep_embed = SinusoidMlp(dim, embed_dim)
        self.fps_embed = SinusoidMlp(dim, embed_dim) if default_fps is not None else None
        self.context = ContextTokens(context_dim, num_classes)
        self.encoder = nn.ModuleList([Stage(Enter(in_channels, dim), temporal(dim, FIRST_HEADS))])
        skips = [width := dim]
        for level, wide in enumerate(widths):
            for _ in range(blocks_per_level):
                self.encoder.append(Stage(*block(level, width, wide)))
                skips.append(width := wide)
            if level < len(widths) - 1:
                self.encoder.append(Stage(Downsample(width)))
                skips.append(width)
        self.middle = Stage(resnet(width, width), *attention(width), resnet(width, width))
        self.decoder = nn.ModuleList()
        for level, wide in reversed(list(enumerate(widths))):
            for index in range(blocks_per_level + 1):
                layers, width = block(level, width + skips.pop(), wide), wide
                up = [Upsample(width)] if level and index == blocks_per_level else []
                self.decoder.append(Stage(*layers, *up))
        self.norm_out = nn.GroupNorm(norm_groups, dim)
        self.conv_out = zeroed(nn.Conv2d(dim, in_channels * (2 if learned_variance else 1), 3, padding=1))

    @property
    def context_shape(self) -> tuple[int, int] | None:
        """(L, D) that published costs refer to; None where the class stands in for a context."""
        tokens = TEXT_TOKENS + (0 if self.image_attention == "none" else IMAGE_TOKENS)
        return None if self.num_classes else (tokens, self.context_dim)

    def forward(self, noisy_latents: Tensor, timesteps: Tensor, conditioning: Conditioning = UNCONDITIONAL) -> Tensor:
        """Predict noise (and variance) of a batch of clips.

        Args:
            noisy_latents: (B, C, F, H, W), H and W multiples of 2^(levels - 1).
            timesteps: (B,), or (B, F) for each frame its own.
            conditioning: a context (B, L, D), with attention to an image 77 tokens of text before the image's; without
                it class labels (B,); and fps (B,).

        Returns:
            (B, C or 2C, F, H, W)
        """
        self._check_input(noisy_latents, timesteps, conditioning)
        num_frames = noisy_latents.shape[2]
        contexts = self._contexts(noisy_latents, conditioning)
        told = Told(self._embedding(timesteps, conditioning, num_frames), contexts, num_frames)
        x = clips_to_frames(noisy_latents)  # (B F, C, H, W)
        skips = []
        for stage in self.encoder:
            x = stage(x, told)  # (B F, D', H', W')
            skips.append(x)
        x = self.middle(x, told)
        for stage in self.decoder:
            x = stage(torch.cat([x, skips.pop()], dim=1), told)
        x = self.conv_out(F.silu(self.norm_out(x)))  # (B F, C or 2C, H, W)
        return frames_to_clips(x, num_frames)

    def _embedding(self, timesteps: Tensor, conditioning: Conditioning, num_frames: int) -> Tensor:
        """Timestep and frame rate of every frame: (B F, E)."""
        embedding = self.timestep_embed(timesteps)  # (B, E) or (B, F, E)
        if embedding.ndim == 2:
            embedding = embedding[:, None]
        if self.fps_embed is not None and self.default_fps is not None:
            fps = conditioning.fps
            if fps is None:
                fps = torch.full(timesteps.shape[:1], self.default_fps, device=timesteps.device)
            embedding = embedding + self.fps_embed(fps)[:, None]
        return embedding.expand(-1, num_frames, -1).flatten(0, 1)

    def _contexts(self, noisy_latents: Tensor, conditioning: Conditioning) -> tuple[Tensor, ...]:
        """What every frame looks at, each (B F, L, D): the text, or text and image; a class stands for both."""
        tokens = self.context(conditioning, noisy_latents).repeat_interleave(noisy_latents.shape[2], dim=0)
        if self.image_attention == "none":
            return (tokens,)
        if conditioning.context is None:
            return tokens, tokens
        return tokens[:, :TEXT_TOKENS], tokens[:, TEXT_TOKENS:]

    def _check_input(self, noisy_latents: Tensor, timesteps: Tensor, conditioning: Conditioning) -> None:
        """Refuse input of the wrong shape, in words; `ContextTokens` looks at the context's."""
        shape, multiple = tuple(noisy_latents.shape), 2 ** (self.num_levels - 1)
        if len(shape) != 5 or shape[1] != self.in_channels:
            raise StbenchError(f"VideoCrafterUNet expects latents (B, {self.in_channels}, F, H, W), got {shape}")
        if shape[3] % multiple or shape[4] % multiple:
            nearest = " x ".join(str(max(1, round(side / multiple)) * multiple) for side in shape[3:])
            raise StbenchError(
                f"VideoCrafterUNet halves {self.num_levels - 1} times: H x W = {shape[3]} x {shape[4]} must be "
                f"multiples of {multiple}, the nearest is {nearest}"
            )
        B, num_frames = shape[0], shape[2]
        if tuple(timesteps.shape) not in ((B,), (B, num_frames)):
            expected = f"(B,) = ({B},) or (B, F) = ({B}, {num_frames})"
            raise StbenchError(f"timesteps: expected {expected}, got {tuple(timesteps.shape)}")
        fps, context = conditioning.fps, conditioning.context
        if fps is not None and tuple(fps.shape) != (B,):
            raise StbenchError(f"conditioning.fps: expected (B,) = ({B},), got {tuple(fps.shape)}")
        if self.image_attention != "none" and context is not None and context.shape[1] <= TEXT_TOKENS:
            raise StbenchError(
                f"conditioning.context: expected {TEXT_TOKENS} tokens of text and an image's behind them, got "
                f"{tuple(context.shape)}"
            )
        if conditioning.num_images:
            raise StbenchError("VideoCrafterUNet has no image-video joint training: set train.joint_images=0")


def _check_widths(widths: Sequence[int], attention_levels: Sequence[int], head_dim: int, norm_groups: int) -> None:
    """Refuse figures that group norms and heads cannot divide, or levels that are not there.

    Args:
        widths: of the first convolution, and of every level.
        attention_levels: as of the network.
        head_dim: likewise.
        norm_groups: likewise.
    """
    num_levels = len(widths) - 1
    if not num_levels:
        raise StbenchError("dim_multipliers is empty: a U-Net has at least one level, e.g. dim_multipliers=[1,2,4]")
    if not set(attention_levels) <= set(range(num_levels)):
        raise StbenchError(
            f"attention_levels={list(attention_levels)}: the levels of this network are 0 to {num_levels - 1}"
        )
    for width in widths:
        if width <= 0 or width % norm_groups:
            raise StbenchError(f"dim, dim_multipliers: {width} channels do not divide into norm_groups={norm_groups}")
    for level in (*attention_levels, num_levels - 1):  # the middle attends as well
        if widths[level + 1] % head_dim:
            raise StbenchError(
                f"head_dim={head_dim} does not divide the {widths[level + 1]} channels of level {level} into heads"
            )

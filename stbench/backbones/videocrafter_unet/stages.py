"""A U-Net cut into stages, and what its families share: Stable Diffusion's, LVDM's, and VideoCrafter's.

Frames are folded into the batch, (B F, C, H, W), except in what works in time. Every layer of a stage is called with
the features and with what the whole network is `Told`. A stage is a residual block with its attention, and the change
of resolution behind it on the way up; on the way down that is a stage of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stbench.backbones.base import Conditioning
from stbench.backbones.layers import timestep_sinusoid
from stbench.errors import StbenchError

Layer = TypeVar("Layer", bound=nn.Module)


class Told(NamedTuple):
    """What every layer is told.

    Attributes:
        embedding: (B, E) of timestep and what else clips are told; (B, F, E) where each frame has a timestep.
        contexts: of each frame, each (B F, L, D): the text, or text and image.
        num_frames: F.
    """

    embedding: Tensor
    contexts: tuple[Tensor, ...]
    num_frames: int


class Stage(nn.Sequential):
    """Layers in turn."""

    def forward(self, x: Tensor, told: Told) -> Tensor:  # type: ignore[override]
        """(B F, C, H, W) to (B F, C', H', W')."""
        for layer in self:
            x = layer(x, told)
        return x


def zeroed(layer: Layer) -> Layer:
    """The same layer, which adds nothing to a residual until it is trained."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


def frames_to_clips(x: Tensor, num_frames: int) -> Tensor:
    """(B F, C, H, W) to (B, C, F, H, W)."""
    return x.unflatten(0, (-1, num_frames)).transpose(1, 2)


def clips_to_frames(x: Tensor) -> Tensor:
    """(B, C, F, H, W) to (B F, C, H, W)."""
    return x.transpose(1, 2).flatten(0, 1)


class Enter(nn.Module):
    """From the channels of the latents to those of the network."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, padding=1)

    def forward(self, x: Tensor, told: Told) -> Tensor:
        """(B F, C, H, W) to (B F, D, H, W)."""
        return self.conv(x)


class Downsample(nn.Module):
    """Half the resolution, by a convolution of stride 2."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, x: Tensor, told: Told) -> Tensor:
        """(B F, C, H, W) to (B F, C, H/2, W/2)."""
        return self.conv(x)


class Upsample(nn.Module):
    """Twice the resolution: nearest neighbour, then a convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor, told: Told) -> Tensor:
        """(B F, C, H, W) to (B F, C, 2H, 2W)."""
        return self.conv(F.interpolate(x, scale_factor=2, mode="nearest"))


class FrameNorm(nn.GroupNorm):
    """Group norm of each frame by itself."""

    def forward(self, x: Tensor, num_frames: int) -> Tensor:  # type: ignore[override]
        """Normalise (B F, C, H, W)."""
        return super().forward(x)


class ClipNorm(nn.GroupNorm):
    """Group norm over all frames of a clip."""

    def forward(self, x: Tensor, num_frames: int) -> Tensor:  # type: ignore[override]
        """Normalise (B F, C, H, W)."""
        return clips_to_frames(super().forward(frames_to_clips(x, num_frames)))


class SinusoidMlp(nn.Sequential):
    """Sinusoid of a number through a two-layer SiLU MLP."""

    def __init__(self, dim: int, embed_dim: int) -> None:
        super().__init__(nn.Linear(dim, embed_dim), nn.SiLU(), nn.Linear(embed_dim, embed_dim))
        self.dim = dim

    def sinusoid(self, numbers: Tensor) -> Tensor:
        """Of numbers of any shape (...): (..., D)."""
        sinusoid = timestep_sinusoid(numbers.flatten(), self.dim, cos_first=True, inclusive=False)
        return sinusoid.unflatten(0, numbers.shape)

    def forward(self, numbers: Tensor, of_clip: Tensor | None = None) -> Tensor:
        """Embed numbers of any shape (...) as (..., E); what else clips are told, (B, D), is added to the sinusoids."""
        sinusoid = self.sinusoid(numbers)
        return super().forward(sinusoid if of_clip is None else add_of_clip(sinusoid, of_clip))


class StagedUNet(nn.Module):
    """Stages down, a middle, and stages up that each start from what came from below beside the mirrored stage's.

    Args:
        enter: the first stage, to `widths[0]` channels.
        widths: channels behind the first stage, and of every level.
        blocks_per_level: residual blocks of a level on the way down; one more on the way up.
        resnet: builds a residual block between two widths.
        behind: builds what stands behind it, for the index of a level, None in the middle, and a width.
    """

    per_frame_timesteps = True

    def __init__(
        self,
        enter: Stage,
        widths: Sequence[int],
        blocks_per_level: int,
        resnet: Callable[[int, int], nn.Module],
        behind: Callable[[int | None, int], Sequence[nn.Module]],
    ) -> None:
        super().__init__()
        width, *levels = widths
        self.num_levels, self.blocks_per_level = len(levels), blocks_per_level

        def block(level: int, wide_in: int, wide_out: int) -> list[nn.Module]:
            return [resnet(wide_in, wide_out), *behind(level, wide_out)]

        self.encoder, skips = nn.ModuleList([enter]), [width]
        for level, wide in enumerate(levels):
            for _ in range(blocks_per_level):
                self.encoder.append(Stage(*block(level, width, wide)))
                skips.append(width := wide)
            if level < self.num_levels - 1:
                self.encoder.append(Stage(Downsample(width)))
                skips.append(width)
        self.middle = Stage(resnet(width, width), *behind(None, width), resnet(width, width))
        self.decoder = nn.ModuleList()
        for level, wide in reversed(list(enumerate(levels))):
            for index in range(blocks_per_level + 1):
                layers, width = block(level, width + skips.pop(), wide), wide
                up = [Upsample(width)] if level and index == blocks_per_level else []
                self.decoder.append(Stage(*layers, *up))

    @property
    def named_blocks(self) -> dict[str, nn.Module]:
        """The stages, numbered on the way down and again on the way up."""
        down = {f"encoder-{index}": stage for index, stage in enumerate(self.encoder)}
        up = {f"decoder-{index}": stage for index, stage in enumerate(self.decoder)}
        return {**down, "middle": self.middle, **up}

    def through_stages(self, x: Tensor, told: Told) -> Tensor:
        """Latents (B F, C, H, W) to features (B F, D, H, W)."""
        skips = []
        for stage in self.encoder:
            x = stage(x, told)  # (B F, D', H', W')
            skips.append(x)
        x = self.middle(x, told)
        for stage in self.decoder:
            x = stage(torch.cat([x, skips.pop()], dim=1), told)
        return x

    def check_clips(
        self, noisy_latents: Tensor, timesteps: Tensor, conditioning: Conditioning, in_channels: int
    ) -> None:
        """Refuse latents and timesteps of the wrong shape, and images behind a clip, in words."""
        name, shape, multiple = type(self).__name__, tuple(noisy_latents.shape), 2 ** (self.num_levels - 1)
        if len(shape) != 5 or shape[1] != in_channels:
            raise StbenchError(f"{name} expects latents (B, {in_channels}, F, H, W), got {shape}")
        if shape[3] % multiple or shape[4] % multiple:
            nearest = " x ".join(str(max(1, round(side / multiple)) * multiple) for side in shape[3:])
            raise StbenchError(
                f"{name} halves {self.num_levels - 1} times: H x W = {shape[3]} x {shape[4]} must be multiples of "
                f"{multiple}, the nearest is {nearest}"
            )
        B, num_frames = shape[0], shape[2]
        if tuple(timesteps.shape) not in ((B,), (B, num_frames)):
            expected = f"(B,) = ({B},) or (B, F) = ({B}, {num_frames})"
            raise StbenchError(f"timesteps: expected {expected}, got {tuple(timesteps.shape)}")
        if conditioning.num_images:
            raise StbenchError(f"{name} has no image-video joint training: set train.joint_images=0")


def add_of_clip(embedding: Tensor, of_clip: Tensor) -> Tensor:
    """An embedding of clips (B, E), or of each of their frames (B, F, E), and another one of clips (B, E)."""
    return embedding + (of_clip if embedding.ndim == 2 else of_clip[:, None])


def per_frame(embedding: Tensor, num_frames: int) -> Tensor:
    """An embedding of clips (B, E), or of each of their frames (B, F, E), to that of frames in the batch (B F, E)."""
    if embedding.ndim == 2:
        embedding = embedding[:, None]
    return embedding.expand(-1, num_frames, -1).flatten(0, 1)


def check_widths(
    widths: Sequence[int], attention_levels: Sequence[int], norm_groups: int, divisor: int, divisor_name: str
) -> None:
    """Refuse figures that group norms and heads cannot divide, or levels that are not there.

    Args:
        widths: as of `StagedUNet`.
        attention_levels: indices of the levels with attention; the middle always has it.
        norm_groups: of every group norm.
        divisor: of the channels of attention.
        divisor_name: the argument that it is.
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
        if widths[level + 1] % divisor:
            raise StbenchError(
                f"{divisor_name}={divisor} does not divide the {widths[level + 1]} channels of level {level}"
            )

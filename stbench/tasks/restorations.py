"""Restorations: tasks in which a part of a real clip is given, as channels beside the noise.

`interpolate` is Make-A-Video's frame interpolation (arXiv 2209.14792, section 3.3): some frames are given, the others
masked, and one more channel says which is which. `upscale` is its super-resolution (section 3.2): a clip of fewer
pixels is given, enlarged to the size that is asked for. `animate` is AnimateAnything's task (arXiv 2311.12886): a first
frame is given, where the clip moves and how much. `generate` gives nothing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from stbench.errors import StbenchError
from stbench.settings.schema import Settings

Encode = Callable[[Tensor], Tensor]
"""Clips (B, 3, F, H, W) in [-1, 1] to latents (B, C, F, H', W')."""

Clips = NDArray[np.uint8]
"""(N, F, H, W, 3)."""

MOVED = 0.1  # a change of a latent from the first frame's that counts as motion


class Restoration(ABC):
    """A task in which a clip is to be made whole from a part of it: which part, and what is missing.

    Attributes:
        shared_noise: whether the frames of a clip are sampled from one noise.
    """

    shared_noise = False

    @abstractmethod
    def num_channels(self, latent_channels: int) -> int:
        """E, how many channels that part takes, where latents have C."""

    @abstractmethod
    def of(self, clips: Tensor, latents: Tensor, encode: Encode) -> Tensor:
        """What is told of real clips (B, 3, F, H, W) and their latents (B, C, F, H', W'): (B, E, F, H', W')."""

    @abstractmethod
    def plain(self, clips: Tensor) -> Tensor:
        """What anyone makes of the given part of clips (B, 3, F, H, W) without a network: as many clips."""

    @abstractmethod
    def made(self, num_frames: int) -> list[int]:
        """The frames that are to be made, of which there is at least a part missing."""

    @abstractmethod
    def describe(self) -> str:
        """What is given, in words."""

    @abstractmethod
    def check_fit(self, num_frames: int, image_size: int) -> None:
        """Refuse clips of which nothing could be given, or everything.

        Raises:
            StbenchError: naming both numbers.
        """


class Stage(Restoration):
    """A restoration that finishes what another run made: a stage of a cascade."""

    @abstractmethod
    def given_size(self, image_size: int) -> int:
        """H = W of what is given of clips of that size."""

    @abstractmethod
    def concat(self, part: Tensor, num_frames: int, encode: Encode) -> Tensor:
        """What a network for clips of `num_frames` is told where only the part (B, 3, F', h, w) is there: as `of`."""

    @abstractmethod
    def windows(self, num_given: int, num_frames: int) -> list[range]:
        """Which of so many frames a network for clips of `num_frames` is given, call after call.

        Raises:
            StbenchError: they cannot be shared out.
        """

    @abstractmethod
    def num_joined(self, num_given: int) -> int:
        """How many frames are made of so many given ones."""

    @abstractmethod
    def join(self, given: Clips, made: Clips, windows: Sequence[range]) -> Clips:
        """Whole clips from what was made of each window of the given ones.

        Args:
            given: (N, F', h, w, 3)
            made: (N, windows, F, H, W, 3)
            windows: of the given frames.

        Returns:
            (N, `num_joined` of F', H, W, 3)
        """


@dataclass(frozen=True)
class Interpolation(Stage):
    """Every n-th frame and the last one are given, the others are black, and a mask says which.

    Attributes:
        keep_every: n.
    """

    keep_every: int

    def num_channels(self, latent_channels: int) -> int:
        """The latents' and the mask's."""
        return latent_channels + 1

    def mask(self, num_frames: int) -> Tensor:
        """(F,): 1 for a frame that is given, 0 for one to be made."""
        frames = torch.arange(num_frames)
        return ((frames % self.keep_every == 0) | (frames == num_frames - 1)).float()

    def of(self, clips: Tensor, latents: Tensor, encode: Encode) -> Tensor:
        """The given frames' latents, zeros for the others, and the mask."""
        mask = self.mask(latents.shape[2]).to(latents)[:, None, None]  # (F, 1, 1)
        return torch.cat([latents * mask, mask.expand_as(latents[:, :1])], dim=1)

    def given_size(self, image_size: int) -> int:
        """See `Stage.given_size`."""
        return image_size

    def concat(self, part: Tensor, num_frames: int, encode: Encode) -> Tensor:
        """See `Stage.concat`."""
        clips = part.new_zeros(*part.shape[:2], num_frames, *part.shape[3:])
        clips[:, :, self.mask(num_frames) == 1] = part
        return self.of(clips, encode(clips), encode)

    def windows(self, num_given: int, num_frames: int) -> list[range]:
        """Neighbours share a frame; see `Stage.windows`."""
        steps, rest = divmod(num_frames - 1, self.keep_every)  # from one given frame of a window to the next
        if rest:
            raise StbenchError(
                f"interpolate.keep_every={self.keep_every}: the last two frames given of "
                f"dataset.num_frames={num_frames} are only {rest} apart: expected {self.keep_every} times a whole "
                "number, and 1"
            )
        if (num_given - 1) % steps:
            raise StbenchError(
                f"is given {steps + 1} frames at once, of which neighbours share one: "
                f"expected clips of {steps} times a whole number of frames, and 1, got {num_given}"
            )
        return [range(start, start + steps + 1) for start in range(0, num_given - 1, steps)]

    def num_joined(self, num_given: int) -> int:
        """See `Stage.num_joined`."""
        return (num_given - 1) * self.keep_every + 1

    def join(self, given: Clips, made: Clips, windows: Sequence[range]) -> Clips:
        """See `Stage.join`; the given frames stay as they are."""
        joined = np.empty((len(given), self.num_joined(given.shape[1]), *given.shape[2:]), np.uint8)
        for number, window in enumerate(windows):
            start = window.start * self.keep_every
            joined[:, start : start + made.shape[2]] = made[:, number]
        joined[:, :: self.keep_every] = given
        return joined

    def plain(self, clips: Tensor) -> Tensor:
        """Each frame to be made is the mean of the given frames before and after it, the nearer one counting more."""
        given = self.mask(clips.shape[2]).nonzero()[:, 0].tolist()
        frames = [clips[:, :, 0]]
        for start, end in pairwise(given):
            shares = torch.linspace(0, 1, end - start + 1)[1:].tolist()
            frames += [torch.lerp(clips[:, :, start], clips[:, :, end], share) for share in shares]
        return torch.stack(frames, dim=2)

    def made(self, num_frames: int) -> list[int]:
        """Those that are not given."""
        return (self.mask(num_frames) == 0).nonzero()[:, 0].tolist()

    def describe(self) -> str:
        """What is given, in words."""
        return f"1 of {self.keep_every} frames and the last"

    def check_fit(self, num_frames: int, image_size: int) -> None:
        """See `Restoration.check_fit`."""
        if self.mask(num_frames).all():
            raise StbenchError(
                f"interpolate.keep_every={self.keep_every}: of dataset.num_frames={num_frames} nothing is left to make"
            )


@dataclass(frozen=True)
class Upscaling(Stage):
    """A smaller clip is given: the mean of each square of pixels, enlarged by bilinear interpolation.

    Attributes:
        factor: how much smaller each side is.
        shared_noise: see `Restoration`; Make-A-Video's spatial stage samples every frame from one noise, so that what
            it adds to equal frames is equal.
    """

    factor: int
    shared_noise: bool = False

    def num_channels(self, latent_channels: int) -> int:
        """The latents' own."""
        return latent_channels

    def of(self, clips: Tensor, latents: Tensor, encode: Encode) -> Tensor:
        """The latents of the enlarged clip."""
        return encode(self.plain(clips))

    def given_size(self, image_size: int) -> int:
        """See `Stage.given_size`."""
        return image_size // self.factor

    def concat(self, part: Tensor, num_frames: int, encode: Encode) -> Tensor:
        """See `Stage.concat`."""
        return encode(self.enlarged(part))

    def windows(self, num_given: int, num_frames: int) -> list[range]:
        """The last one goes over frames again where they do not come out even; see `Stage.windows`."""
        if num_given < num_frames:
            raise StbenchError(f"is given {num_frames} frames at once: expected clips of no fewer, got {num_given}")
        starts = [*range(0, num_given - num_frames, num_frames), num_given - num_frames]
        return [range(start, start + num_frames) for start in starts]

    def num_joined(self, num_given: int) -> int:
        """See `Stage.num_joined`."""
        return num_given

    def join(self, given: Clips, made: Clips, windows: Sequence[range]) -> Clips:
        """See `Stage.join`."""
        joined = np.empty((*given.shape[:2], *made.shape[3:]), np.uint8)
        for number, window in enumerate(windows):
            joined[:, window.start : window.stop] = made[:, number]
        return joined

    def shrunk(self, clips: Tensor) -> Tensor:
        """Clips (B, 3, F, H, W) at (B, 3, F, H / factor, W / factor)."""
        return F.avg_pool3d(clips, (1, self.factor, self.factor))

    def enlarged(self, clips: Tensor) -> Tensor:
        """Clips (B, 3, F, h, w) at (B, 3, F, factor * h, factor * w)."""
        scale = (1.0, float(self.factor), float(self.factor))
        return F.interpolate(clips, scale_factor=scale, mode="trilinear", align_corners=False)

    def plain(self, clips: Tensor) -> Tensor:
        """The smaller clip, enlarged."""
        return self.enlarged(self.shrunk(clips))

    def made(self, num_frames: int) -> list[int]:
        """All of them."""
        return list(range(num_frames))

    def describe(self) -> str:
        """What is given, in words."""
        return f"the clip at 1/{self.factor} of its height and width"

    def check_fit(self, num_frames: int, image_size: int) -> None:
        """See `Restoration.check_fit`."""
        if image_size % self.factor:
            nearest = max(1, round(image_size / self.factor)) * self.factor
            raise StbenchError(
                f"upscale.factor={self.factor} does not divide dataset.image_size={image_size}: "
                f"the nearest size is {nearest}"
            )


@dataclass(frozen=True)
class Animation(Restoration):
    """The first frame is given, where the clip leaves it, and how much it moves."""

    def num_channels(self, latent_channels: int) -> int:
        """The latents', that of the mask and that of the strength."""
        return latent_channels + 2

    def of(self, clips: Tensor, latents: Tensor, encode: Encode) -> Tensor:
        """For every frame the first one's latents, a mask that is 1 where any frame differs, and the strength."""
        first = latents[:, :, :1]
        mask = ((latents - first).abs().amax(dim=(1, 2), keepdim=True) > MOVED).to(latents)  # (B, 1, 1, H, W)
        strength = motion_strength(latents)[:, None, None, None, None]
        whole = [each.expand_as(latents[:, :1]) for each in (mask, strength)]
        return torch.cat([first.expand_as(latents), *whole], dim=1)

    def plain(self, clips: Tensor) -> Tensor:
        """The first frame stands still."""
        return clips[:, :, :1].expand_as(clips)

    def made(self, num_frames: int) -> list[int]:
        """All but the first."""
        return list(range(1, num_frames))

    def describe(self) -> str:
        """What is given, in words."""
        return "the first frame, where the clip leaves it, and how much it moves"

    def check_fit(self, num_frames: int, image_size: int) -> None:
        """See `Restoration.check_fit`."""
        if num_frames < 2:
            raise StbenchError(f"task=animate: of dataset.num_frames={num_frames} nothing is left to make")


def motion_strength(latents: Tensor) -> Tensor:
    """How much clips move: 10 times the sum over their frames of the mean change from each to the next.

    Args:
        latents: (B, C, F, H, W), in AnimateAnything as Stable Diffusion's autoencoder scales them.

    Returns:
        (B,)
    """
    return 10 * latents.diff(dim=2).abs().mean(dim=(1, 3, 4)).sum(dim=1)


def restoration_of(settings: Settings) -> Restoration | None:
    """The restoration of a run's task; None for `generate`.

    Raises:
        StbenchError: a setting of another task was changed, which nothing would read.
    """
    for task, own in (("interpolate", settings.interpolate), ("upscale", settings.upscale)):
        changed = [name for name, value in vars(own).items() if value != getattr(type(own)(), name)]
        if changed and settings.task != task:
            raise StbenchError(f"{task}.{changed[0]} is of task={task}, and this is task={settings.task}")
    if settings.task == "interpolate":
        return Interpolation(settings.interpolate.keep_every)
    if settings.task == "upscale":
        return Upscaling(settings.upscale.factor, settings.upscale.shared_noise)
    return Animation() if settings.task == "animate" else None

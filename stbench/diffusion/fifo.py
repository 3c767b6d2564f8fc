"""FIFO-Diffusion: clips of any length from a backbone of f frames, without training (arXiv 2405.11473).

A queue holds S = f n frames on the diagonal of time and noise: the first has one step left to be clean, the last is
pure noise. A round takes every frame one step down, so that the first is clean and leaves; fresh noise comes in behind.
The backbone sees f neighbours at once, each with a timestep of its own. With lookahead a window's cleaner half is only
looked at, and the noisier half is taken down, in twice as many windows. Memory does not grow with the length.

The authors' code leaves the noise of the lowest level in the frames, since its last step does nothing; here the last
step is that of the sampler, so that a frame that no other moves is what the sampler alone would make.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

import torch
from torch import Tensor

from stbench.errors import StbenchError

Predict = Callable[[Tensor, Tensor], Tensor]
"""(noisy_latents (B,C,F,H,W), timestep scalar, or (F,) one for each frame) -> guided prediction, float32."""
StepNoise = Callable[[Tensor], Tensor]
"""Standard normal noise of the shape and device of its argument."""


class Levels(Protocol):
    """The noise levels that a sampler goes down: (S,) timesteps, and a step from one level to the next."""

    timesteps: Tensor

    def descend(self, latents: Tensor, prediction: Tensor, steps: Tensor, draw_noise: StepNoise) -> Tensor:
        """Take latents (B,C,F,H,W) at steps (1,F) one step down."""

    def noised(self, clean: Tensor, noise: Tensor, steps: Tensor) -> Tensor:
        """Clean latents (B,C,F,H,W) as they are before steps (1,F)."""


@dataclass(frozen=True)
class Queue:
    """The queue's shape.

    Attributes:
        num_steps: S, also its length.
        window: f, the frames that the backbone sees.
        lookahead: see the module.

    Raises:
        StbenchError: S is no multiple of f, or lookahead cannot halve f.
    """

    num_steps: int
    window: int
    lookahead: bool

    def __post_init__(self) -> None:
        if self.num_steps % self.window:
            lower = self.num_steps // self.window * self.window
            nearest = f"{lower} or {lower + self.window}" if lower else str(self.window)
            raise StbenchError(
                f"num_sampling_steps={self.num_steps}: a queue needs a multiple of the {self.window} frames that the "
                f"backbone sees, e.g. {nearest}"
            )
        if self.lookahead and self.window % 2:
            raise StbenchError(f"a backbone of {self.window} frames has no half to look ahead from: take -disjoint")

    @property
    def num_seen(self) -> int:
        """Frames of a window that are only looked at; as many clean ones stand before the queue."""
        return self.window // 2 if self.lookahead else 0

    @property
    def num_windows(self) -> int:
        """Calls of the backbone in a round: n, or 2n with lookahead."""
        return self.num_steps // (self.window - self.num_seen)

    def num_rounds(self, num_frames: int) -> int:
        """Rounds until so many frames have left: the first S - f of them, copies of one, are thrown away."""
        return num_frames + self.num_steps - self.window

    def sample(
        self,
        predict: Predict,
        noise: Tensor,
        levels: Levels,
        draw_noise: StepNoise,
        progress: Callable[[int, int], None],
    ) -> Tensor:
        """Turn noise (B,C,N,H,W) into latents of N frames.

        The first f frames of the noise, or as many of other noise, become the clip that the queue begins with.
        """
        num_frames = noise.shape[2]
        first = noise[:, :, : self.window]
        if first.shape[2] < self.window:
            first = draw_noise(noise[:, :, :1].expand(-1, -1, self.window, -1, -1))
        for step in reversed(range(self.num_steps)):
            at = torch.full((1, self.window), step, device=noise.device)
            first = levels.descend(first, predict(first, levels.timesteps[step]), at, draw_noise)
        made, warm_up, rounds = [], self.num_steps - self.window, self.num_rounds(num_frames)
        for done, frame in enumerate(islice(self.frames(predict, first, levels, draw_noise), rounds), start=1):
            made += [frame] if done > warm_up else []
            progress(done, rounds)
        return torch.stack(made, dim=2)

    def frames(self, predict: Predict, clip: Tensor, levels: Levels, draw_noise: StepNoise) -> Iterator[Tensor]:
        """Yield frames (B,C,H,W) without end, those of `clip` (B,C,f,H,W) first, after S - f copies of its first."""
        slots = torch.arange(self.num_steps, device=clip.device)
        order = (slots - (self.num_steps - self.window)).clamp(min=0)
        start = clip[:, :, order]
        seen = clip[:, :, :1].expand(-1, -1, self.num_seen, -1, -1)
        queue = torch.cat([seen, levels.noised(start, draw_noise(start), slots[None])], dim=2)
        steps = torch.cat([slots.new_zeros(self.num_seen), slots])  # those that are looked at pass for nearly clean
        while True:
            self._take_down(queue, steps, predict, levels, draw_noise)
            yield queue[:, :, self.num_seen]
            queue = torch.cat([queue[:, :, 1:], draw_noise(queue[:, :, :1])], dim=2)

    def _take_down(self, queue: Tensor, steps: Tensor, predict: Predict, levels: Levels, draw_noise: StepNoise) -> None:
        """Take every frame of the queue one step down, the noisiest window first: each sees the others as they were."""
        stride = self.window - self.num_seen
        for start in reversed(range(0, self.num_steps, stride)):
            window = slice(start, start + self.window)
            part, at = queue[:, :, window], steps[window]
            stepped = levels.descend(part, predict(part, levels.timesteps[at]), at[None], draw_noise)
            queue[:, :, start + self.num_seen : start + self.window] = stepped[:, :, self.num_seen :]

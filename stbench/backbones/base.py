"""What a backbone is, and what its `forward` receives; `contract` has the rules that it must keep.

A backbone is any `nn.Module` whose constructor takes keyword arguments and whose `forward` is

    forward(noisy_latents (B,C,F,H,W), timesteps (B,), conditioning) -> prediction (B,C or 2C,F,H,W)

One that takes timesteps (B, F) as well, one for each frame, says so: `per_frame_timesteps` is true.

Timesteps are integers from 0 to 999 under the objectives "ddpm" and "x0", and numbers from 0 to 1000 under "flow",
where sampling begins at 1000. The prediction has 2C channels when the backbone was built with `learned_variance=True`:
the predicted noise first, the interpolation weights of the variance after it.

Some constructor arguments are facts of the run, not choices of the variant: `in_channels`, `sample_size` (H = W of
the latents), `num_frames`, `num_classes` (0 when unconditional) and `learned_variance`. A run hands on those that the
constructor has; a fully convolutional network simply does not list `sample_size`.

A backbone whose authors guide fewer than the C channels of the noise says how many, from the first, in an attribute
`published_guided_channels`. One that cuts clips into tokens may say into how many in an attribute `num_tokens`. One
whose blocks return features of single frames, (B, F, ...), may list them in order of depth in `frame_blocks`. One that
reads a context says in `context_shape` of which shape, (L, D) of one clip, its published costs are; None where the
class stands in for it. One that gives its network inputs that no run has says which, and what they are given, in
`fills_in`. One whose blocks stand in a table somewhere may list them by their names there in `named_blocks`: each is
called with features (..., C, H, W) and returns such. One that reads a first frame, a mask and a strength of motion as
such, and needs no channels for them under `task=animate`, says so: `animates` is true. One that reads the frame rate of
clips says so: `reads_frame_rate` is true.

Letters used in every file here: B batch, C channels, F frames, H height, W width, N tokens of one frame, D width of a
token, K images appended to a clip. `t` is only ever the diffusion timestep.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

RUN_FACTS = ("in_channels", "sample_size", "num_frames", "num_classes", "learned_variance")


@dataclass(frozen=True)
class Conditioning:
    """Everything a prediction may depend on besides the noisy latents and the timestep.

    Attributes:
        class_labels: (B,) integers in [0, num_classes]; `num_classes` itself is the null class of guidance.
        context: text embedding, (B, L, E) tokens or (B, E) pooled.
        fps: (B,) frames per second.
        num_images: how many of the last frames are independent images (image-video joint training).
        image_labels: (B, K) class labels of those images; only with `num_images`, in class-conditional training.
        concat: (B, E, F, H, W), what is given of the clip itself, concatenated with the noisy latents as channels.
        first_frame: (B, C, 1, H, W), clean latents of the frame that the clip goes on from.
        motion_mask: (B, 1, 1, H, W), 1 where the clip may move, 0 where it stays as that frame.
        motion_strength: (B,), how much it moves (`tasks.restorations.motion_strength`).
    """

    class_labels: Tensor | None = None
    context: Tensor | None = None
    fps: Tensor | None = None
    num_images: int = 0
    image_labels: Tensor | None = None
    concat: Tensor | None = None
    first_frame: Tensor | None = None
    motion_mask: Tensor | None = None
    motion_strength: Tensor | None = None

    def to(self, device: torch.device) -> Conditioning:
        """The same conditioning on another device."""
        tensors = {name: value.to(device) for name, value in vars(self).items() if isinstance(value, Tensor)}
        return replace(self, **tensors)  # type: ignore[arg-type]

    def at_rate(self, fps: float | None, batch_size: int) -> Conditioning:
        """The same for so many clips of so many frames per second; None where that is not told."""
        return replace(self, fps=None if fps is None else torch.full((batch_size,), fps))


UNCONDITIONAL = Conditioning()

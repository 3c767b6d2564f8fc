"""Parts that the staged U-Nets share."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from stbench.backbones.videocrafter_unet.stages import (
    ClipNorm,
    Downsample,
    FrameNorm,
    SinusoidMlp,
    Stage,
    Told,
    Upsample,
    add_of_clip,
    clips_to_frames,
    frames_to_clips,
    per_frame,
)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_clips_and_frames_are_each_others_inverse() -> None:
    clips = normal(2, 3, 4, 5, 6)
    assert torch.equal(frames_to_clips(clips_to_frames(clips), 4), clips)
    assert torch.equal(clips_to_frames(clips)[5], clips[1, :, 1])


def test_an_embedding_of_clips_is_that_of_all_their_frames() -> None:
    clips, frames = normal(2, 5), normal(2, 3, 5)
    assert torch.equal(per_frame(clips, 3), clips[[0, 0, 0, 1, 1, 1]])
    assert torch.equal(per_frame(frames, 3), frames.reshape(6, 5))
    assert torch.equal(add_of_clip(clips, clips), 2 * clips)
    assert torch.equal(add_of_clip(frames, clips), frames + clips.reshape(2, 1, 5))


def test_resolution_is_halved_and_doubled() -> None:
    x, nothing = normal(2, 4, 6, 8), Told(torch.empty(0), (), 1)
    down, up = Downsample(4), Upsample(4)
    assert Stage(down, up)(x, nothing).shape == x.shape
    assert torch.equal(down(x, nothing), F.conv2d(x, down.conv.weight, down.conv.bias, stride=2, padding=1))
    doubled = x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    assert torch.equal(up(x, nothing), F.conv2d(doubled, up.conv.weight, up.conv.bias, padding=1))


def test_norms_of_frames_and_of_clips() -> None:
    x = normal(6, 8, 2, 3)
    torch.testing.assert_close(FrameNorm(4, 8)(x, 3), F.group_norm(x, 4))
    pooled = x.reshape(2, 3, 4, 2, 2, 3)  # (B, F, groups, channels of a group, H, W)
    axes = (1, 3, 4, 5)
    deviations = pooled.var(axes, unbiased=False, keepdim=True).add(1e-5).sqrt()
    expected = (pooled - pooled.mean(axes, keepdim=True)) / deviations
    torch.testing.assert_close(ClipNorm(4, 8)(x, 3), expected.view_as(x))


def test_what_clips_are_told_is_added_before_the_layers() -> None:
    torch.manual_seed(0)
    embed, frames, of_clip = SinusoidMlp(4, 6), torch.tensor([[1.0, 2.0], [3.0, 4.0]]), normal(2, 4)
    told = embed(frames, of_clip)
    hidden = F.silu(embed[0](embed.sinusoid(frames) + of_clip.reshape(2, 1, 4)))
    torch.testing.assert_close(told, embed[2](hidden))
    assert torch.equal(embed(frames, torch.zeros(2, 4)), embed(frames))

"""The queue of FIFO-Diffusion by its identities: what single frames become, what sees what, and what it costs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from stbench.backbones.base import UNCONDITIONAL, Conditioning
from stbench.backbones.latte import Latte
from stbench.diffusion.fifo import Queue
from stbench.diffusion.samplers import DdimLevels, EulerLevels, Sampling, calls_per_clip, sample
from stbench.errors import StbenchError

SHAPE = (2, 1, 4, 2, 2)  # (B, C, f, H, W)
DDIM = Sampling(objective="ddpm", sampler="fifo-ddim", num_sampling_steps=8, num_classes=0, window=4)
EULER = replace(DDIM, objective="flow", sampler="fifo-euler")


class Toy(nn.Module):
    """Predicts from each value and its frame's timestep; with `mixing` from the mean over the frames as well."""

    per_frame_timesteps = True

    def __init__(self, out_channels: int, mixing: float = 0.0) -> None:
        super().__init__()
        self.out_channels, self.mixing = out_channels, mixing
        self.seen: list[tuple[tuple[int, ...], Tensor]] = []

    def forward(self, x: Tensor, timesteps: Tensor, conditioning: Conditioning) -> Tensor:
        self.seen.append((tuple(x.shape), timesteps))
        t = timesteps.float()[:, None, :, None, None] if timesteps.ndim == 2 else timesteps.float().view(-1, 1, 1, 1, 1)
        mixed = x + self.mixing * x.mean(dim=2, keepdim=True)
        out = torch.sin(mixed) * (0.5 + t / 2000)
        return out.repeat(1, self.out_channels, 1, 1, 1)


def toy(sampling: Sampling, mixing: float = 0.0) -> Toy:
    return Toy(2 if sampling.objective == "ddpm" else 1, mixing)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class Noise:
    """Fresh noise, and all of it that was drawn."""

    def __init__(self) -> None:
        self.generator, self.drawn = torch.Generator().manual_seed(1), list[Tensor]()

    def __call__(self, like: Tensor) -> Tensor:
        self.drawn.append(torch.randn(like.shape, generator=self.generator))
        return self.drawn[-1]


def predict_by(backbone: nn.Module) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda x, t: backbone(x, t.expand(len(x), *t.shape), UNCONDITIONAL)


def levels_of(sampling: Sampling) -> Any:
    return (DdimLevels if sampling.objective == "ddpm" else EulerLevels)(sampling, torch.device("cpu"))


def alone(frame: Tensor, backbone: nn.Module, sampling: Sampling) -> Tensor:
    """What the sampler by itself makes of the noise of a frame (B, C, H, W)."""
    plain = replace(sampling, sampler="ddim" if sampling.objective == "ddpm" else "euler", window=None)
    return sample(backbone, frame[:, :, None], UNCONDITIONAL, plain)[:, :, 0]


@pytest.mark.parametrize("sampling", [DDIM, EULER], ids=["ddim", "euler"])
@pytest.mark.parametrize("disjoint", ["", "-disjoint"])
@pytest.mark.parametrize("steps", [4, 8, 16])
def test_a_frame_that_no_other_moves_is_the_samplers_own(sampling: Sampling, disjoint: str, steps: int) -> None:
    """Noise that enters after round j leaves clean after round j + S, to the last bit."""
    sampling = replace(sampling, num_sampling_steps=steps, sampler=sampling.sampler + disjoint)
    backbone, noise, rounds = toy(sampling), Noise(), steps + 5
    queue = Queue(steps, 4, lookahead=not disjoint)
    frames = queue.frames(predict_by(backbone), normal(*SHAPE), levels_of(sampling), noise)
    left = [next(frames) for _ in range(rounds)]
    entered = noise.drawn[1:]  # after that of the frames that the queue began with
    for j in range(rounds - steps):
        assert torch.equal(left[j + steps], alone(entered[j][:, :, 0], backbone, sampling))


@pytest.mark.parametrize("sampling", [DDIM, EULER], ids=["ddim", "euler"])
def test_a_queue_of_windows_of_one_frame_is_the_sampler_for_any_network(sampling: Sampling) -> None:
    backbone, noise, steps = toy(sampling, mixing=0.7), Noise(), 8
    queue = Queue(steps, 1, lookahead=False)
    frames = queue.frames(predict_by(backbone), normal(2, 1, 1, 2, 2), levels_of(sampling), noise)
    left = [next(frames) for _ in range(steps + 3)]
    for j in range(3):
        assert torch.equal(left[j + steps], alone(noise.drawn[1 + j][:, :, 0], backbone, sampling))


@pytest.mark.parametrize("lookahead", [True, False])
def test_every_window_sees_the_frames_as_they_were(lookahead: bool) -> None:
    """Going from the noisiest window down is the same as taking all of them from the old queue at once."""
    queue, backbone, levels = Queue(8, 4, lookahead), toy(DDIM, mixing=0.7), levels_of(DDIM)
    seen, stride = queue.num_seen, 4 - queue.num_seen
    old = normal(2, 1, seen + 8, 2, 2)
    steps = torch.cat([torch.zeros(seen, dtype=torch.long), torch.arange(8)])
    new, predict = old.clone(), predict_by(backbone)
    queue._take_down(new, steps, predict, levels, Noise())
    for start in range(0, 8, stride):
        part, at = old[:, :, start : start + 4], steps[start : start + 4]
        stepped = levels.descend(part, predict(part, levels.timesteps[at]), at[None], Noise())
        assert torch.equal(new[:, :, start + seen : start + 4], stepped[:, :, seen:])
    assert torch.equal(new[:, :, :seen], old[:, :, :seen])


@pytest.mark.parametrize(("lookahead", "windows"), [(True, 4), (False, 2)])
@pytest.mark.parametrize("num_frames", [2, 4, 11])
def test_calls_and_memory(lookahead: bool, windows: int, num_frames: int) -> None:
    """2n or n calls a frame, each of f frames whatever the length; S of one timestep, and warm-up, before the first."""
    sampling = DDIM if lookahead else replace(DDIM, sampler="fifo-ddim-disjoint")
    backbone = toy(sampling)
    out = sample(backbone, normal(2, 1, num_frames, 2, 2), UNCONDITIONAL, sampling, draw_noise=Noise())
    assert out.shape == (2, 1, num_frames, 2, 2)
    assert {shape for shape, _ in backbone.seen} == {SHAPE}
    assert len(backbone.seen) == 8 + windows * (num_frames + 8 - 4) == calls_per_clip(sampling, num_frames)


def test_timesteps_of_the_windows() -> None:
    """Sixteen frames and n = 4, as published: eight windows, the noisiest first, the last behind eight clean frames."""
    sampling = replace(DDIM, num_sampling_steps=64, window=16)
    backbone = toy(sampling)
    queue, levels = Queue(64, 16, lookahead=True), levels_of(sampling)
    next(queue.frames(predict_by(backbone), normal(2, 1, 16, 2, 2), levels, Noise()))
    tau = [round(999 * i / 63) for i in range(64)]
    windows = [timesteps[0].tolist() for _, timesteps in backbone.seen]
    assert [(each[0], each[-1]) for each in windows] == [
        (761, 999), (634, 872), (507, 745), (381, 618), (254, 492), (127, 365), (0, 238), (0, 111),
    ]  # fmt: skip
    assert windows[0] == tau[48:]
    assert windows[-1] == [0] * 8 + tau[:8]


def test_a_longer_clip_begins_as_a_shorter_one() -> None:
    short, long = (
        sample(toy(DDIM, 0.7), normal(2, 1, 12, 2, 2)[:, :, :frames], UNCONDITIONAL, DDIM, draw_noise=Noise())
        for frames in (6, 12)
    )
    assert torch.equal(long[:, :, :6], short)


def test_noise_on_the_way_is_heeded() -> None:
    quiet, noisy = (
        sample(toy(DDIM), normal(2, 1, 6, 2, 2), UNCONDITIONAL, replace(DDIM, eta=eta), draw_noise=Noise())
        for eta in (0.0, 1.0)
    )
    assert not torch.equal(quiet, noisy)
    assert noisy.isfinite().all()


@pytest.mark.parametrize("objective", ["ddpm", "flow"])
def test_latte_makes_clips_longer_than_its_own(objective: str) -> None:
    sampling, ddpm = (DDIM, True) if objective == "ddpm" else (EULER, False)
    torch.manual_seed(0)
    latte = Latte(
        hidden_size=16, depth=2, num_heads=2, in_channels=2, sample_size=4, num_frames=4, learned_variance=ddpm
    ).eval()
    out = sample(latte, normal(1, 2, 7, 4, 4), UNCONDITIONAL, sampling, draw_noise=Noise())
    assert out.shape == (1, 2, 7, 4, 4)
    assert out.isfinite().all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_sampling_steps": 10}, r"num_sampling_steps=10: .* multiple of the 4 frames .*, e\.g\. 8 or 12"),
        ({"num_sampling_steps": 3}, r"num_sampling_steps=3: .*, e\.g\. 4$"),
        ({"num_sampling_steps": 9, "window": 3}, r"a backbone of 3 frames has no half .*: take -disjoint"),
        ({"sampler": "ddim"}, r"sampler=ddim makes clips of 4 frames, .*: fifo-ddim or fifo-ddim-disjoint makes 6"),
    ],
)
def test_what_cannot_be_sampled(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(StbenchError, match=message):
        sample(toy(DDIM), normal(2, 1, 6, 2, 2), UNCONDITIONAL, replace(DDIM, **changes))


def test_a_backbone_with_one_timestep_a_clip_is_refused() -> None:
    with pytest.raises(StbenchError, match=r"gives each frame a timestep of its own, which function does not take"):
        sample(lambda x, t, told: x, normal(2, 1, 6, 2, 2), UNCONDITIONAL, EULER)

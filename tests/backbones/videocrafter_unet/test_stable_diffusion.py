"""Stable Diffusion's U-Net with time and without, against the authors' figures and frame by frame."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from stbench.backbones.base import Conditioning
from stbench.backbones.freezing import freeze
from stbench.backbones.trial import fill_zeros
from stbench.backbones.videocrafter_unet.in_time import MotionLayer
from stbench.backbones.videocrafter_unet.stable_diffusion import StableDiffusionUNet
from stbench.errors import StbenchError

TINY: dict[str, Any] = {
    "dim": 16,
    "dim_multipliers": (1, 2),
    "blocks_per_level": 1,
    "attention_levels": (1,),
    "num_heads": 2,
    "norm_groups": 4,
    "context_dim": 12,
}
TUNE_A_VIDEO: dict[str, Any] = {"temporal": "sparse_causal", "clip_norms": True}
MOTION: dict[str, Any] = {"temporal": "motion_module"}
TIMESTEPS = torch.tensor([17, 900])
NOT_TUNED = r"^(?!.*(attn1\.to_q|attn2\.to_q|attn_temp)\.)"  # what the variants' files name
NOT_MOTION = r"^(?!.*\.motion\.)"


def count(module: nn.Module, trained: bool = False) -> int:
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad or not trained)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def filled(**options: Any) -> StableDiffusionUNet:
    """A tiny network without zeros."""
    torch.manual_seed(0)
    network = StableDiffusionUNet(**{**TINY, **options}).eval()
    fill_zeros(network)
    return network


def told(**others: Any) -> Conditioning:
    return Conditioning(context=normal(2, 7, 12, seed=1), **others)


# Against the authors' figures


@pytest.mark.parametrize(
    ("options", "parameters", "motion_modules"),
    [
        ({}, 859_520_964, 0),
        (TUNE_A_VIDEO, 909_120_004, 0),
        ({**MOTION, "middle_motion": False}, 1_276_658_564, 20),
        (MOTION, 1_312_730_244, 21),
    ],
    ids=["stable diffusion", "tune-a-video", "animatediff 1 and 3", "animatediff 2"],
)
def test_parameters_of_the_published_networks(options: dict[str, Any], parameters: int, motion_modules: int) -> None:
    with torch.device("meta"):
        network = StableDiffusionUNet(**options)
    assert count(network) == parameters
    assert sum(isinstance(module, MotionLayer) for module in network.modules()) == motion_modules


@pytest.mark.parametrize(
    ("options", "frozen", "trained", "tensors"),
    [
        (TUNE_A_VIDEO, NOT_TUNED, 74_354_880, 112),
        ({**MOTION, "middle_motion": False}, NOT_MOTION, 417_137_600, 520),
        (MOTION, NOT_MOTION, 453_209_280, 546),
    ],
    ids=["tune-a-video", "animatediff 1 and 3", "animatediff 2"],
)
def test_what_the_authors_train(options: dict[str, Any], frozen: str, trained: int, tensors: int) -> None:
    with torch.device("meta"):
        network = freeze(StableDiffusionUNet(**options), frozen)
    assert count(network, trained=True) == trained
    assert sum(parameter.requires_grad for parameter in network.parameters()) == tensors


@pytest.mark.parametrize(
    ("options", "num_frames", "flops"),
    [
        (TUNE_A_VIDEO, 24, 23_471_857_991_680),
        ({**MOTION, "middle_motion": False}, 16, 17_674_150_215_680),
        (MOTION, 16, 17_748_137_738_240),
    ],
    ids=["tune-a-video", "animatediff 1 and 3", "animatediff 2"],
)
def test_operations_of_the_published_networks(options: dict[str, Any], num_frames: int, flops: int) -> None:
    with torch.device("meta"), torch.no_grad():
        network = StableDiffusionUNet(**options).eval()
        assert network.context_shape == (77, 768)
        with FlopCounterMode(display=False) as counter:
            context = Conditioning(context=torch.empty(1, 77, 768))
            network(torch.empty(1, 4, num_frames, 64, 64), torch.zeros(1), context)
    assert counter.get_total_flops() == flops


# Frame by frame


@pytest.mark.parametrize("options", [{}, MOTION], ids=str)
def test_until_motion_is_trained_it_is_an_image_network(options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    network = StableDiffusionUNet(**{**TINY, **options}).eval()
    motion = [module.motion for module in network.modules() if isinstance(module, MotionLayer)]
    fill_zeros(network)
    for module in motion:
        module.start_as_nothing()
    x = normal(2, 4, 3, 8, 8)
    out = network(x, TIMESTEPS, told())
    alone = torch.cat([network(frame, TIMESTEPS, told()) for frame in x.split(1, dim=2)], dim=2)
    assert out.std() > 0.1
    torch.testing.assert_close(out, alone, rtol=0, atol=1e-5)


def test_norms_over_clips_are_norms_of_frames_where_frames_are_equal() -> None:
    of_frames, of_clips = filled(), filled(clip_norms=True)
    equal, apart = normal(2, 4, 1, 8, 8).expand(-1, -1, 3, -1, -1), normal(2, 4, 3, 8, 8)
    predicted = of_frames(equal, TIMESTEPS, told())
    torch.testing.assert_close(of_clips(equal, TIMESTEPS, told()), predicted, rtol=0, atol=1e-5)
    assert (of_clips(apart, TIMESTEPS, told()) - of_frames(apart, TIMESTEPS, told())).abs().max() > 1e-3


@pytest.mark.parametrize("options", [{}, TUNE_A_VIDEO, MOTION], ids=str)
def test_a_timestep_for_each_frame(options: dict[str, Any]) -> None:
    network, x = filled(**options), normal(2, 4, 3, 8, 8)
    equal = network(x, TIMESTEPS[:, None].expand(2, 3), told())
    torch.testing.assert_close(equal, network(x, TIMESTEPS, told()), rtol=0, atol=1e-5)


def test_a_class_stands_in_for_the_text() -> None:
    network, x = filled(num_classes=3), normal(2, 4, 2, 8, 8)
    first, null = (network(x, TIMESTEPS, Conditioning(class_labels=torch.tensor([0, y]))) for y in (1, 3))
    assert network.context_shape is None
    assert torch.equal(first[0], null[0])
    assert (first[1] - null[1]).abs().max() > 1e-4


# What is refused


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"temporal": "sparse"}, "unknown temporal 'sparse': did you mean 'sparse_causal'?"),
        ({"num_heads": 3}, "num_heads=3 does not divide the 32 channels of level 1"),
        ({"norm_groups": 12}, "dim, dim_multipliers: 16 channels do not divide into norm_groups=12"),
    ],
)
def test_impossible_figures(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(StbenchError) as caught:
        StableDiffusionUNet(**{**TINY, **arguments})
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("shape", "conditioning", "message"),
    [
        ((2, 4, 3, 9, 8), told(), "halves 1 times: H x W = 9 x 8 must be multiples of 2, the nearest is 8 x 8"),
        ((3, 4, 3, 8, 8), told(), r"timesteps: expected \(B,\) = \(3,\)"),
        ((2, 3, 3, 8, 8), told(), r"expects latents \(B, 4, F, H, W\), got \(2, 3, 3, 8, 8\)"),
        (
            (2, 4, 3, 8, 8),
            Conditioning(context=normal(2, 7, 9)),
            r"expected \(B, L, D\) = \(2, L, 12\), got \(2, 7, 9\)",
        ),
        ((2, 4, 3, 8, 8), told(num_images=1), "StableDiffusionUNet has no image-video joint training"),
    ],
)
def test_wrong_input(shape: tuple[int, ...], conditioning: Conditioning, message: str) -> None:
    with pytest.raises(StbenchError, match=message):
        StableDiffusionUNet(**TINY)(normal(*shape), TIMESTEPS, conditioning)

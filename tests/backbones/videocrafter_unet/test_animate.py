"""AnimateAnything's U-Net against the authors' figures, and what a first frame, a mask and a strength do."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from stbench.backbones.base import Conditioning
from stbench.backbones.published import load_published, to_published
from stbench.backbones.trial import fill_zeros
from stbench.backbones.videocrafter_unet.animate import AnimateUNet
from stbench.backbones.videocrafter_unet.network import VideoCrafterUNet
from stbench.errors import StbenchError

TINY: dict[str, Any] = {
    "dim": 16,
    "dim_multipliers": (1, 2),
    "blocks_per_level": 1,
    "attention_levels": (1,),
    "head_dim": 8,
    "norm_groups": 8,
    "context_dim": 12,
}
TIMESTEPS = torch.tensor([17, 900])


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def filled(seed: int = 0, **options: Any) -> AnimateUNet:
    """A tiny network without zeros."""
    torch.manual_seed(seed)
    network = AnimateUNet(**{**TINY, **options}).eval()
    fill_zeros(network)
    return network


def told(**others: Any) -> Conditioning:
    return Conditioning(context=normal(2, 7, 12, seed=1), **others)


# Against the authors' figures


def test_golden_network(golden: Any, formula_input: Any, formula_fill: Any, assert_golden: Any) -> None:
    entry = golden["animate_anything"]
    network = AnimateUNet(dim=32, dim_multipliers=(1, 2, 2, 2), head_dim=16, context_dim=24).requires_grad_().eval()
    names = network.published_layout.names(network)
    formula_fill(network, names.__getitem__)
    assert (count(network), len(names)) == (entry["params"], entry["tensors"])
    conditioning = Conditioning(
        context=formula_input((2, 7, 24), 0.5),
        first_frame=formula_input((2, 4, 1, 16, 16), 0.3),
        motion_mask=(formula_input((2, 1, 1, 16, 16), 0.7) > 0).float(),
        motion_strength=torch.tensor([3, 5]),
    )
    with torch.no_grad():
        assert_golden(network(formula_input((2, 4, 4, 16, 16)), TIMESTEPS, conditioning), entry)


@pytest.mark.parametrize(("size", "flops"), [(64, 22_130_874_916_864), (32, 5_193_113_460_736)])
def test_counts_of_the_published_network(size: int, flops: int) -> None:
    with torch.device("meta"), torch.no_grad():
        network = AnimateUNet().eval()
        mask, strength = torch.empty(1, 1, 1, size, size), torch.empty(1)
        conditioning = Conditioning(context=torch.empty(1, 77, 1024), motion_mask=mask, motion_strength=strength)
        with FlopCounterMode(display=False) as counter:
            network(torch.empty(1, 4, 16, size, size), torch.zeros(1), conditioning)
        names = network.published_layout.names(network)
        modelscope = VideoCrafterUNet(default_fps=None)
    assert counter.get_total_flops() == flops
    assert (count(network), len(names)) == (1_413_401_540, 1487)
    assert count(modelscope) == 1_411_233_860
    parts = {"conv_in2": 14_720, "time_embedding.cond_proj": 102_400, "motion_embedding": 2_050_560}
    for part, expected in parts.items():
        sizes = [network.get_parameter(ours).numel() for ours, name in names.items() if name.startswith(f"{part}.")]
        assert sum(sizes) == expected


def test_its_names_are_those_of_diffusers() -> None:
    """Those of the network that it grew from, and of nothing else but what it adds."""
    diffusers = pytest.importorskip("diffusers", reason="pip install 'stbench[diffusers]'")
    with torch.device("meta"):
        theirs = diffusers.UNet3DConditionModel().state_dict()
        ours = to_published(AnimateUNet())
    shapes = {name: tuple(tensor.shape) for name, tensor in ours.items()}
    added = ("conv_in2.", "time_embedding.cond_proj.", "motion_embedding.")
    assert {name: tuple(tensor.shape) for name, tensor in theirs.items()} == {
        name: shape for name, shape in shapes.items() if not name.startswith(added)
    }
    assert {name: shape for name, shape in shapes.items() if name.startswith(added)} == {
        "conv_in2.weight": (320, 5, 3, 3),
        "conv_in2.bias": (320,),
        "time_embedding.cond_proj.weight": (320, 320),
        "motion_embedding.0.weight": (1280, 320),
        "motion_embedding.0.bias": (1280,),
        "motion_embedding.2.weight": (1280, 1280),
        "motion_embedding.2.bias": (1280,),
    }


def test_published_weights_load_strictly() -> None:
    first, second = filled(), filled(1)
    published = to_published(first)
    load_published(second, published)
    state = second.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in first.state_dict().items())
    published["unet.extra"] = published.pop("conv_in2.bias")
    with pytest.raises(StbenchError, match=r"1 missing \(conv_in2.bias\); 1 left over \(unet.extra\)"):
        load_published(second, published)


# What it is told


def test_without_anything_it_is_modelscope_s_network_behind_a_frame_of_zeros() -> None:
    network, x = filled(), normal(2, 4, 3, 8, 8)
    plain = VideoCrafterUNet(**TINY, default_fps=None).eval()
    state = network.state_dict()
    plain.load_state_dict({name: state[name] for name in plain.state_dict()})
    behind = torch.cat([torch.zeros(2, 4, 1, 8, 8), x], dim=2)
    assert torch.equal(network(x, TIMESTEPS, told()), plain(behind, TIMESTEPS, told())[:, :, 1:])
    first = normal(2, 4, 1, 8, 8, seed=3)
    behind = torch.cat([first, x], dim=2)
    assert torch.equal(network(x, TIMESTEPS, told(first_frame=first)), plain(behind, TIMESTEPS, told())[:, :, 1:])


def test_a_mask_of_everywhere_can_be_what_no_mask_is() -> None:
    """When the convolution behind it is that of the latents alone, and the mask's channel counts for nothing."""
    network, x = filled(), normal(2, 4, 3, 8, 8)
    enter, mask = network.encoder[0][0], torch.ones(2, 1, 1, 8, 8)
    masked = network(x, TIMESTEPS, told(motion_mask=mask))
    assert (masked - network(x, TIMESTEPS, told())).abs().max() > 1e-3
    with torch.no_grad():
        enter.masked.weight.copy_(torch.cat([torch.zeros_like(enter.conv.weight[:, :1]), enter.conv.weight], dim=1))
        enter.masked.bias.copy_(enter.conv.bias)
    masked, unmasked = network(x, TIMESTEPS, told(motion_mask=mask)), network(x, TIMESTEPS, told())
    torch.testing.assert_close(masked, unmasked, rtol=0, atol=1e-5)


def test_strength_counts_clip_by_clip_and_what_nothing_reads_does_not() -> None:
    network, x = filled(), normal(2, 4, 3, 8, 8)
    out, other = (
        network(x, TIMESTEPS, told(motion_strength=torch.tensor(strengths))) for strengths in ([3.0, 5.0], [3.0, 6.0])
    )
    assert torch.equal(out[0], other[0])
    assert (out[1] - other[1]).abs().max() > 1e-4
    for parameter in network.motion_embed.parameters():
        nn.init.normal_(parameter)
    assert torch.equal(network(x, TIMESTEPS, told(motion_strength=torch.tensor([3.0, 5.0]))), out)


def test_a_timestep_for_each_frame() -> None:
    network, x, strength = filled(), normal(2, 4, 3, 8, 8), torch.tensor([3.0, 5.0])
    conditioning = told(motion_strength=strength)
    equal = network(x, TIMESTEPS[:, None].expand(2, 3), conditioning)
    torch.testing.assert_close(equal, network(x, TIMESTEPS, conditioning), rtol=0, atol=1e-5)


@pytest.mark.parametrize("motion", [True, False])
def test_what_a_run_does_not_need_is_frozen(motion: bool) -> None:
    network = AnimateUNet(**TINY, motion=motion)
    frozen = {name for name, parameter in network.named_parameters() if not parameter.requires_grad}
    unread = {f"motion_embed.{index}.{kind}" for index in (0, 2) for kind in ("weight", "bias")}
    convolution = "conv" if motion else "masked"
    unread |= {f"encoder.0.0.{convolution}.{kind}" for kind in ("weight", "bias")}
    assert frozen == (unread if motion else unread | {"strength_proj.weight"})


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("first_frame", (2, 4, 8, 8), r"first_frame: expected \(2, 4, 1, 8, 8\), got \(2, 4, 8, 8\)"),
        ("motion_mask", (2, 1, 3, 8, 8), r"motion_mask: expected \(2, 1, 1, 8, 8\), got \(2, 1, 3, 8, 8\)"),
        ("motion_strength", (1,), r"motion_strength: expected \(2,\), got \(1,\)"),
    ],
)
def test_wrong_input(name: str, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(StbenchError, match=message):
        AnimateUNet(**TINY)(normal(2, 4, 3, 8, 8), TIMESTEPS, told(**{name: torch.ones(shape)}))


def test_timesteps_are_refused_by_the_frames_that_the_caller_knows() -> None:
    with pytest.raises(StbenchError, match=r"expected \(B,\) = \(2,\) or \(B, F\) = \(2, 3\), got \(2, 4\)"):
        AnimateUNet(**TINY)(normal(2, 4, 3, 8, 8), torch.zeros(2, 4))

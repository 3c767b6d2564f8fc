"""The pseudo-3D U-Net against the authors' figures, and against its own image network."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from stbench.backbones.base import Conditioning
from stbench.backbones.pseudo3d_unet.layers import Attention, PseudoAttention3d, ResNetBlock
from stbench.backbones.pseudo3d_unet.network import (
    SIZES,
    DownLevel,
    Pseudo3DUNet,
    TimestepLinear,
    UpLevel,
    upsample_conv,
)
from stbench.errors import StbenchError
from stbench.runtime.attention.attend import Attend, set_attention_backend

TINY: dict[str, Any] = {
    "size": "tiny",
    "dim": 8,
    "dim_multipliers": (1, 2),
    "attention_levels": (1,),
    "num_heads": 2,
    "head_dim": 4,
}
TIMESTEPS = torch.tensor([3.0, 700.0])


def count_parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def per_frame(network: Callable[[Tensor], Tensor], x: Tensor, axis: int) -> Tensor:
    return torch.cat([network(frame) for frame in x.split(1, dim=axis)], dim=axis)


# Against the authors' figures


def test_golden_network(
    golden: Any, formula_input: Any, formula_fill: Any, assert_golden: Any, authors_name: Any
) -> None:
    network = Pseudo3DUNet(
        dim=16,
        dim_multipliers=(1, 2),
        blocks_per_level=2,
        attention_levels=(1,),
        num_heads=2,
        head_dim=8,
        token_shift=True,
        learned_variance=False,
    ).eval()
    formula_fill(network, authors_name)
    assert count_parameters(network) == golden["mav"]["params"]
    assert len(list(network.parameters())) == golden["mav"]["tensors"]
    assert_golden(network(formula_input((2, 4, 4, 8, 8)), TIMESTEPS), golden["mav"])


# Parameters and FLOPs (2 a multiply-add) of make-a-video-pytorch 0.4.0 at dim 64, 4 channels, no temporal compression.
@pytest.mark.parametrize(
    ("enable_time", "parameters", "flops"),
    [(True, 61_751_356, 69_264_893_184), (False, 61_751_356 - 13_835_148, 53_598_581_248)],
)
def test_counts_of_the_published_network(enable_time: bool, parameters: int, flops: int) -> None:
    with torch.device("meta"):
        network = Pseudo3DUNet(dim=64, learned_variance=False, enable_time=enable_time)
        assert count_parameters(network) == parameters
        with FlopCounterMode(display=False) as counter:
            network(torch.empty(1, 4, 16, 32, 32), torch.empty(1))
    assert counter.get_total_flops() == flops


# The video network starts as the image network


def test_network_starts_as_image_network(fill_zeros: Any) -> None:
    torch.manual_seed(0)
    video, image = (Pseudo3DUNet(**TINY, enable_time=enable_time).eval() for enable_time in (True, False))
    fill_zeros(video, keep_temporal=True)
    image.load_state_dict({name: video.state_dict()[name] for name in image.state_dict()})
    x = torch.randn(2, 4, 5, 8, 12)
    out = video(x, TIMESTEPS)
    assert out.std() > 0.1
    torch.testing.assert_close(out, image(x, TIMESTEPS), rtol=0, atol=1e-5)
    torch.testing.assert_close(out, per_frame(lambda frame: video(frame, TIMESTEPS), x, axis=2), rtol=0, atol=1e-5)


@pytest.mark.parametrize("options", [{"keep_temporal": False}, {"keep_temporal": True, "token_shift": True}])
def test_frames_mix_when_they_should(options: dict[str, bool], fill_zeros: Any) -> None:
    torch.manual_seed(0)
    network = Pseudo3DUNet(**TINY, token_shift=options.get("token_shift", False)).eval()
    fill_zeros(network, keep_temporal=options["keep_temporal"])
    x = torch.randn(2, 4, 4, 8, 8)
    alone = per_frame(lambda frame: network(frame, TIMESTEPS), x, axis=2)
    assert (network(x, TIMESTEPS) - alone).abs().max() > 1e-2


# Parts against independent formulas


def test_upsampling_starts_as_nearest_neighbour() -> None:
    upsample = upsample_conv(3)
    x = torch.randn(1, 2, 4, 5, 3)
    out = upsample(x)
    assert out.shape == (1, 2, 8, 10, 3)
    assert torch.equal(out, out[:, :, ::2, ::2].repeat_interleave(2, dim=2).repeat_interleave(2, dim=3))


def test_timestep_embedding_by_its_formula() -> None:
    """Sines first, frequencies from 1 to 1/10000 with both ends; one linear layer and SiLU."""
    torch.manual_seed(0)
    embed, timesteps = TimestepLinear(8, 12), torch.tensor([0.0, 5.5, 700.0])
    angles = timesteps[:, None] * torch.tensor([10000 ** (-i / 3) for i in range(4)])
    hidden = torch.cat([angles.sin(), angles.cos()], dim=1) @ embed.linear.weight.T + embed.linear.bias
    torch.testing.assert_close(embed(timesteps), hidden * hidden.sigmoid(), rtol=1e-4, atol=1e-4)
    embed.bfloat16()
    assert embed(timesteps).dtype == torch.bfloat16


def test_levels_halve_and_double_the_resolution() -> None:
    x, embedding = torch.randn(2, 3, 4, 6, 8), torch.randn(2, 12)
    down, up = DownLevel(8, 16, 12, 2, enable_time=True), UpLevel(16, 8, 12, 2, enable_time=True)
    below, skips = down(x, embedding)
    assert below.shape == (2, 3, 2, 3, 16)
    assert [tuple(skip.shape) for skip in skips] == [(2, 3, 4, 6, 16)] * 2
    assert up(below, skips, embedding).shape == (2, 3, 4, 6, 8)


def test_a_level_up_by_its_steps() -> None:
    """The later skip joins what comes from below, the earlier one the first block's output, both by 1 / sqrt(2)."""
    torch.manual_seed(0)
    up, below, embedding = UpLevel(6, 4, 12, 3, enable_time=True), torch.randn(1, 2, 2, 2, 6), torch.randn(1, 12)
    early, late = torch.randn(1, 2, 4, 4, 6), torch.randn(1, 2, 4, 4, 6)
    x = up.first(torch.cat([late / 2**0.5, up.upsample(below)], dim=-1), embedding)
    x = up.rest[0](torch.cat([early / 2**0.5, x], dim=-1), embedding)
    x = up.rest[1](x, embedding)
    torch.testing.assert_close(up(below, [early, late], embedding), x, rtol=1e-5, atol=1e-5)


def test_the_first_block_of_a_level_alone_sees_the_timestep() -> None:
    with torch.device("meta"):
        network = Pseudo3DUNet(**TINY, blocks_per_level=3)
    modulated = [name for name, m in network.named_modules() if isinstance(m, ResNetBlock) and m.modulation is not None]
    expected = ["downs.0.first", "downs.1.first", "middle_first", "middle_last", "ups.0.first", "ups.1.first"]
    assert modulated == expected


def test_which_levels_attend_changes_no_other_initial_weight() -> None:
    states = []
    for levels in ((), (0, 1)):
        torch.manual_seed(0)
        network = Pseudo3DUNet(**{**TINY, "attention_levels": levels}, num_classes=2)
        states.append(network.state_dict())
    without, everywhere = states
    added = everywhere.keys() - without.keys()
    assert {name.rsplit(".attention.", 1)[0] for name in added} == {"downs.0", "downs.1", "ups.0", "ups.1"}
    assert all(torch.equal(everywhere[name], tensor) for name, tensor in without.items())


def test_widths_of_attention_are_those_of_its_level() -> None:
    with torch.device("meta"):
        network = Pseudo3DUNet(**{**TINY, "dim_multipliers": (1, 3), "attention_levels": (0, 1)})
    widths = {name: m.spatial.norm.weight.numel() for name, m in network.named_modules() if is_attention(m)}
    assert widths == {
        "downs.0.attention": 8,
        "downs.1.attention": 24,
        "middle_attention": 24,
        "ups.0.attention": 8,
        "ups.1.attention": 8,
    }


def is_attention(module: nn.Module) -> bool:
    return isinstance(module, PseudoAttention3d)


# Attention backends


def test_attention_backend_without_bias_is_refused() -> None:
    network = Pseudo3DUNet(**TINY)
    set_attention_backend(network, "flash")
    with pytest.raises(StbenchError, match=r"attention=flash takes no position bias.*math or sdpa"):
        network(torch.randn(2, 4, 2, 8, 8), TIMESTEPS)


def test_whole_network_agrees_between_backends(fill_zeros: Any) -> None:
    torch.manual_seed(0)
    network = Pseudo3DUNet(**TINY).eval()
    fill_zeros(network, keep_temporal=False)
    x = torch.randn(2, 4, 3, 8, 8)
    plain = network(x, TIMESTEPS)
    set_attention_backend(network, "sdpa")
    torch.testing.assert_close(network(x, TIMESTEPS), plain, rtol=0, atol=1e-4)


# The contract


@pytest.mark.parametrize("frames", [1, 3])
@pytest.mark.parametrize(("learned_variance", "channels"), [(True, 6), (False, 3)])
def test_output_shape(frames: int, learned_variance: bool, channels: int) -> None:
    network = Pseudo3DUNet(**TINY, in_channels=3, learned_variance=learned_variance)
    assert network(torch.randn(2, 3, frames, 8, 4), TIMESTEPS).shape == (2, channels, frames, 8, 4)


@pytest.mark.parametrize("size", SIZES)
def test_every_size_builds(size: str) -> None:
    with torch.device("meta"):
        network = Pseudo3DUNet(size=size)
        assert network(torch.empty(1, 4, 2, 16, 16), torch.empty(1)).shape == (1, 8, 2, 16, 16)


def test_gradients_reach_every_parameter(fill_zeros: Any) -> None:
    torch.manual_seed(0)
    network = Pseudo3DUNet(**TINY, blocks_per_level=3, num_classes=2)
    fill_zeros(network, keep_temporal=False)
    labels = Conditioning(class_labels=torch.tensor([0, 2]))
    network(torch.randn(2, 4, 3, 8, 8), TIMESTEPS, labels).square().mean().backward()
    dead = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert dead == []


def test_output_depends_on_timestep_and_class() -> None:
    torch.manual_seed(0)
    network = Pseudo3DUNet(**TINY, num_classes=2).eval()
    x = torch.randn(1, 4, 2, 8, 8)

    def predict(timestep: float, label: int) -> Tensor:
        return network(x, torch.tensor([timestep]), Conditioning(class_labels=torch.tensor([label])))

    assert not torch.allclose(predict(3, 0), predict(700, 0))
    assert not torch.allclose(predict(3, 0), predict(3, 2))


def test_bfloat16_autocast_is_close(fill_zeros: Any) -> None:
    torch.manual_seed(0)
    network = Pseudo3DUNet(**TINY).eval()
    fill_zeros(network, keep_temporal=True)
    x = torch.randn(2, 4, 3, 8, 8)
    exact = network(x, TIMESTEPS)
    with torch.autocast("cpu", torch.bfloat16):
        half = network(x, TIMESTEPS).float()
    assert (half - exact).abs().mean() < 0.05 * exact.abs().mean()


def test_all_attentions_go_through_attend() -> None:
    network = Pseudo3DUNet(**TINY)
    attends = sum(isinstance(module, Attend) for module in network.modules())
    assert attends == sum(isinstance(module, Attention) for module in network.modules()) == 2 * 3


def test_arguments_and_their_defaults() -> None:
    """They are part of a run's identity: another name or default would give old YAML files another meaning."""
    parameters = inspect.signature(Pseudo3DUNet).parameters
    assert {name: parameter.default for name, parameter in parameters.items()} == {
        "size": "S",
        "dim": None,
        "dim_multipliers": None,
        "blocks_per_level": None,
        "attention_levels": None,
        "num_heads": None,
        "head_dim": None,
        "token_shift": False,
        "temporal": "attention",
        "gate_start": 0.0,
        "frame_rate": False,
        "enable_time": True,
        "in_channels": 4,
        "num_classes": 0,
        "learned_variance": True,
    }


def test_a_given_figure_replaces_that_of_the_size_even_when_it_is_empty() -> None:
    with torch.device("meta"):
        small, plain = Pseudo3DUNet(size="S"), Pseudo3DUNet(size="S", attention_levels=(), dim=16)
    attentions = [sum(map(is_attention, network.modules())) for network in (small, plain)]
    assert attentions == [3, 1]  # one level down, up, and the middle
    assert [network.conv_in.spatial[0].out_channels for network in (small, plain)] == [48, 16]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"temporal": "dual"},
            "unknown temporal 'dual': did you mean 'dual_channel'? "
            "known: attention, dual_channel, motion_module, sparse_causal",
        ),
        ({"size": "tin"}, "unknown size 'tin': did you mean 'tiny'? known: B, L, S, XL, tiny"),
        (
            {"dim_multipliers": ()},
            "dim_multipliers is empty: a U-Net has at least one level, e.g. dim_multipliers=[1,2,4]",
        ),
        ({"blocks_per_level": 1}, "blocks_per_level=1: expected a whole number, at least 2"),
        ({"attention_levels": (4,)}, "attention_levels=[4]: the levels of this network are 0 to 3"),
        ({"attention_levels": (-1,)}, "attention_levels=[-1]: the levels of this network are 0 to 3"),
        ({"dim": 7}, "dim=7 must be even, for the sinusoid of the timestep"),
        ({"dim": 2}, "dim=2: expected a whole number, at least 4"),
        ({"dim_multipliers": (1, 0)}, "dim_multipliers=0: expected a whole number, at least 1"),
    ],
)
def test_impossible_figures(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(StbenchError) as caught:
        Pseudo3DUNet(**arguments)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("shape", "conditioning", "message"),
    [
        ((2, 4, 3, 10, 8), Conditioning(), "H x W = 10 x 8 must be multiples of 4, the nearest is 8 x 8"),
        ((2, 3, 3, 8, 8), Conditioning(), r"expects latents \(B, 4, F, H, W\), got \(2, 3, 3, 8, 8\)"),
        ((2, 4, 8, 8), Conditioning(), r"got \(2, 4, 8, 8\)"),
        ((2, 4, 3, 8, 8), Conditioning(), "conditioning.class_labels"),
        ((2, 4, 3, 8, 8), Conditioning(class_labels=torch.zeros(2), num_images=1), "no image-video joint training"),
    ],
)
def test_wrong_input(shape: tuple[int, ...], conditioning: Conditioning, message: str) -> None:
    with pytest.raises(StbenchError, match=message):
        Pseudo3DUNet(**TINY, num_classes=2)(torch.randn(shape), TIMESTEPS, conditioning)


# The frame rate


def test_the_frame_rate_counts_for_nothing_before_it_is_trained_and_then_for_its_own_clip(fill_zeros: Any) -> None:
    networks = []
    for frame_rate in (False, True):
        torch.manual_seed(0)
        networks.append(Pseudo3DUNet(**TINY, frame_rate=frame_rate).eval())
    plain, told = networks
    x, rates = torch.randn(2, 4, 3, 8, 8), Conditioning(fps=torch.tensor([8.0, 4.0]))
    assert (plain.reads_frame_rate, told.reads_frame_rate) == (False, True)
    fill_zeros(plain, keep_temporal=False)
    missing, unknown = told.load_state_dict(plain.state_dict(), strict=False)
    assert not unknown
    assert all(name.startswith("fps_embed.") for name in missing)
    assert torch.equal(told(x, TIMESTEPS, rates), plain(x, TIMESTEPS, rates))
    fill_zeros(told, keep_temporal=False)
    out, other = told(x, TIMESTEPS, rates), told(x, TIMESTEPS, Conditioning(fps=torch.tensor([8.0, 2.0])))
    assert torch.equal(out[0], other[0])
    assert (out[1] - other[1]).abs().max() > 1e-4
    assert torch.equal(told(x, TIMESTEPS), told(x, TIMESTEPS, Conditioning(fps=torch.zeros(2))))
    with pytest.raises(StbenchError, match=r"conditioning\.fps: expected \(B,\) = \(2,\), got \(3,\)"):
        told(x, TIMESTEPS, Conditioning(fps=torch.ones(3)))

"""The pseudo-3D U-Net against the authors' figures, and against its own image network."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from stbench.backbones.base import Conditioning
from stbench.backbones.pseudo3d_unet.layers import (
    Attention,
    FeedForward,
    PositionBias,
    PseudoAttention3d,
    PseudoConv3d,
    ResNetBlock,
    TemporalConv,
)
from stbench.backbones.pseudo3d_unet.network import SIZES, Pseudo3DUNet, upsample_conv
from stbench.errors import StbenchError
from stbench.runtime.attention.attend import Attend, set_attention_backend
from stbench.runtime.attention.backends import math_attention

TINY: dict[str, Any] = {
    "size": "tiny",
    "dim": 8,
    "dim_multipliers": (1, 2),
    "attention_levels": (1,),
    "num_heads": 2,
    "head_dim": 4,
}
TIMESTEPS = torch.tensor([3.0, 700.0])

# The names of make-a-video-pytorch 0.4.0, from those here, rule after rule.
AUTHORS_NAMES: list[tuple[str, str | Callable[[re.Match[str]], str]]] = [
    (r"^timestep_embed\.linear", "to_timestep_cond.1"),
    (r"^middle_first", "mid_block1"),
    (r"^middle_attention", "mid_attn"),
    (r"^middle_last", "mid_block2"),
    (r"^ups\.(\d)", lambda match: f"ups.{1 - int(match[1])}"),  # two levels; theirs count from the top
    (r"^(downs|ups)\.(\d)\.first", r"\1.\2.0"),
    (r"^(downs|ups)\.(\d)\.rest", r"\1.\2.1"),
    (r"^(downs|ups)\.(\d)\.attention", r"\1.\2.2"),
    (r"downsample\.0", "3.down_space.1"),
    (r"upsample\.0", "3.up_space.0"),
    (r"modulation\.1", "timestep_mlp.1"),
    (r"residual", "res_conv.spatial_conv"),
    (r"first\.(conv|norm)", r"block1.\1"),
    (r"last\.(conv|norm)", r"block2.\1"),
    (r"\.conv\.", ".project."),
    (r"feed_forward\.norm\.weight", "ff.proj_out.0.gamma"),
    (r"feed_forward\.proj_(in|out)", lambda match: f"ff.proj_{match[1]}.{'0' if match[1] == 'in' else '1'}"),
    (r"(spatial|temporal)\.position_bias\.0", r"\1_rel_pos_bias.net.0.0"),
    (r"(spatial|temporal)\.position_bias\.2", r"\1_rel_pos_bias.net.1.0"),
    (r"(spatial|temporal)\.position_bias\.4", r"\1_rel_pos_bias.net.2"),
    (r"(spatial|temporal)\.(norm|to_)", r"\1_attn.\2"),
    (r"norm\.weight", "norm.gamma"),
    (r"spatial\.0\.(weight|bias)", r"spatial_conv.\1"),
    (r"temporal\.(weight|bias)", r"temporal_conv.\1"),
]


def authors_name(name: str) -> str:
    for pattern, replacement in AUTHORS_NAMES:
        name = re.sub(pattern, replacement, name)
    return name


def count_parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def fill_zeros(module: nn.Module, keep_temporal: bool) -> None:
    """Give noise to every weight that starts at zero; those that make time start as nothing only on request."""
    temporal = [m for m in module.modules() if isinstance(m, TemporalConv)]
    temporal_out = [m.temporal.to_out for m in module.modules() if isinstance(m, PseudoAttention3d) and m.temporal]
    kept = {id(p) for m in [*temporal, *temporal_out] for p in m.parameters()} if keep_temporal else set()
    for parameter in module.parameters():
        if not parameter.any() and id(parameter) not in kept:
            nn.init.normal_(parameter, std=0.3)


def per_frame(network: Callable[[Tensor], Tensor], x: Tensor, axis: int) -> Tensor:
    return torch.cat([network(frame) for frame in x.split(1, dim=axis)], dim=axis)


# Against the authors' figures


def test_golden_network(golden: Any, formula_input: Any, formula_fill: Any, assert_golden: Any) -> None:
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


def test_golden_convolution(golden: Any, formula_input: Any, formula_fill: Any, assert_golden: Any) -> None:
    conv = PseudoConv3d(4, 6)
    formula_fill(conv, authors_name)
    assert count_parameters(conv) == golden["mav_pconv"]["params"]
    x = formula_input((2, 4, 4, 8, 8)).permute(0, 2, 3, 4, 1)
    assert_golden(conv(x).permute(0, 4, 1, 2, 3), golden["mav_pconv"])


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


@pytest.mark.parametrize(
    ("layer", "parameters"),
    [(lambda: PseudoConv3d(256, 256), 786_944), (lambda: PseudoAttention3d(256, 8, 64, True, True), 1_609_274)],
)
def test_parameters_of_the_published_layers(layer: Callable[[], nn.Module], parameters: int) -> None:
    # The second figure is that of the library's SpatioTemporalAttention(256, heads 8 x 64) with its feed-forward.
    with torch.device("meta"):
        assert count_parameters(layer()) == parameters


# The video network starts as the image network


@pytest.mark.parametrize(
    "build",
    [
        lambda time: PseudoConv3d(6, 10, enable_time=time),
        lambda time: PseudoConv3d(6, 4, kernel_size=7, enable_time=time),
        lambda time: PseudoAttention3d(6, num_heads=2, head_dim=4, enable_time=time, token_shift=False),
    ],
    ids=["convolution", "convolution-7", "attention"],
)
def test_layers_start_as_image_layers(build: Callable[[bool], nn.Module]) -> None:
    torch.manual_seed(0)
    video, image = build(True), build(False)
    fill_zeros(video, keep_temporal=True)
    image.load_state_dict({name: video.state_dict()[name] for name in image.state_dict()})
    x = torch.randn(2, 5, 8, 8, 6)
    assert torch.equal(video(x), image(x))
    torch.testing.assert_close(video(x), per_frame(video, x, axis=1), rtol=0, atol=1e-6)


def test_residual_block_starts_as_image_block() -> None:
    torch.manual_seed(0)
    video, image = (ResNetBlock(6, 10, enable_time, embed_dim=12) for enable_time in (True, False))
    image.load_state_dict({name: video.state_dict()[name] for name in image.state_dict()})
    x, embedding = torch.randn(2, 5, 8, 8, 6), torch.randn(2, 12)
    assert torch.equal(video(x, embedding), image(x, embedding))


def test_network_starts_as_image_network() -> None:
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
def test_frames_mix_when_they_should(options: dict[str, bool]) -> None:
    torch.manual_seed(0)
    network = Pseudo3DUNet(**TINY, token_shift=options.get("token_shift", False)).eval()
    fill_zeros(network, keep_temporal=options["keep_temporal"])
    x = torch.randn(2, 4, 4, 8, 8)
    alone = per_frame(lambda frame: network(frame, TIMESTEPS), x, axis=2)
    assert (network(x, TIMESTEPS) - alone).abs().max() > 1e-2


# Parts against independent formulas


@pytest.mark.parametrize("sizes", [(4,), (2, 3)])
def test_position_bias_is_a_function_of_the_offset(sizes: tuple[int, ...]) -> None:
    bias = PositionBias(len(sizes), hidden_dim=5, num_heads=2)
    positions = list(product(*map(range, sizes)))
    for i, query in enumerate(positions):
        for j, key in enumerate(positions):
            offset = torch.tensor([float(a - b) for a, b in zip(query, key, strict=True)])
            torch.testing.assert_close(bias(sizes)[:, i, j], nn.Sequential.forward(bias, offset))


def test_upsampling_starts_as_nearest_neighbour() -> None:
    upsample = upsample_conv(3)
    x = torch.randn(1, 2, 4, 5, 3)
    out = upsample(x)
    assert out.shape == (1, 2, 8, 10, 3)
    assert torch.equal(out, out[:, :, ::2, ::2].repeat_interleave(2, dim=2).repeat_interleave(2, dim=3))


def test_token_shift_takes_half_of_the_channels_from_the_frame_before() -> None:
    torch.manual_seed(0)
    shifted, plain = FeedForward(6, token_shift=True), FeedForward(6, token_shift=False)
    plain.load_state_dict(shifted.state_dict())
    still = torch.randn(1, 1, 2, 2, 6).expand(1, 3, 2, 2, 6)
    torch.testing.assert_close(shifted(still)[:, 1:], plain(still)[:, 1:])  # nothing moves: only frame 0 lacks a past
    assert (shifted(still)[:, 0] - plain(still)[:, 0]).abs().max() > 1e-3


def test_attention_bias_is_the_same_in_every_backend_that_has_it() -> None:
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 3, 4, 5, 8) for _ in range(3))  # (B, F, heads, N, E)
    bias = torch.randn(4, 5, 5)
    attend = Attend()
    plain = attend(q, k, v, bias)
    scores = torch.einsum("bfhne,bfhme->bfhnm", q, k) / 8**0.5 + bias
    torch.testing.assert_close(plain, torch.einsum("bfhnm,bfhme->bfhne", scores.softmax(-1), v))
    attend.backend = "sdpa"
    torch.testing.assert_close(attend(q, k, v, bias), plain)
    torch.testing.assert_close(attend(q, k, v), math_attention(q, k, v))


def test_attention_backend_without_bias_is_refused() -> None:
    network = Pseudo3DUNet(**TINY)
    set_attention_backend(network, "flash")
    with pytest.raises(StbenchError, match=r"attention=flash takes no position bias.*math or sdpa"):
        network(torch.randn(2, 4, 2, 8, 8), TIMESTEPS)


def test_whole_network_agrees_between_backends() -> None:
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


def test_gradients_reach_every_parameter() -> None:
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


def test_bfloat16_autocast_is_close() -> None:
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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": "smal"}, "unknown size 'smal'"),
        ({"dim_multipliers": ()}, "at least one level"),
        ({"blocks_per_level": 1}, "two skips of a level need 2 blocks"),
        ({"attention_levels": (4,)}, "levels of this network are 0 to 3"),
        ({"attention_levels": (-1,)}, "levels of this network are 0 to 3"),
        ({"dim": 7}, "dim=7 must be even"),
    ],
)
def test_impossible_figures(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(StbenchError, match=message):
        Pseudo3DUNet(**arguments)


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

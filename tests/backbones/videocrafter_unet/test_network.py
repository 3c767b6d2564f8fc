"""The VideoCrafter U-Net against the authors' figures, and against Stable Diffusion frame by frame."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from stbench.backbones.base import Conditioning
from stbench.backbones.trial import fill_zeros
from stbench.backbones.videocrafter_unet.attention import FramesAttend
from stbench.backbones.videocrafter_unet.layers import TemporalConvs
from stbench.backbones.videocrafter_unet.network import VideoCrafterUNet
from stbench.backbones.videocrafter_unet.stages import SinusoidMlp
from stbench.backbones.videocrafter_unet.transformers import SpatialTransformer, TemporalTransformer
from stbench.errors import StbenchError
from stbench.runtime.attention.attend import set_attention_backend

TINY: dict[str, Any] = {
    "dim": 32,
    "dim_multipliers": (1, 1),
    "blocks_per_level": 1,
    "attention_levels": (1,),
    "head_dim": 8,
    "norm_groups": 8,
    "context_dim": 12,
    "num_frames": 4,
}
V1: dict[str, Any] = {"temporal_conv": False, "relative_position": True}
DYNAMICRAFTER: dict[str, Any] = {"image_attention": "dual", "image_of_each_frame": True, "concat_channels": 4}
TIMESTEPS = torch.tensor([17, 900])


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def filled(**options: Any) -> VideoCrafterUNet:
    """A tiny network without zeros."""
    torch.manual_seed(0)
    network = VideoCrafterUNet(**{**TINY, **options}).eval()
    fill_zeros(network)
    return network


def told(batch_size: int = 2, length: int = 7, **others: Any) -> Conditioning:
    return Conditioning(context=normal(batch_size, length, 12, seed=1), **others)


# Against the authors' figures


@pytest.mark.parametrize(("entry", "options"), [("vc2_t2v", {}), ("vc2_relpos_noconv", V1)])
def test_golden_network(
    entry: str,
    options: dict[str, Any],
    golden: Any,
    formula_input: Any,
    formula_fill: Any,
    assert_golden: Any,
) -> None:
    network = VideoCrafterUNet(dim=32, head_dim=16, context_dim=24, num_frames=4, **options).eval()
    names = network.published_layout.names(network)
    formula_fill(network, names.__getitem__)
    assert count(network) == golden[entry]["params"]
    assert len(names) == golden[entry]["tensors"]
    conditioning = Conditioning(context=formula_input((2, 7, 24), 0.5), fps=torch.tensor([8, 24]))
    with torch.no_grad():
        assert_golden(network(formula_input((2, 4, 4, 16, 24)), TIMESTEPS, conditioning), golden[entry])


def test_golden_dynamicrafter(golden: Any, formula_input: Any, formula_fill: Any, assert_golden: Any) -> None:
    network = VideoCrafterUNet(dim=32, head_dim=16, context_dim=24, num_frames=4, **DYNAMICRAFTER).eval()
    formula_fill(network, network.published_layout.names(network).__getitem__)
    assert count(network) == golden["dynamicrafter"]["params"]
    latents, concat = formula_input((2, 8, 4, 16, 24)).split(4, dim=1)
    context = formula_input((2, 77 + 4 * 16, 24), 0.5)
    conditioning = Conditioning(context=context, fps=torch.tensor([8, 24]), concat=concat)
    with torch.no_grad():
        assert_golden(network(latents, TIMESTEPS, conditioning), golden["dynamicrafter"])


@pytest.mark.parametrize(
    ("options", "parameters", "tensors"),
    [
        ({}, 1_413_284_420, 1484),
        ({**V1, "default_fps": None}, 1_144_485_956, 1196),
        (V1, 1_146_536_516, 1200),
        ({"image_attention": "dual"}, 1_438_843_460, 1516),
        (DYNAMICRAFTER, 1_438_854_980, 1516),
        ({**DYNAMICRAFTER, "image_attention": "scaled"}, 1_438_854_996, 1532),
    ],
    ids=["t2v_512_v2.0", "t2v_512_v1.0", "t2v_1024_v1.0", "i2v_512_v1.0", "dynamicrafter_512", "dynamicrafter_256"],
)
def test_parameters_of_the_releases(options: dict[str, Any], parameters: int, tensors: int) -> None:
    with torch.device("meta"):
        network = VideoCrafterUNet(**options)
    assert (count(network), len(network.state_dict())) == (parameters, tensors)


def test_it_is_stable_diffusion_with_layers_in_time() -> None:
    """The parameters of SD 2.1's U-Net, and those of each kind of layer on top."""
    with torch.device("meta"):
        network = VideoCrafterUNet()
        relative = VideoCrafterUNet(relative_position=True)
    in_time = [count(module) for module in network.modules() if isinstance(module, TemporalTransformer)]
    convolutions = [count(module) for module in network.modules() if isinstance(module, TemporalConvs)]
    in_space = sum(isinstance(module, SpatialTransformer) for module in network.modules())
    assert (len(in_time), sum(in_time)) == (17, 278_431_616)
    assert (len(convolutions), sum(convolutions)) == (22, 266_891_520)
    assert in_space == 16
    assert network.fps_embed is not None
    assert count(network.fps_embed) == 2_050_560
    assert count(network) - sum(in_time) - sum(convolutions) - 2_050_560 == 865_910_724
    assert count(relative) - count(network) == 17 * 2 * 2 * 33 * 64


# FLOPs (2 a multiply-add) of the authors' networks. Of a single frame their counter leaves the product of weights and
# values out: an einsum over one frame is an elementwise product.
@pytest.mark.parametrize(
    ("options", "latents", "length", "flops"),
    [
        ({}, (4, 16, 40, 64), 77, 12_581_410_897_920),
        ({}, (4, 1, 40, 64), 77, 785_288_151_040 + 34_119_680),
        (V1, (4, 16, 72, 128), 77, 46_285_999_112_192),
        ({"image_attention": "dual"}, (4, 16, 40, 64), 93, 12_601_889_587_200),
        (DYNAMICRAFTER, (4, 16, 40, 64), 333, 12_602_833_305_600),
    ],
    ids=["t2v_512_v2.0", "one frame", "t2v_1024_v1.0", "i2v_512_v1.0", "dynamicrafter_512"],
)
def test_operations_of_the_releases(options: dict[str, Any], latents: tuple[int, ...], length: int, flops: int) -> None:
    with torch.device("meta"), torch.no_grad():
        network = VideoCrafterUNet(**options).eval()
        assert network.context_shape == (length, 1024)
        with FlopCounterMode(display=False) as counter:
            context = Conditioning(context=torch.empty(1, length, 1024))
            network(torch.empty(1, *latents), torch.zeros(1), context)
    assert counter.get_total_flops() == flops


# Properties


def test_it_predicts_nothing_before_it_is_trained() -> None:
    network = VideoCrafterUNet(**TINY).eval()
    assert not network(normal(2, 4, 3, 8, 8), TIMESTEPS, told()).any()


@pytest.mark.parametrize("options", [{}, V1, {"temporal_context": True}], ids=str)
def test_until_its_layers_in_time_are_trained_it_is_an_image_network(options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    network = VideoCrafterUNet(**{**TINY, **options}).eval()
    in_time = [module for module in network.modules() if isinstance(module, TemporalTransformer | TemporalConvs)]
    kept = {id(parameter) for module in in_time for parameter in module.parameters()}
    for parameter in network.parameters():
        if id(parameter) not in kept and not parameter.any():
            nn.init.normal_(parameter, std=0.2)
    x = normal(2, 4, 3, 8, 8)
    alone = torch.cat([network(frame, TIMESTEPS, told()) for frame in x.split(1, dim=2)], dim=2)
    out = network(x, TIMESTEPS, told())
    assert out.std() > 0.1
    torch.testing.assert_close(out, alone, rtol=0, atol=1e-5)
    torch.testing.assert_close(network.train()(x, TIMESTEPS, told()), out, rtol=0, atol=1e-5)  # dropout is hidden


def test_a_timestep_for_each_frame() -> None:
    network, x = filled(), normal(2, 4, 3, 8, 8)
    equal = network(x, TIMESTEPS[:, None].expand(2, 3), told())
    torch.testing.assert_close(equal, network(x, TIMESTEPS, told()), rtol=0, atol=1e-5)
    assert (network(x, torch.tensor([[17, 17, 18], [900, 900, 900]]), told())[0] - equal[0]).abs().max() > 1e-4


def test_the_frame_rate_is_told_or_the_default() -> None:
    network, x = filled(default_fps=8), normal(2, 4, 2, 8, 8)
    out = network(x, TIMESTEPS, told())
    assert torch.equal(out, network(x, TIMESTEPS, told(fps=torch.tensor([8, 8]))))
    other = network(x, TIMESTEPS, told(fps=torch.tensor([8, 24])))
    assert torch.equal(out[0], other[0])
    assert (out[1] - other[1]).abs().max() > 1e-4
    blind = filled(default_fps=None)
    assert blind.fps_embed is None
    assert (network.reads_frame_rate, blind.reads_frame_rate) == (True, False)
    assert torch.equal(blind(x, TIMESTEPS, told()), blind(x, TIMESTEPS, told(fps=torch.tensor([8, 24]))))


@pytest.mark.parametrize("image_attention", ["dual", "scaled", "style"])
def test_a_class_stands_for_text_and_image(image_attention: str) -> None:
    network, x = filled(num_classes=3, image_attention=image_attention, context_dim=16), normal(2, 4, 2, 8, 8)
    first, null = (network(x, TIMESTEPS, Conditioning(class_labels=torch.tensor([0, y]))) for y in (1, 3))
    assert network.context_shape is None
    assert torch.equal(first[0], null[0])
    assert (first[1] - null[1]).abs().max() > 1e-4


def test_text_and_image_are_told_apart_by_their_place() -> None:
    network, x = filled(image_attention="dual"), normal(2, 4, 2, 8, 8)
    context = normal(2, 81, 12)
    out = network(x, TIMESTEPS, Conditioning(context=context))
    inside = torch.cat([context[:, :77].flip(1), context[:, 77:].flip(1)], dim=1)  # tokens have no order
    torch.testing.assert_close(network(x, TIMESTEPS, Conditioning(context=inside)), out, rtol=0, atol=1e-5)
    assert (network(x, TIMESTEPS, Conditioning(context=context.roll(1, 1))) - out).abs().max() > 1e-4


def test_each_frame_looks_at_its_share_of_the_image() -> None:
    """Without layers in time a token of one frame's image moves that frame alone."""
    network, x = filled(**DYNAMICRAFTER, temporal_conv=False), normal(2, 4, 2, 8, 8)
    for module in network.modules():
        if isinstance(module, TemporalTransformer):
            nn.init.zeros_(module.proj_out.weight)
            nn.init.zeros_(module.proj_out.bias)
    context = normal(2, 77 + 2 * 16, 12)
    other = context.clone()
    other[:, 77 + 16] += 1  # the first of the second frame's
    out, changed = (network(x, TIMESTEPS, Conditioning(context=each)) for each in (context, other))
    torch.testing.assert_close(out[:, :, 0], changed[:, :, 0], rtol=0, atol=1e-6)
    assert (out[:, :, 1] - changed[:, :, 1]).abs().max() > 1e-4


def test_what_is_given_is_concatenated_and_none_is_zeros() -> None:
    network, x = filled(concat_channels=3), normal(2, 4, 2, 8, 8)
    none, concat = torch.zeros(2, 3, 2, 8, 8), normal(2, 3, 2, 8, 8)
    out = network(x, TIMESTEPS, told())
    assert torch.equal(network(x, TIMESTEPS, told(concat=none)), out)
    assert (network(x, TIMESTEPS, told(concat=concat)) - out).abs().max() > 1e-4
    with pytest.raises(StbenchError, match=r"conditioning.concat: expected \(B, E, F, H, W\) = \(2, 3, 2, 8, 8\), got"):
        network(x, TIMESTEPS, told(concat=concat[:, :2]))


def test_the_frame_rate_may_start_from_zero() -> None:
    torch.manual_seed(0)
    network = VideoCrafterUNet(**TINY, fps_from_zero=True)
    assert network.fps_embed is not None
    assert not network.fps_embed(torch.tensor([8, 24])).any()
    assert VideoCrafterUNet(**TINY).fps_embed[-1].weight.any()


def test_relative_positions_reach_as_far_as_the_frames_of_the_run() -> None:
    reaches = {m.key_positions.reach for m in filled(**V1).modules() if isinstance(m, FramesAttend)}
    assert reaches == {4}


def test_the_embedding_by_its_formula() -> None:
    """Cosines first, frequencies from 1 down to one step above 1/10000."""
    torch.manual_seed(0)
    embed, numbers = SinusoidMlp(8, 12), torch.tensor([[0.0, 5.5], [700.0, 28.0]])
    angles = numbers[..., None] * torch.tensor([10000 ** (-i / 4) for i in range(4)])
    hidden = embed[0](torch.cat([angles.cos(), angles.sin()], dim=-1))
    torch.testing.assert_close(embed(numbers), embed[2](hidden * hidden.sigmoid()), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("options", [{"causal": True}, V1], ids=str)
def test_the_fused_backend_agrees_with_the_formula(options: dict[str, Any]) -> None:
    network, x = filled(**options), normal(2, 4, 3, 8, 8)
    plain = network(x, TIMESTEPS, told())
    assert set_attention_backend(network, "sdpa") > 0
    torch.testing.assert_close(network(x, TIMESTEPS, told()), plain, rtol=0, atol=1e-4)


# What is refused


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"norm_groups": 12}, "dim, dim_multipliers: 32 channels do not divide into norm_groups=12"),
        (
            {"dim_multipliers": ()},
            "dim_multipliers is empty: a U-Net has at least one level, e.g. dim_multipliers=[1,2,4]",
        ),
        ({"attention_levels": (2,)}, "attention_levels=[2]: the levels of this network are 0 to 1"),
        ({"head_dim": 12}, "head_dim=12 does not divide the 32 channels of level 1"),
        (
            {"image_attention": "duel"},
            "unknown image_attention 'duel': did you mean 'dual'? known: dual, none, scaled, style",
        ),
        ({"context_dim": 0}, "context_dim=0: expected a whole number, at least 1"),
    ],
)
def test_impossible_figures(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(StbenchError) as caught:
        VideoCrafterUNet(**{**TINY, **arguments})
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("shape", "conditioning", "message"),
    [
        ((2, 4, 3, 9, 8), told(), "halves 1 times: H x W = 9 x 8 must be multiples of 2, the nearest is 8 x 8"),
        ((2, 3, 3, 8, 8), told(), r"expects latents \(B, 4, F, H, W\), got \(2, 3, 3, 8, 8\)"),
        ((2, 4, 8, 8), told(), r"got \(2, 4, 8, 8\)"),
        ((2, 4, 3, 8, 8), told(3, 90), r"conditioning.context: expected \(B, L, D\) = \(2, L, 12\), got \(3, 90, 12\)"),
        ((2, 4, 3, 8, 8), told(2, 77), r"expected 77 tokens of text and an image's behind them, got 77"),
        ((2, 4, 3, 8, 8), told(2, 90, fps=torch.zeros(2, 3)), r"conditioning.fps: expected \(B,\) = \(2,\), got"),
        ((2, 4, 3, 8, 8), told(2, 90, num_images=1), "no image-video joint training"),
    ],
)
def test_wrong_input(shape: tuple[int, ...], conditioning: Conditioning, message: str) -> None:
    with pytest.raises(StbenchError, match=message):
        VideoCrafterUNet(**TINY, image_attention="dual")(normal(*shape), TIMESTEPS, conditioning)


def test_an_image_for_each_frame_needs_as_many_tokens() -> None:
    with pytest.raises(StbenchError, match="77 tokens of text and 16 for each of 3 frames, 125 in all, got 93"):
        filled(**DYNAMICRAFTER)(normal(2, 4, 3, 8, 8), TIMESTEPS, told(2, 93))


def test_timesteps_of_another_shape_are_refused() -> None:
    with pytest.raises(StbenchError, match=r"timesteps: expected \(B,\) = \(2,\) or \(B, F\) = \(2, 3\), got \(2, 4\)"):
        VideoCrafterUNet(**TINY)(normal(2, 4, 3, 8, 8), torch.zeros(2, 4), told())

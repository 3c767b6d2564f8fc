"""The VDM U-Net: the public code's figures, frames that must not see each other, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from stbench.backbones.base import UNCONDITIONAL, Conditioning
from stbench.backbones.temporal import TEMPORAL
from stbench.backbones.trial import fill_zeros
from stbench.backbones.vdm_unet.layers import Attention, DualChannelAttention, FrameMask
from stbench.backbones.vdm_unet.network import SIZES, VdmUNet
from stbench.backbones.vdm_unet.published import VdmLayout
from stbench.errors import StbenchError
from stbench.runtime.attention.attend import Attend, set_attention_backend
from stbench.runtime.attention.linear import LinearAttend

TINY: dict[str, Any] = {"dim": 8, "dim_multipliers": (1, 2), "num_heads": 2, "head_dim": 4, "spatial_head_dim": 4}
PUBLIC: dict[str, Any] = {"spatial_attention": "linear", "rotary": True, "learned_variance": False}
TIMESTEPS = torch.tensor([3.0, 700.0])


def build(seed: int = 0, **options: Any) -> VdmUNet:
    torch.manual_seed(seed)
    return VdmUNet(**{**TINY, **options}).eval()


def count_parameters(network: nn.Module) -> int:
    """As the authors count: with their frozen table of rotary frequencies, once."""
    return sum(tensor.numel() for tensor in [*network.parameters(), *network.buffers()])


def each_frame(network: VdmUNet, x: Tensor) -> Tensor:
    return torch.cat([network(frame, TIMESTEPS) for frame in x.split(1, dim=2)], dim=2)


# ---- against the public code ----


def test_golden_network(golden: Any, formula_input: Any, formula_fill: Any, assert_golden: Any) -> None:
    network = VdmUNet(dim=16, dim_multipliers=(1, 2), num_heads=4, head_dim=8, spatial_head_dim=32, **PUBLIC).eval()
    formula_fill(network, VdmLayout().names(network).__getitem__)
    assert count_parameters(network) == golden["vdm"]["params"]
    assert len(list(network.parameters())) + 1 == golden["vdm"]["tensors"]  # with the rotary frequencies
    assert_golden(network(formula_input((2, 4, 4, 8, 8)), TIMESTEPS), golden["vdm"])


# Of `Unet3D` with 16 frozen rotary frequencies: (arguments, parameters).
@pytest.mark.parametrize(
    ("arguments", "parameters"),
    [
        ({"in_channels": 3}, 35_706_259),
        ({}, 35_709_460),
        ({"in_channels": 3, "context_dim": 64}, 36_214_227),
        ({"in_channels": 3, "context_dim": 768}, 41_801_875),
        ({"in_channels": 3, "spatial_attention": "none"}, 34_195_987),
        ({"in_channels": 3, "dim": 32, "dim_multipliers": (1, 2, 4)}, 3_161_939),
        ({"dim": 128}, 134_488_852),
    ],
    ids=str,
)
def test_parameters_of_the_public_network(arguments: dict[str, Any], parameters: int) -> None:
    with torch.device("meta"):
        assert count_parameters(VdmUNet(**{**PUBLIC, **arguments})) == parameters


def test_parameters_of_its_parts() -> None:
    with torch.device("meta"):
        network = VdmUNet(**PUBLIC)
    parts = {"temporal": 0, "spatial": 0}
    for name, module in network.named_modules():
        if isinstance(module, Attention):
            parts[name.rsplit(".", 1)[-1]] += sum(parameter.numel() for parameter in module.parameters())
    assert parts == {"temporal": 2_099_216 - 16, "spatial": 2_035_072}  # without the rotary frequencies


@pytest.mark.parametrize(
    ("shape", "flops"), [((1, 3, 5, 32, 32), 19_278_938_112), ((1, 4, 16, 32, 32), 62_465_802_240)]
)
def test_operations_of_the_public_network(shape: tuple[int, ...], flops: int) -> None:
    with torch.device("meta"):
        network = VdmUNet(in_channels=shape[1], **PUBLIC).eval()
        with FlopCounterMode(display=False) as counter:
            network(torch.empty(shape), torch.empty(1))
    assert counter.get_total_flops() == flops


# ---- frames and images ----


NETWORKS: dict[str, dict[str, Any]] = {
    "full": {},
    "linear": {"spatial_attention": "linear", "rotary": True},
    "none": {"spatial_attention": "none"},
    **{temporal: {"temporal": temporal} for temporal in TEMPORAL[1:]},
}


@pytest.fixture(params=NETWORKS)
def network(request: pytest.FixtureRequest) -> VdmUNet:
    """A network of each kind, without the zeros that a temporal part starts with."""
    network = build(**NETWORKS[request.param])
    fill_zeros(network)
    return network


def test_frames_see_each_other(network: VdmUNet) -> None:
    x = torch.randn(2, 4, 3, 8, 8)
    assert (network(x, TIMESTEPS) - each_frame(network, x)).abs().max() > 1e-2


def test_with_all_frames_masked_it_is_the_image_network_on_each_frame(network: VdmUNet) -> None:
    """No temporal layer is missed, the first one included."""
    x = torch.randn(2, 4, 3, 8, 8)
    masked = network(x, TIMESTEPS, Conditioning(num_images=3))
    torch.testing.assert_close(masked, each_frame(network, x), rtol=0, atol=1e-5)


def test_clips_whose_frames_are_apart_in_training(network: VdmUNet) -> None:
    x = torch.randn(2, 4, 3, 8, 8)
    together, frames = network(x, TIMESTEPS), each_frame(network, x)
    network.frames_apart = 1.0
    assert torch.equal(network(x, TIMESTEPS), together)
    torch.testing.assert_close(network.train()(x, TIMESTEPS), frames, rtol=0, atol=1e-5)


# ---- other temporal parts ----


def test_a_motion_module_starts_as_the_network_on_each_frame() -> None:
    network, x = build(temporal="motion_module"), torch.randn(2, 4, 3, 8, 8)
    torch.testing.assert_close(network(x, TIMESTEPS), each_frame(network, x), rtol=0, atol=1e-5)


def test_channels_read_the_same_norm_and_the_spatial_one_is_frozen() -> None:
    network = build(temporal="dual_channel")
    channels = {name: module for name, module in network.named_modules() if isinstance(module, DualChannelAttention)}
    assert list(channels) == [f"{place}.attention" for place in ("downs.0", "downs.1")] + ["middle_attention"] + [
        f"{place}.attention" for place in ("ups.0", "ups.1")
    ]
    assert all(each.temporal.norm is each.spatial.norm for each in channels.values())
    frozen = {name for name, parameter in network.named_parameters() if not parameter.requires_grad}
    assert frozen == {name for name, _ in network.named_parameters() if ".spatial." in name}


def test_the_gate_far_above_is_the_spatial_channel_alone() -> None:
    x, mask = torch.randn(2, 3, 4, 4, 8), FrameMask(torch.zeros(2, 3, 3))
    channels = build(temporal="dual_channel", gate_start=100.0).downs[0].attention
    assert torch.equal(channels(x, mask), x + channels.spatial(x, mask))


def test_images_have_labels_of_their_own() -> None:
    network, x = build(num_classes=3), torch.randn(2, 4, 4, 8, 8)
    clips, images = torch.tensor([0, 3]), torch.tensor([[1, 2], [3, 0]])
    out = network(x, TIMESTEPS, Conditioning(class_labels=clips, num_images=2, image_labels=images))
    clip = network(x[:, :, :2], TIMESTEPS, Conditioning(class_labels=clips))
    torch.testing.assert_close(out[:, :, :2], clip, rtol=0, atol=1e-5)
    for index in range(2):
        image = network(x[:, :, 2 + index, None], TIMESTEPS, Conditioning(class_labels=images[:, index]))
        torch.testing.assert_close(out[:, :, 2 + index, None], image, rtol=0, atol=1e-5)


# ---- conditioning ----


def test_no_context_is_the_learned_one() -> None:
    network, x = build(context_dim=5), torch.randn(2, 4, 2, 8, 8)
    null = network.null_context.detach().expand(2, -1)
    assert torch.equal(network(x, TIMESTEPS), network(x, TIMESTEPS, Conditioning(context=null)))
    assert not torch.allclose(network(x, TIMESTEPS), network(x, TIMESTEPS, Conditioning(context=torch.randn(2, 5))))


def test_output_depends_on_timestep_and_class() -> None:
    network, x = build(num_classes=2), torch.randn(1, 4, 2, 8, 8)

    def predict(timestep: float, label: int) -> Tensor:
        return network(x, torch.tensor([timestep]), Conditioning(class_labels=torch.tensor([label])))

    assert not torch.allclose(predict(3, 0), predict(700, 0))
    assert not torch.allclose(predict(3, 0), predict(3, 2))


# ---- attention backends ----


def test_all_attentions_go_through_attend(network: VdmUNet) -> None:
    attentions = [module for module in network.modules() if isinstance(module, Attention)]
    kinds = [type(attention.attend) for attention in attentions]
    assert set(kinds) <= {Attend, LinearAttend}
    assert bool(kinds.count(LinearAttend)) == (network.spatial_attention == "linear")


def test_backends_agree(network: VdmUNet) -> None:
    x = torch.randn(2, 4, 3, 8, 8)
    plain = network(x, TIMESTEPS)
    set_attention_backend(network, "sdpa")
    torch.testing.assert_close(network(x, TIMESTEPS), plain, rtol=0, atol=1e-4)


def test_a_backend_without_a_bias_is_refused() -> None:
    network = build()
    set_attention_backend(network, "flash")
    with pytest.raises(StbenchError, match=r"attention=flash takes no position bias"):
        network(torch.randn(2, 4, 3, 8, 8), TIMESTEPS)


def test_bfloat16_autocast_is_close(network: VdmUNet) -> None:
    x = torch.randn(2, 4, 3, 8, 8)
    exact = network(x, TIMESTEPS)
    with torch.autocast("cpu", torch.bfloat16):
        half = network(x, TIMESTEPS).float()
    assert (half - exact).abs().mean() < 0.1 * exact.abs().mean()


# ---- the contract ----


@pytest.mark.parametrize("size", SIZES)
def test_every_size_builds(size: str) -> None:
    with torch.device("meta"):
        network = VdmUNet(size=size)
        assert network(torch.empty(1, 4, 2, 16, 16), torch.empty(1)).shape == (1, 8, 2, 16, 16)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": "tin"}, "unknown size 'tin': did you mean 'tiny'? known: B, L, S, XL, tiny"),
        (
            {"spatial_attention": "ful"},
            "unknown spatial_attention 'ful': did you mean 'full'? known: full, linear, none",
        ),
        (
            {"dim_multipliers": ()},
            "dim_multipliers is empty: a U-Net has at least one level, e.g. dim_multipliers=[1,2,4]",
        ),
        ({"dim": 7}, "dim=7 must be even, for the sinusoid of the timestep"),
        ({"rotary": True, "head_dim": 5}, "head_dim=5 must be even: rotary=true rotates pairs of channels"),
        ({"temporal": "motion_module", "rotary": True}, "rotary=true: temporal=motion_module has positions of its own"),
        (
            {"temporal": "dual"},
            "unknown temporal 'dual': did you mean 'dual_channel'? "
            "known: attention, dual_channel, motion_module, sparse_causal",
        ),
        ({"frames_apart": 1.5}, "frames_apart=1.5: expected a share from 0 to 1"),
    ],
)
def test_impossible_figures(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(StbenchError) as caught:
        VdmUNet(**arguments)
    assert str(caught.value) == message


LABELS = torch.zeros(2, dtype=torch.long)


@pytest.mark.parametrize(
    ("shape", "conditioning", "message"),
    [
        ((2, 4, 3, 9, 8), UNCONDITIONAL, "H x W = 9 x 8 must be multiples of 2, the nearest is 8 x 8"),
        ((2, 3, 3, 8, 8), UNCONDITIONAL, r"expects latents \(B, 4, F, H, W\), got \(2, 3, 3, 8, 8\)"),
        ((2, 4, 8, 8), UNCONDITIONAL, r"got \(2, 4, 8, 8\)"),
        ((2, 4, 3, 8, 8), UNCONDITIONAL, "conditioning.class_labels"),
        ((2, 4, 3, 8, 8), Conditioning(LABELS, num_images=1), "conditioning.image_labels"),
        ((2, 4, 3, 8, 8), Conditioning(LABELS, num_images=4), "3 frames, of which conditioning.num_images=4"),
        ((2, 4, 3, 8, 8), Conditioning(LABELS, torch.zeros(2, 7, 5)), r"context \(B, E\) = \(2, 5\), got \(2, 7, 5\)"),
    ],
)
def test_wrong_input(shape: tuple[int, ...], conditioning: Conditioning, message: str) -> None:
    with pytest.raises(StbenchError, match=message):
        build(num_classes=2, context_dim=5)(torch.randn(shape), TIMESTEPS, conditioning)

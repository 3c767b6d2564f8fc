"""Latte with another temporal part in its spatial blocks: what is added, what is frozen, and where it starts."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from stbench.backbones.base import Conditioning
from stbench.backbones.latte.blocks import DualChannelAttention
from stbench.backbones.latte.network import Latte
from stbench.backbones.published import to_published
from stbench.backbones.temporal import TEMPORAL
from stbench.errors import StbenchError
from stbench.profiling.flops import count_operations
from stbench.profiling.workload import Workload

WIDTH = 16
TINY: dict[str, Any] = {"hidden_size": WIDTH, "depth": 2, "num_heads": 2, "sample_size": 8, "num_frames": 4}
T = torch.tensor([3, 700])
ADDED = TEMPORAL[1:]
every_addition = pytest.mark.parametrize("temporal", ADDED)


def build(seed: int = 0, *, drawn: bool = True, **options: Any) -> Latte:
    """A network whose weights that are no part of `temporal` are noise, when `drawn`."""
    torch.manual_seed(seed)
    latte = Latte(**{**TINY, "arrangement": "spatial", **options}).eval()
    for index, (name, parameter) in enumerate(latte.named_parameters()):
        if drawn and not any(part in name for part in (".added.", ".temporal.", ".gate.")):
            parameter.data.copy_(0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(index)))
    return latte


def image_network(video: Latte) -> Latte:
    """The network on single frames, with the same weights."""
    image = Latte(**TINY, arrangement="spatial", temporal_position="none").eval()
    state = video.state_dict()
    image.load_state_dict({name: state.get(name, state.get(_in_channel(name))) for name in image.state_dict()})
    return image


def _in_channel(name: str) -> str:
    return name.replace("mixers.0.", "mixers.0.spatial.")


def noise(frames: int = 4, seed: int = 0) -> Tensor:
    return torch.randn(2, 4, frames, 8, 8, generator=torch.Generator().manual_seed(seed))


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


# ---- what is added, and where it starts ----


# Of one block of width d: CogVideo's second attention with its gate; attention and norm; AnimateDiff's module.
@pytest.mark.parametrize(
    ("temporal", "parameters"),
    [
        ("dual_channel", 4 * WIDTH**2 + 5 * WIDTH),
        ("sparse_causal", 4 * WIDTH**2 + 4 * WIDTH + 2 * WIDTH),
        ("motion_module", 22 * WIDTH**2 + 21 * WIDTH),
    ],
)
@pytest.mark.parametrize(("arrangement", "blocks"), [("spatial", 2), ("interleaved", 1)])
def test_added_parameters(temporal: str, parameters: int, arrangement: str, blocks: int) -> None:
    """Temporal blocks make way: of an interleaved network the spatial half is left."""
    image = Latte(**{**TINY, "depth": blocks}, arrangement="spatial")
    assert count(build(temporal=temporal, arrangement=arrangement)) == count(image) + blocks * parameters


@pytest.mark.parametrize(
    "options",
    [{"temporal": "motion_module"}, {"temporal": "dual_channel", "gate_start": 100.0}],
    ids=lambda options: options["temporal"],
)
def test_starts_as_the_image_network_on_each_frame(options: dict[str, Any]) -> None:
    video = build(**options)
    assert torch.equal(video(noise(), T), image_network(video)(noise(), T))


def test_sparse_causal_attention_starts_as_the_image_network_on_equal_frames() -> None:
    video, still = build(temporal="sparse_causal"), noise(1).expand(-1, -1, 4, -1, -1)
    torch.testing.assert_close(video(still, T), image_network(video)(still, T), rtol=0, atol=1e-5)
    moved = noise()
    moved[:, :, 3] += 1  # the last frame, which no other sees
    torch.testing.assert_close(video(moved, T)[:, :, :3], video(noise(), T)[:, :, :3], rtol=0, atol=1e-5)
    assert (video(noise(), T) - image_network(video)(noise(), T)).abs().max() > 1e-2


def test_the_temporal_channel_starts_with_the_queries_keys_and_values_of_the_spatial_one() -> None:
    for channels in dual_channels(build(drawn=False, temporal="dual_channel")):
        assert torch.equal(channels.temporal.qkv.weight, channels.spatial.qkv.weight)
        assert not torch.equal(channels.temporal.proj.weight, channels.spatial.proj.weight)
        assert not channels.gate.logit.any()


def dual_channels(network: nn.Module) -> list[DualChannelAttention]:
    return [module for module in network.modules() if isinstance(module, DualChannelAttention)]


# ---- training ----


def test_the_spatial_channel_is_frozen_and_stays_as_it_is_in_a_step() -> None:
    video = build(temporal="dual_channel").train()
    frozen = {name for name, parameter in video.named_parameters() if not parameter.requires_grad}
    assert frozen == {name for name, _ in video.named_parameters() if ".spatial." in name}
    before = {name: parameter.detach().clone() for name, parameter in video.named_parameters()}
    optimizer = torch.optim.AdamW((p for p in video.parameters() if p.requires_grad), lr=0.1)
    video(noise(), T).square().mean().backward()
    optimizer.step()
    moved = {name for name, parameter in video.named_parameters() if not torch.equal(parameter, before[name])}
    assert moved == before.keys() - frozen


@every_addition
def test_counters_agree_on_a_training_step(temporal: str) -> None:
    workload = Workload((4, 4, 8, 8))
    counts = count_operations(
        lambda: Latte(**TINY, temporal=temporal), lambda: workload.inputs(1, training=True), training=True
    )
    assert counts.incomplete == []
    assert counts.gmacs_by_counter["closed_form"] == counts.gmacs


@every_addition
def test_images_pass_as_by_the_image_network_and_leave_the_clip_alone(temporal: str) -> None:
    video = build(temporal=temporal)
    for index, parameter in enumerate(video.parameters()):  # the temporal part as well
        parameter.data.copy_(0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(index)))
    clip, images = noise(), noise(2, seed=1)
    out = video(torch.cat([clip, images], dim=2), T, Conditioning(num_images=2))
    torch.testing.assert_close(out[:, :, :4], video(clip, T), rtol=1e-4, atol=1e-4)
    alone = image_network(video)(torch.cat([images, images], dim=2), T)[:, :, :2]
    torch.testing.assert_close(out[:, :, 4:], alone, rtol=1e-4, atol=1e-4)


@every_addition
@pytest.mark.parametrize("position", ["absolute", "rope", "none"])
def test_positions_tell_the_order_of_frames(temporal: str, position: str) -> None:
    if (temporal, position) == ("motion_module", "rope"):
        pytest.skip("refused")
    video = build(temporal=temporal, temporal_position=position)
    for index, parameter in enumerate(video.parameters()):
        parameter.data.copy_(0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(index)))
    order = [0, 2, 3, 1]
    apart = (video(noise()[:, :, order], T) - video(noise(), T)[:, :, order]).abs().max()
    assert (apart > 1e-3) == (position != "none" or temporal == "sparse_causal")  # which looks back by itself


# ---- weights of the image network ----


@every_addition
@pytest.mark.parametrize("names", ["ours", "authors"])
def test_an_image_network_goes_into_the_spatial_part(temporal: str, names: str) -> None:
    image, video = Latte(**TINY, arrangement="spatial"), build(temporal=temporal)
    for parameter in image.parameters():
        nn.init.normal_(parameter, std=0.3)
    state = to_published(image) if names == "authors" else image.state_dict()
    layout = Latte.published_layout
    assert layout.is_image_model(state, video)
    assert not layout.is_image_model(video.state_dict(), video)
    layout.load_image_model(video, state, "an image model")
    loaded = image_network(video).state_dict()
    assert all(torch.equal(tensor, loaded[name]) for name, tensor in image.state_dict().items())
    for channels in dual_channels(video):
        assert torch.equal(channels.temporal.qkv.weight, channels.spatial.qkv.weight)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"temporal": "dual"},
            "unknown temporal 'dual': did you mean 'dual_channel'? "
            "known: attention, dual_channel, motion_module, sparse_causal",
        ),
        (
            {"temporal": "dual_channel", "arrangement": "sequential"},
            "temporal=dual_channel stands in purely spatial blocks, and arrangement=sequential has none: expected "
            "interleaved, late_fusion or spatial",
        ),
        (
            {"temporal": "motion_module", "temporal_position": "rope"},
            "temporal_position=rope does not fit temporal=motion_module: expected absolute or none",
        ),
    ],
)
def test_what_does_not_fit_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(StbenchError) as caught:
        build(**options)
    assert str(caught.value) == message


def test_no_weights_of_an_addition_were_published() -> None:
    with pytest.raises(StbenchError, match="no weights of temporal=motion_module were published"):
        to_published(build(temporal="motion_module"))

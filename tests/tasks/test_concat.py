"""A backbone that is given a part of the clip predicts as many channels as the noise has, and heeds that part."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from stbench.backbones.base import Conditioning
from stbench.backbones.contract import refuse_broken
from stbench.backbones.trial import Task, fill_zeros
from stbench.errors import StbenchError
from stbench.runtime.device import Runtime
from stbench.settings.components import load_component
from stbench.tasks.concat import WithAnimation, WithConcat, with_concat

FACTS = {"in_channels": 3, "sample_size": 8, "num_frames": 4, "num_classes": 0}


@pytest.fixture(params=["latte1", "pseudo3d_unet", "vdm_unet", "videocrafter_unet"])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def build(name: str, concat_channels: int, learned_variance: bool) -> torch.nn.Module:
    component, _ = load_component("variant", name).with_preset("smoke")
    torch.manual_seed(0)
    network = with_concat(component, {**FACTS, "learned_variance": learned_variance}, concat_channels)
    fill_zeros(network)
    return network.eval()


def noise(channels: int) -> Tensor:
    return torch.randn(2, channels, 4, 8, 8, generator=torch.Generator().manual_seed(channels))


@pytest.mark.parametrize("learned_variance", [True, False])
def test_only_what_belongs_to_the_noise_is_predicted(name: str, learned_variance: bool) -> None:
    network, concat = build(name, 4, learned_variance), noise(4)
    assert isinstance(network, WithConcat)
    prediction = network(noise(3), torch.tensor([10, 500]), Conditioning(concat=concat))
    inner = network.backbone(torch.cat([noise(3), concat], dim=1), torch.tensor([10, 500]), Conditioning())
    parts = inner.chunk(2, dim=1) if learned_variance else [inner]
    assert torch.equal(prediction, torch.cat([part[:, :3] for part in parts], dim=1))
    other = network(noise(3), torch.tensor([10, 500]), Conditioning(concat=concat + 1))
    assert not torch.allclose(prediction, other)


def test_where_nothing_is_given_a_backbone_is_itself(name: str) -> None:
    assert not isinstance(build(name, 0, True), WithConcat)


@pytest.mark.parametrize("concat", [None, noise(3), noise(4)[:1]])
def test_concat_of_another_shape_is_refused(concat: Tensor | None) -> None:
    with pytest.raises(
        StbenchError, match=r"conditioning\.concat: expected \(B, E, F, H, W\) = \(2, 4, 4, 8, 8\), got"
    ):
        build("latte1", 4, True)(noise(3), torch.tensor([1, 2]), Conditioning(concat=concat))


@pytest.mark.parametrize("learned_variance", [True, False])
def test_it_starts_as_the_network_to_which_nothing_is_given(name: str, learned_variance: bool) -> None:
    plain, network = build(name, 0, learned_variance), build(name, 4, learned_variance)
    assert isinstance(network, WithConcat)
    network.start_from(plain.state_dict(), "plain")
    expected = plain(noise(3), torch.tensor([10, 500]), Conditioning())
    prediction = network(noise(3), torch.tensor([10, 500]), Conditioning(concat=noise(4)))
    torch.testing.assert_close(prediction, expected, rtol=0, atol=1e-5)
    with pytest.raises(StbenchError, match="narrow"):
        network.start_from({name: tensor[..., :1] for name, tensor in plain.state_dict().items()}, "narrow")


def test_a_network_that_animates_reads_what_is_given_as_such() -> None:
    network, x, concat = build("animate_anything", 5, False), noise(3), noise(5)
    assert isinstance(network, WithAnimation)
    first, mask, strength = concat[:, :3, :1], concat[:, 3:4, :1], concat[:, 4, 0, 0, 0]
    told = Conditioning(first_frame=first, motion_mask=mask, motion_strength=strength)
    timesteps = torch.tensor([10, 500])
    expected = network.backbone(x, timesteps, told)
    assert torch.equal(network(x, timesteps, Conditioning(concat=concat)), expected)
    assert (network.backbone(x, timesteps) - expected).abs().max() > 1e-3


def test_of_another_task_it_is_given_channels_as_all_are() -> None:
    network = build("animate_anything", 4, False)
    assert not isinstance(network, WithAnimation)
    assert network(noise(3), torch.tensor([10, 500]), Conditioning(concat=noise(4))).shape == noise(3).shape


def test_told_mask_and_strength_it_keeps_the_contract() -> None:
    component, _ = load_component("variant", "animate_anything").with_preset("smoke")
    component = component.with_arguments({"motion": True})
    task = Task(
        latent_shape=(3, 4, 8, 8),
        num_classes=5,
        learned_variance=False,
        whole_timesteps=False,
        batch_size=2,
        joint_images=0,
        runtime=Runtime(torch.device("cpu"), "float32", "math"),
        concat_channels=5,
    )
    facts = {**FACTS, "num_classes": 5, "learned_variance": False}
    assert not refuse_broken(lambda: with_concat(component, facts, 5), task, "animate_anything")

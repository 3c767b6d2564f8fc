"""A backbone that is given a part of the clip predicts as many channels as the noise has, and heeds that part."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from stbench.backbones.base import Conditioning
from stbench.backbones.trial import fill_zeros
from stbench.errors import StbenchError
from stbench.settings.components import load_component
from stbench.tasks.concat import WithConcat, with_concat

FACTS = {"in_channels": 3, "sample_size": 8, "num_frames": 4, "num_classes": 0}


@pytest.fixture(params=["latte1", "pseudo3d_unet", "vdm_unet", "videocrafter_unet"])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def build(name: str, concat_channels: int, learned_variance: bool) -> torch.nn.Module:
    component, _ = load_component("variant", name).with_preset("smoke")
    torch.manual_seed(0)
    network = with_concat(component.construct, {**FACTS, "learned_variance": learned_variance}, concat_channels)
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

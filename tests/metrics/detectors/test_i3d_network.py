"""The network I3D with random weights: its tensors, its padding, its blocks, and where time is averaged."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from stbench.metrics.detectors.i3d_network import I3D, MaxPoolSame, Mixed, Unit3D, pad_same, same_padding


@pytest.fixture(scope="module")
def network() -> I3D:
    torch.manual_seed(0)
    return I3D().eval()


@pytest.fixture(scope="module")
def published_names(network: I3D) -> dict[str, Tensor]:
    """The 287 tensors of a converted file: no counters of batches."""
    return {name: value for name, value in network.state_dict().items() if "num_batches_tracked" not in name}


def test_parameters_and_tensors_are_those_of_the_published_file(
    network: I3D, published_names: dict[str, Tensor]
) -> None:
    assert sum(parameter.numel() for parameter in network.parameters()) == 12_697_264
    assert len(published_names) == 287
    assert len(network.state_dict()) == 344
    assert published_names["Conv3d_1a_7x7.conv3d.weight"].shape == (64, 3, 7, 7, 7)
    assert published_names["Mixed_4e.b1b.conv3d.weight"].shape == (288, 144, 3, 3, 3)
    assert published_names["Mixed_5c.b3b.bn.running_var"].shape == (128,)
    assert published_names["logits.conv3d.weight"].shape == (400, 1024, 1, 1, 1)


def test_batch_norms_have_the_epsilon_of_the_conversion(network: I3D) -> None:
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm3d)]
    assert len(norms) == 57
    assert {norm.eps for norm in norms} == {1e-5}


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "expected"),
    [
        (16, 7, 2, (2, 3)),  # the odd zero goes behind
        (17, 7, 2, (3, 3)),
        (224, 7, 2, (2, 3)),
        (112, 3, 2, (0, 1)),
        (7, 2, 2, (0, 1)),
        (8, 2, 2, (0, 0)),
        (5, 3, 1, (1, 1)),
        (3, 1, 1, (0, 0)),
    ],
)
def test_same_padding_is_tensorflows(size: int, kernel: int, stride: int, expected: tuple[int, int]) -> None:
    assert same_padding(size, kernel, stride) == expected


@pytest.mark.parametrize("F", [9, 16, 17])
def test_layers_round_sizes_up(F: int) -> None:
    clips = torch.zeros(1, 3, F, 15, 16)
    assert Unit3D(3, 4, kernel=7, stride=2)(clips).shape == (1, 4, -(-F // 2), 8, 8)
    assert MaxPoolSame((1, 3, 3), (1, 2, 2))(clips).shape == (1, 3, F, 8, 8)


def test_branches_are_joined_in_the_order_of_the_channel_table() -> None:
    block = Mixed(4, (1, 2, 3, 2, 2, 1)).eval()
    for value, unit in enumerate((block.b0, block.b1b, block.b2b, block.b3b), start=1):
        nn.init.zeros_(unit.conv3d.weight)
        nn.init.constant_(unit.bn.bias, value)
    joined = block(torch.rand(1, 4, 2, 3, 3))
    assert joined[0, :, 0, 0, 0].tolist() == [1, 2, 2, 2, 3, 3, 4]


@pytest.mark.parametrize("F", [9, 17])
def test_logits_are_averaged_over_time_never_flattened(network: I3D, F: int) -> None:
    clips = torch.rand((1, 3, F, 224, 224), generator=torch.Generator().manual_seed(0)) * 2 - 1
    seen: list[Tensor] = []
    handle = network.logits.register_forward_hook(lambda module, inputs, output: seen.append(output))
    with torch.no_grad():
        features = network(clips)
    handle.remove()
    assert seen[0].shape == (1, 400, -(-F // 8) - 1, 1, 1)
    assert features.shape == (1, 400)
    torch.testing.assert_close(features, seen[0][..., 0, 0].mean(dim=2))


def test_zeros_are_padded_on_the_axes_they_belong_to() -> None:
    padded = pad_same(torch.ones(1, 1, 2, 3, 4), kernel=(1, 2, 3), stride=(1, 1, 2))
    assert padded.shape == (1, 1, 2, 4, 5)
    assert torch.equal(padded[0, 0, :, :3, :4], torch.ones(2, 3, 4))
    assert padded[0, 0, :, 3].abs().sum() == padded[0, 0, :, :, 4].abs().sum() == 0


def test_a_unit_is_convolution_batch_norm_and_relu_by_hand() -> None:
    torch.manual_seed(1)
    unit = Unit3D(2, 3, kernel=3).eval()
    assert unit.bn.running_mean is not None
    assert unit.bn.running_var is not None
    nn.init.uniform_(unit.bn.running_mean)
    nn.init.uniform_(unit.bn.running_var, 0.5, 2.0)
    inputs = torch.randn(2, 2, 4, 5, 6)
    convolved = functional.conv3d(inputs, unit.conv3d.weight, padding=1)
    mean, variance = (each[:, None, None, None] for each in (unit.bn.running_mean, unit.bn.running_var))
    with torch.no_grad():
        torch.testing.assert_close(unit(inputs), ((convolved - mean) / (variance + 1e-5).sqrt()).clamp(min=0))


def test_pooling_pads_behind_and_takes_the_largest() -> None:
    frames = torch.arange(1.0, 6.0).reshape(1, 1, 5, 1, 1)
    pooled = MaxPoolSame((2, 1, 1), (2, 1, 1))(frames)
    assert pooled.flatten().tolist() == [2, 4, 5]

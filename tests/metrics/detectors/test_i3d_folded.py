"""The network of FVD against its published layers written out, and the folded network against the plain one.

The reference below is independent of the package: padding as TensorFlow's SAME, computed anew at every layer from the
remainder of the size, zeros around every window of a pooling, batch norm by its formula with the epsilon of the
conversion, average pooling [2, 7, 7], logits by a convolution with a bias, and their mean over time.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from stbench.metrics.detectors import build_detector
from stbench.metrics.detectors.i3d_folded import CeilMaxPool, FoldedUnit3D, fold
from stbench.metrics.detectors.i3d_network import I3D, MaxPoolSame, Unit3D

State = dict[str, Tensor]

BEFORE_POOL_4A = ("Mixed_3b", "Mixed_3c")
BEFORE_POOL_5A = ("Mixed_4b", "Mixed_4c", "Mixed_4d", "Mixed_4e", "Mixed_4f")
LAST = ("Mixed_5b", "Mixed_5c")


def reference_i3d(state: State, clips: Tensor) -> Tensor:
    """Logits (N, 400) of clips (N, 3, F, 224, 224)."""
    x = unit(state, "Conv3d_1a_7x7", clips, kernel=7, stride=2)
    x = pool(x, (1, 3, 3), (1, 2, 2))
    x = unit(state, "Conv3d_2b_1x1", x)
    x = unit(state, "Conv3d_2c_3x3", x, kernel=3)
    x = pool(x, (1, 3, 3), (1, 2, 2))
    for name in BEFORE_POOL_4A:
        x = mixed(state, name, x)
    x = pool(x, (3, 3, 3), (2, 2, 2))
    for name in BEFORE_POOL_5A:
        x = mixed(state, name, x)
    x = pool(x, (2, 2, 2), (2, 2, 2))
    for name in LAST:
        x = mixed(state, name, x)
    x = functional.avg_pool3d(x, (2, 7, 7), stride=(1, 1, 1))
    logits = functional.conv3d(x, state["logits.conv3d.weight"], state["logits.conv3d.bias"])
    return logits.squeeze(4).squeeze(3).mean(dim=2)


def mixed(state: State, name: str, x: Tensor) -> Tensor:
    b0 = unit(state, f"{name}.b0", x)
    b1 = unit(state, f"{name}.b1b", unit(state, f"{name}.b1a", x), kernel=3)
    b2 = unit(state, f"{name}.b2b", unit(state, f"{name}.b2a", x), kernel=3)
    b3 = unit(state, f"{name}.b3b", pool(x, (3, 3, 3), (1, 1, 1)))
    return torch.cat([b0, b1, b2, b3], dim=1)


def unit(state: State, name: str, x: Tensor, kernel: int = 1, stride: int = 1) -> Tensor:
    x = pad(x, (kernel,) * 3, (stride,) * 3)
    x = functional.conv3d(x, state[f"{name}.conv3d.weight"], stride=stride)
    mean, variance, weight, bias = (
        state[f"{name}.bn.{part}"][None, :, None, None, None]
        for part in ("running_mean", "running_var", "weight", "bias")
    )
    return ((x - mean) / (variance + 1e-5).sqrt() * weight + bias).clamp(min=0)


def pool(x: Tensor, kernel: tuple[int, int, int], stride: tuple[int, int, int]) -> Tensor:
    return functional.max_pool3d(pad(x, kernel, stride), kernel, stride)


def pad(x: Tensor, kernel: tuple[int, ...], stride: tuple[int, ...]) -> Tensor:
    amounts: list[int] = []
    for size, window, step in zip(x.shape[:1:-1], kernel[::-1], stride[::-1], strict=True):
        total = max(window - (size % step or step), 0)
        amounts += [total // 2, total - total // 2]
    return functional.pad(x, amounts)


def randomise(network: nn.Module) -> None:
    """Give convolutions weights that keep clips apart to the end, and batch norms statistics that matter."""
    for module in network.modules():
        if isinstance(module, nn.Conv3d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if isinstance(module, nn.BatchNorm3d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 2)
            nn.init.uniform_(module.weight, 0.7, 1.5)
            nn.init.normal_(module.bias, std=0.1)


@pytest.fixture(scope="module")
def state() -> State:
    torch.manual_seed(0)
    network = I3D()
    randomise(network)
    return network.state_dict()


def _noise(N: int, F: int) -> Tensor:
    return torch.rand((N, 3, F, 224, 224), generator=torch.Generator().manual_seed(F)) * 2 - 1


def _network(state: State) -> I3D:
    network = I3D().eval()
    network.load_state_dict(state)
    return network


@pytest.mark.parametrize("F", [9, 18])
def test_plain_and_folded_are_the_published_network(state: State, F: int) -> None:
    clips = _noise(1, F)
    expected = reference_i3d(state, clips)
    with torch.no_grad():
        plain, folded = _network(state)(clips), fold(_network(state))(clips)
    rounding = 1e-5 * float(expected.abs().max())
    torch.testing.assert_close(plain, expected, rtol=1e-5, atol=rounding)
    torch.testing.assert_close(folded, plain, rtol=1e-5, atol=rounding)


def test_folding_leaves_no_batch_norm_and_puts_channels_last(state: State) -> None:
    folded = fold(_network(state))
    assert not any(isinstance(module, (nn.BatchNorm3d, Unit3D, MaxPoolSame)) for module in folded.modules())
    first = folded.Conv3d_1a_7x7.conv3d
    assert first.bias is not None
    assert first.weight.is_contiguous(memory_format=torch.channels_last_3d)


@pytest.mark.parametrize(("kernel", "stride", "size"), [(1, 1, (4, 5, 6)), (3, 1, (4, 5, 6)), (7, 2, (9, 16, 17))])
def test_a_folded_unit_equals_the_unit(kernel: int, stride: int, size: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    plain = Unit3D(3, 8, kernel, stride).eval()
    randomise(plain)
    folded = FoldedUnit3D(plain)
    clips = torch.randn(2, 3, *size)
    with torch.no_grad():
        torch.testing.assert_close(folded(clips), plain(clips), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("kernel", "stride"),
    [((1, 3, 3), (1, 2, 2)), ((3, 3, 3), (2, 2, 2)), ((2, 2, 2), (2, 2, 2)), ((3, 3, 3), (1, 1, 1))],
)
@pytest.mark.parametrize("size", [(4, 8, 8), (5, 7, 9), (3, 2, 3)])
def test_pooling_without_padding_copies_equals_padding_by_zeros(
    kernel: tuple[int, int, int], stride: tuple[int, int, int], size: tuple[int, int, int]
) -> None:
    after_relu = torch.randn(2, 3, *size).relu()
    pool = MaxPoolSame(kernel, stride)
    assert torch.equal(CeilMaxPool(pool)(after_relu), pool(after_relu))


def test_features_do_not_depend_on_the_batch(state: State, tmp_path: Path) -> None:
    torch.save(state, tmp_path / "i3d.pt")
    detector = build_detector("i3d", weights=tmp_path / "i3d.pt")
    clips = (torch.rand(3, 3, 9, 48, 64) - 0.5) * torch.tensor([0.5, 1, 2]).reshape(3, 1, 1, 1, 1)
    one_by_one = torch.cat([detector(clip[None]) for clip in clips])
    assert one_by_one.std(dim=0).mean() > 0.1 * one_by_one.abs().mean()
    torch.testing.assert_close(detector(clips), one_by_one, rtol=1e-5, atol=1e-5 * float(one_by_one.abs().max()))

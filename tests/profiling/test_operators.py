"""Operators that count as nothing, those that no formula knows, and products that hide among elementwise ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import flop_registry, register_flop_formula

from stbench.profiling.flops import count_operations

B, N, D = 2, 16, 64
LINEAR_MACS = B * N * D * D


class Behind(nn.Module):
    """A linear layer, and a function of its output (B, N, D) outside of it."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.layer, self.function = nn.Linear(D, D), function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self.layer(x))


def missing(function: Callable[[Tensor], Tensor], training: bool = False) -> list[str]:
    counts = count_operations(lambda: Behind(function), lambda: (torch.zeros(B, N, D),), training)
    assert counts.macs >= LINEAR_MACS
    return counts.incomplete


def rotated(x: Tensor) -> Tensor:
    pairs = torch.view_as_complex(x.unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * torch.polar(torch.ones(D // 2), torch.zeros(D // 2))).flatten(-2)


def in_place(x: Tensor) -> Tensor:
    return x.clone().masked_fill_(x > 0, 0).abs_().transpose_(1, 2).squeeze_().copy_(x.mT).mul_(2)


FREE: dict[str, Callable[[Tensor], Tensor]] = {
    "elementwise": lambda x: torch.where(x > 0, x.exp() * x, x.clamp(0, 1)).tril() + F.glu(x).repeat(1, 1, 2),
    "activations": lambda x: F.hardswish(F.elu(F.leaky_relu(F.softplus(F.mish(F.gelu(F.logsigmoid(x))))))),
    "in place": in_place,
    "complex": rotated,
    "reductions": lambda x: x.mean(1) + x.std(1) + x.amax(1) + x.logsumexp(1) + x.norm(dim=1),
    "softmax": lambda x: x.softmax(-1) + x.log_softmax(-1) + F.normalize(x, dim=-1),
    "norms": lambda x: F.layer_norm(x, (D,)) + F.rms_norm(x, (D,)) + F.group_norm(x, 4) + F.batch_norm(x, *stats()),
    "dropout": lambda x: F.dropout(x, 0.1) + torch.randn_like(x) + torch.bernoulli(x.sigmoid()),
    "pooling": lambda x: F.avg_pool1d(x, 2) + F.max_pool1d(x, 2) + F.adaptive_avg_pool1d(x, D // 2),
    "padding": lambda x: F.pad(x, (1, 1)) + F.pad(x, (1, 1), "reflect") + F.pad(x, (2, 0), "replicate"),
    "interpolation": lambda x: F.interpolate(x, scale_factor=2) + F.interpolate(x, scale_factor=2, mode="linear"),
    "grids": lambda x: F.grid_sample(x[:, None], torch.zeros(B, N, D, 2), align_corners=False),
    "patches": lambda x: F.fold(F.unfold(x[:, None], 2, stride=2), (N, D), 2, stride=2),
    "shuffled pixels": lambda x: F.pixel_shuffle(F.pixel_unshuffle(x[:, None], 2), 2),
    "moved": lambda x: torch.cat([x.roll(1, 1), x.flip(1)]).repeat_interleave(2, 0).transpose(0, 1).contiguous(),
    "indexed": lambda x: x[:, torch.arange(N)] + x.index_select(1, torch.arange(N)) + x.gather(1, rows()),
    "scattered": lambda x: torch.zeros_like(x).scatter_add(1, rows(), x),
    "embedding": lambda x: x + F.embedding(torch.zeros(B, N, dtype=torch.long), torch.zeros(10, D)),
    "losses": lambda x: F.mse_loss(x, x.detach()) + F.smooth_l1_loss(x, x.detach()) + F.cross_entropy(x[:, 0], label()),
}


def stats() -> tuple[Tensor, Tensor]:
    return torch.zeros(N), torch.ones(N)


def rows() -> Tensor:
    return torch.zeros(B, N, D, dtype=torch.long)


def label() -> Tensor:
    return torch.zeros(B, dtype=torch.long)


@pytest.mark.parametrize("training", [False, True], ids=["forward", "training"])
@pytest.mark.parametrize("name", FREE)
def test_work_that_counts_as_nothing_is_not_missed(name: str, training: bool) -> None:
    assert missing(FREE[name], training) == []


NAMED: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "fourier": (lambda x: torch.fft.rfft(x).abs(), "aten._fft_r2c"),
    "sort": (lambda x: x.sort(-1).values, "aten.sort"),
    "topk": (lambda x: x.topk(3, -1).values, "aten.topk"),
    "scan": (lambda x: x.cumsum(1), "aten.cumsum"),
    "distances": (lambda x: torch.cdist(x, x), "aten._cdist_forward"),
    "vector product": (lambda x: x[0] @ x[0, 0], "aten.mv"),
    "bilinear form": (lambda x: F.bilinear(x, x, torch.zeros(1, D, D)), "aten._trilinear"),
    "several": (lambda x: torch.linalg.det(x[..., :N]) + x.cumprod(1).sort(1).values[:, 0, 0], ""),
}


@pytest.mark.parametrize("name", NAMED)
def test_operators_without_a_formula_are_named_with_what_to_do(name: str) -> None:
    function, operator = NAMED[name]
    assert missing(function) == [
        f"no formula counts {operator or 'aten._linalg_det, aten.cumprod, aten.sort'}: register one in the backbone's "
        "file by torch.utils.flop_counter.register_flop_formula"
    ]
    assert missing(function, training=True) != []


def test_an_operator_on_next_to_nothing_is_not_worth_naming() -> None:
    """Positions are counted up by a cumulative sum in many networks."""

    def positions(x: Tensor) -> Tensor:
        return x + torch.ones(3).cumsum(0)[0]

    large = count_operations(lambda: Behind(positions), lambda: (torch.zeros(8 * B, 64 * N, D),))
    assert large.incomplete == []
    assert missing(positions) != []  # of a network of 0.1 million operations nothing is known


@pytest.fixture
def scan() -> Iterator[Callable[[Tensor], Tensor]]:
    """A kernel of one's own, as a custom operator of torch."""

    @torch.library.custom_op("stbench_test::scan", mutates_args=())
    def scan(x: Tensor) -> Tensor:
        return x.cumsum(1)

    scan.register_fake(torch.empty_like)
    yield scan
    flop_registry.pop(torch.ops.stbench_test.scan, None)


def test_a_kernel_of_ones_own_is_counted_by_its_own_formula(scan: Callable[[Tensor], Tensor]) -> None:
    assert missing(scan)[0].startswith("no formula counts stbench_test.scan: ")

    @register_flop_formula(torch.ops.stbench_test.scan)
    def scan_flops(x_shape: torch.Size, *, out_shape: torch.Size, **_: object) -> int:
        return 2 * 10 * x_shape.numel()

    counts = count_operations(lambda: Behind(scan), lambda: (torch.zeros(B, N, D),))
    assert counts.macs == LINEAR_MACS + 10 * B * N * D
    assert counts.incomplete == []


@pytest.mark.parametrize(
    "product",
    [
        lambda x: (x[:, :, None] * x[:, None]).sum(-1),
        lambda x: (x[:, :, None].expand(-1, -1, N, -1) * x[:, None]).sum(-1),
        lambda x: (x[:, :, None].clone().mul_(x[:, :1, None]) * x[:, None]).sum(-1),
    ],
    ids=["broadcast", "expanded", "after another"],
)
@pytest.mark.parametrize("training", [False, True], ids=["forward", "training"])
def test_a_product_written_as_broadcasting_and_a_sum_is_suspected(
    product: Callable[[Tensor], Tensor], training: bool
) -> None:
    [complaint] = missing(product, training)
    assert complaint == (
        f"{B * N * N * D} multiplications of two broadcast factors count as elementwise: where they are summed up, "
        "write torch.matmul or torch.einsum, which are counted"
    )


def test_a_product_by_einsum_is_counted() -> None:
    counts = count_operations(
        lambda: Behind(lambda x: torch.einsum("bnd,bmd->bnm", x, x)), lambda: (torch.zeros(B, N, D),)
    )
    assert counts.macs == LINEAR_MACS + B * N * N * D
    assert counts.incomplete == []


@pytest.mark.parametrize(
    "elementwise", [lambda x: x * x[:, :1], lambda x: x * 2, lambda x: x * torch.ones(D), lambda x: x * x.mean()]
)
def test_a_factor_of_full_size_makes_no_product(elementwise: Callable[[Tensor], Tensor]) -> None:
    assert missing(elementwise) == missing(elementwise, training=True) == []

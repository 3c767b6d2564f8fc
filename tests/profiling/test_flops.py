"""Counts against closed forms, between counters, and with operations that a counter would lose."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stbench.backbones.base import UNCONDITIONAL, Conditioning
from stbench.backbones.latte import Latte
from stbench.backbones.layers import Mlp
from stbench.errors import StbenchError
from stbench.profiling.flops import count_operations, count_parameters
from stbench.runtime.attention.attend import Attend
from stbench.runtime.attention.backends import BACKENDS

ATTENTION_FLOPS = 4 * 2 * 4 * 64 * 64 * 32  # 4 B H N N D


class Block(nn.Module):
    """A transformer block of width D, H heads, on tokens (B, N, D), whose products have a closed form."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(width, 3 * width)
        self.attend = Attend()
        self.projection = nn.Linear(width, width)
        self.mlp = Mlp(width, 4 * width)

    def forward(self, x: Tensor) -> Tensor:
        B, N, D = x.shape
        q, k, v = self.qkv(x).reshape(B, N, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
        x = x + self.projection(self.attend(q, k, v).transpose(1, 2).reshape(B, N, D))
        return x + self.mlp(x)


class Transformer(nn.Module):
    """Blocks between a convolution and a head, called as a backbone is."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Conv3d(4, 32, (1, 2, 2), stride=(1, 2, 2))
        self.register_buffer("positions", torch.zeros(1, 32, 32))
        self.register_buffer("scratch", torch.zeros(100), persistent=False)
        self.register_buffer("counter", torch.zeros(3, dtype=torch.long))
        self.blocks = nn.ModuleList(Block(32, 4) for _ in range(3))
        self.head = nn.Linear(32, 8)

    def forward(self, noisy_latents: Tensor, timesteps: Tensor, conditioning: Conditioning) -> Tensor:
        x = self.embed(noisy_latents).flatten(2).transpose(1, 2) + self.positions + timesteps[:, None, None]
        for block in self.blocks:
            x = block(x)
        return self.head(x)


def transformer_inputs() -> tuple[Any, ...]:
    return torch.zeros(2, 4, 2, 8, 8), torch.zeros(2), UNCONDITIONAL


def block_macs(B: int, N: int, D: int) -> int:
    return B * N * 12 * D * D + 2 * B * N * N * D


def with_backend(name: str) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        attend = Attend()
        attend.backend = name
        return attend

    return build


@pytest.mark.parametrize("backend", BACKENDS)
def test_attention_is_counted_whatever_its_backend(backend: str) -> None:
    counts = count_operations(with_backend(backend), lambda: tuple(torch.zeros(3, 2, 4, 64, 32)))
    assert ATTENTION_FLOPS == 4_194_304
    assert 2 * counts.macs == ATTENTION_FLOPS
    assert counts.gflops == ATTENTION_FLOPS / 1e9 == 2 * counts.gmacs
    assert counts.gmacs_by_counter["closed_form"] == counts.gmacs
    assert counts.incomplete == []


class DirectAttention(nn.Module):
    """A network of somebody else's, which calls torch's fused attention itself."""

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(q, k, v)


def test_fused_attention_of_a_foreign_network_is_counted() -> None:
    """The closed form does not see it, but nothing is missing."""
    counts = count_operations(DirectAttention, lambda: tuple(torch.zeros(3, 2, 4, 64, 32)))
    assert 2 * counts.macs == ATTENTION_FLOPS
    assert counts.gmacs_by_counter == {"torch": counts.gmacs, "closed_form": 0.0}
    assert counts.incomplete == []


def test_torch_encoder_layer_is_counted_despite_its_fused_path() -> None:
    def build() -> nn.Module:
        return nn.TransformerEncoderLayer(32, 4, 128, batch_first=True)

    counts = count_operations(build, lambda: (torch.zeros(2, 16, 32),))
    assert counts.macs == block_macs(2, 16, 32)
    assert counts.incomplete == []


class Mixing(nn.Module):
    """A layer, and a product of its output with itself outside of it: (B, N, D) -> (B, N, N)."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 8)

    def forward(self, input: Tensor) -> Tensor:
        x = self.layer(input)
        return x @ x.transpose(1, 2)


@pytest.mark.parametrize(("training", "macs"), [(False, 2 * 5 * (8 * 8 + 5 * 8)), (True, 2 * 5 * (2 * 64 + 3 * 40))])
def test_products_outside_of_layers_are_counted_and_nothing_is_missing(training: bool, macs: int) -> None:
    counts = count_operations(Mixing, lambda: (torch.zeros(2, 5, 8),), training)
    assert counts.macs == macs
    assert counts.gmacs_by_counter["closed_form"] < counts.gmacs
    assert counts.incomplete == []


@pytest.mark.parametrize(
    ("build", "shape", "macs"),
    [
        (lambda: nn.Linear(48, 96), (2, 7, 48), 2 * 7 * 48 * 96),
        (lambda: nn.Conv1d(4, 6, 3), (2, 4, 10), 2 * 6 * 8 * 4 * 3),
        (lambda: nn.Conv2d(8, 16, 3, groups=4, stride=2), (2, 8, 9, 9), 2 * 16 * 4 * 4 * 2 * 9),
        (lambda: nn.Conv3d(4, 32, (1, 2, 2), stride=(1, 2, 2)), (2, 4, 16, 32, 32), 2 * 16 * 16 * 16 * 32 * 4 * 4),
        (lambda: nn.ConvTranspose3d(8, 4, (1, 4, 4), (1, 2, 2), (0, 1, 1)), (2, 8, 3, 5, 5), 2 * 8 * 75 * 4 * 16),
    ],
)
def test_layers_have_closed_forms(build: Callable[[], nn.Module], shape: tuple[int, ...], macs: int) -> None:
    counts = count_operations(build, lambda: (torch.zeros(shape),))
    assert counts.macs == macs
    assert counts.gmacs_by_counter == {"torch": macs / 1e9, "closed_form": macs / 1e9}
    assert counts.gmacs_by_module == {"": macs / 1e9}
    assert counts.incomplete == []


def test_transformer_by_operator_and_by_module() -> None:
    counts = count_operations(Transformer, transformer_inputs)
    embed, blocks, head = 2 * 32 * 32 * 16, 3 * block_macs(2, 32, 32), 2 * 32 * 32 * 8
    assert counts.macs == embed + blocks + head
    assert counts.gmacs_by_module == {"embed": embed / 1e9, "blocks": blocks / 1e9, "head": head / 1e9}
    assert counts.gmacs_by_operator["aten.convolution"] == embed / 1e9
    assert counts.gmacs_by_operator["aten.bmm"] == 3 * 2 * 2 * 32 * 32 * 32 / 1e9
    assert sum(counts.gmacs_by_operator.values()) == pytest.approx(counts.gmacs)
    per_block = {"qkv": 3 * 32 * 32, "projection": 32 * 32, "mlp": 8 * 32 * 32, "attend": 2 * 32 * 32}
    parts = {f"blocks.*.{name}": 3 * 2 * 32 * macs / 1e9 for name, macs in per_block.items()}
    assert counts.gmacs_by_part == pytest.approx({"embed": embed / 1e9, **parts, "head": head / 1e9})
    assert counts.gmacs_by_counter["closed_form"] == counts.gmacs
    assert counts.incomplete == []


@pytest.mark.parametrize(
    ("size", "patch_size", "width", "depth", "published_flops"),
    [
        ("S", 2, 384, 12, 187_262_533_632),
        ("B", 4, 768, 12, 179_194_822_656),
        ("L", 8, 1024, 24, 160_325_697_536),
        ("XL", 2, 1152, 28, 3_785_927_786_496),
    ],
)
def test_latte_takes_the_published_operations_less_repeated_modulation(
    size: str, patch_size: int, width: int, depth: int, published_flops: int
) -> None:
    """The authors' code evaluates each modulation on F or N copies of one row; here it is evaluated on one.

    The published operations were counted by torch's counter on the authors' model, 16 frames of 32 x 32 latents.
    """
    frames, N = 16, (32 // patch_size) ** 2
    modulation, final = 6 * width**2, 2 * width**2
    saved = depth // 2 * modulation * (frames - 1 + N - 1) + final * (frames - 1)
    counts = count_operations(
        lambda: Latte(size=size, patch_size=patch_size),
        lambda: (torch.zeros(1, 4, 16, 32, 32), torch.zeros(1), UNCONDITIONAL),
    )
    assert counts.macs == published_flops // 2 - saved
    assert counts.incomplete == []


def test_counting_runs_in_evaluation_mode_and_builds_on_the_meta_device() -> None:
    built: list[nn.Module] = []

    def build() -> nn.Module:
        built.append(nn.Sequential(nn.Linear(2**20, 2**20), nn.Dropout()))  # 4 TiB of weights, were they real
        return built[0]

    counts = count_operations(build, lambda: (torch.zeros(1, 2**20),))
    assert counts.macs == 2**40
    assert not built[0].training
    assert all(p.is_meta for p in built[0].parameters())


class LosingLinear(nn.Linear):
    """A linear layer whose product the counter cannot recognise as one."""

    def forward(self, input: Tensor) -> Tensor:
        return (input[:, None] * self.weight).sum(-1)


def test_layers_that_the_counter_lost_are_missed() -> None:
    counts = count_operations(lambda: LosingLinear(4, 3), lambda: (torch.zeros(5, 4),))
    assert counts.incomplete == ["counted 0 MACs, but the layers and products that were called take 60"]


class ReadsValues(nn.Module):
    """A network that cannot run without values."""

    def forward(self, x: Tensor) -> Tensor:
        return x * x.sum().item()


class TooNarrow(nn.Linear):
    """A network with a fault of its own, which has nothing to do with where it is counted."""

    def __init__(self) -> None:
        super().__init__(3, 4)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (ReadsValues, "the network fails on the meta device, where tensors have no values: "),
        (TooNarrow, r"the network fails: RuntimeError: .*\[1, 2\] X \[3, 4\]"),
        (lambda: nn.Flatten(5), "the network fails: IndexError: Dimension out of range"),
    ],
)
def test_a_network_that_fails_is_refused_in_one_line_that_says_why(
    build: Callable[[], nn.Module], message: str
) -> None:
    with pytest.raises(StbenchError, match=f"^operations cannot be counted: {message}") as caught:
        count_operations(build, lambda: (torch.zeros(1, 2),))
    assert "\n" not in str(caught.value)


def test_a_refusal_of_the_network_is_handed_on() -> None:
    with pytest.raises(StbenchError, match=r"^Latte expects latents"):
        count_operations(Latte, lambda: (torch.zeros(1, 2), torch.zeros(1), UNCONDITIONAL))


def test_parameters_with_and_without_frozen_tables() -> None:
    network = Transformer()
    learned = 32 * 16 + 32 + 3 * (12 * 32 * 32 + (3 + 1 + 4 + 1) * 32) + 32 * 8 + 8
    assert count_parameters(network) == (learned + 32 * 32, learned)
    network.head.requires_grad_(False)
    assert count_parameters(network) == (learned + 32 * 32, learned - 32 * 8 - 8)


def test_shared_parameters_count_once_even_on_the_meta_device() -> None:
    with torch.device("meta"):
        network = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
    network[1].weight = network[0].weight
    assert count_parameters(network) == (80, 80)


def test_a_layer_that_is_called_by_keyword_counts() -> None:
    class Keywords(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Conv3d(4, 4, 1)

        def forward(self, noisy_latents: Tensor, timesteps: Tensor, conditioning: Conditioning) -> Tensor:
            return self.layer(input=noisy_latents)

    counted = count_operations(Keywords, lambda: (torch.zeros(1, 4, 2, 3, 3), torch.zeros(1), UNCONDITIONAL))
    assert counted.gmacs_by_counter == {"closed_form": 4 * 4 * 18 / 1e9, "torch": 4 * 4 * 18 / 1e9}

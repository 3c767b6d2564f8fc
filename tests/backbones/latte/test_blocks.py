"""The parts of Latte's blocks against plain loops over frames and positions, with every weight filled with noise."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stbench.backbones.latte.blocks import (
    AxialAttention,
    LatteBlock,
    Modulation,
    ParallelAttention,
    SplitAttention,
    attend_along,
    modulate,
)
from stbench.backbones.layers import apply_rotary
from stbench.runtime.attention.attend import Attend

Module = TypeVar("Module", bound=nn.Module)
B, FRAMES, N, WIDTH, HEADS = 2, 3, 5, 16, 4


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def noisy(module: Module) -> Module:
    for index, parameter in enumerate(module.parameters()):
        parameter.data.copy_(0.3 * normal(*parameter.shape, seed=index))
    return module.eval()


def plain_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention of one head: (L, E) each."""
    return (q @ k.T / q.shape[-1] ** 0.5).softmax(-1) @ v


def plain_axis(qkv: Tensor, axis: str, rotary: bool = False) -> Tensor:
    """`attend_along` head by head and sequence by sequence: (B, F, N, 3, heads, E) -> (B, F, N, heads * E)."""
    out = torch.empty_like(qkv[:, :, :, 0])
    for b in range(qkv.shape[0]):
        for head in range(qkv.shape[4]):
            for index in range(qkv.shape[1 if axis == "spatial" else 2]):
                where = (b, index, slice(None)) if axis == "spatial" else (b, slice(None), index)
                q, k, v = qkv[where][:, :, head].unbind(1)
                if rotary and axis == "temporal":
                    q, k = (apply_rotary(each, torch.arange(len(each))) for each in (q, k))
                out[where][:, head] = plain_attention(q, k, v)
    return out.flatten(-2)


# ---- attention along an axis ----


@pytest.mark.parametrize("rotary", [False, True])
@pytest.mark.parametrize("axis", ["spatial", "temporal"])
def test_attention_along_an_axis_sequence_by_sequence(axis: str, rotary: bool) -> None:
    qkv = normal(B, FRAMES, N, 3, HEADS, 6)
    out = attend_along(Attend(), qkv, axis, rotary)  # type: ignore[arg-type]
    torch.testing.assert_close(out, plain_axis(qkv, axis, rotary), rtol=1e-5, atol=1e-6)


def test_rotary_turns_the_temporal_axis_alone() -> None:
    qkv = normal(B, FRAMES, N, 3, HEADS, 6)
    attend = Attend()
    assert torch.equal(attend_along(attend, qkv, "spatial", True), attend_along(attend, qkv, "spatial", False))
    turned, plain = (attend_along(attend, qkv, "temporal", rotary) for rotary in (True, False))
    assert (turned - plain).abs().max() > 1e-2


@pytest.mark.parametrize(
    ("axis", "reached"),
    [
        ("spatial", lambda moved: moved[1].all() and not moved[[0, 2]].any()),
        ("temporal", lambda moved: moved[:, 3].all() and not moved[:, [0, 1, 2, 4]].any()),
    ],
)
def test_one_changed_token_reaches_its_axis_alone(axis: str, reached: Callable[[Tensor], bool]) -> None:
    attention = noisy(AxialAttention(WIDTH, HEADS, axis))  # type: ignore[arg-type]
    x = normal(1, FRAMES, N, WIDTH)
    changed = x.clone()
    changed[:, 1, 3] += 1
    moved = (attention(changed) - attention(x))[0].abs().amax(dim=-1) > 1e-6  # (F, N)
    assert reached(moved)


def test_images_get_nothing_from_the_temporal_axis_and_give_it_nothing() -> None:
    attention = noisy(AxialAttention(WIDTH, HEADS, "temporal"))
    x = normal(B, FRAMES + 2, N, WIDTH)
    out = attention(x, num_images=2)
    assert out.shape == x.shape
    assert torch.equal(out[:, :FRAMES], attention(x[:, :FRAMES]))
    assert not out[:, FRAMES:].any()


def test_images_take_part_in_the_spatial_axis_like_frames() -> None:
    attention = noisy(AxialAttention(WIDTH, HEADS, "spatial"))
    x = normal(B, FRAMES + 2, N, WIDTH)
    assert torch.equal(attention(x, num_images=2), attention(x))


# ---- the two readings of variant 4 ----


def test_full_width_adds_two_attentions_of_half_the_heads() -> None:
    attention = noisy(ParallelAttention(WIDTH, HEADS, rotary=False))
    x = normal(B, FRAMES, N, WIDTH)
    expected = torch.zeros_like(x)
    for axis in ("spatial", "temporal"):
        half = getattr(attention, axis)
        assert half.qkv.weight.shape == (3 * WIDTH, WIDTH)  # full width
        qkv = half.qkv(x).unflatten(-1, (3, HEADS // 2, WIDTH // (HEADS // 2)))
        expected += plain_axis(qkv, axis) @ half.proj.weight.T + half.proj.bias
    torch.testing.assert_close(attention(x), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("rotary", [False, True])
def test_split_divides_the_heads_of_one_attention(rotary: bool) -> None:
    attention = noisy(SplitAttention(WIDTH, HEADS, rotary))
    x = normal(B, FRAMES, N, WIDTH)
    qkv = attention.qkv(x).unflatten(-1, (3, HEADS, WIDTH // HEADS))
    halves = [plain_axis(qkv[..., :2, :], "spatial"), plain_axis(qkv[..., 2:, :], "temporal", rotary)]
    expected = torch.cat(halves, dim=-1) @ attention.proj.weight.T + attention.proj.bias
    torch.testing.assert_close(attention(x), expected, rtol=1e-5, atol=1e-5)


def test_an_image_in_a_split_attention_sees_itself_over_time() -> None:
    """A clip of one frame attends to itself over time as well: the same weights give the same."""
    attention = noisy(SplitAttention(WIDTH, HEADS, rotary=False))
    x = normal(B, FRAMES + 2, N, WIDTH)
    out = attention(x, num_images=2)
    torch.testing.assert_close(out[:, :FRAMES], attention(x[:, :FRAMES]), rtol=1e-5, atol=1e-6)
    for image in range(FRAMES, FRAMES + 2):
        alone = attention(x[:, image : image + 1])
        torch.testing.assert_close(out[:, image : image + 1], alone, rtol=1e-5, atol=1e-6)


def test_parameters_of_the_two_readings() -> None:
    full, split = ParallelAttention(WIDTH, HEADS, False), SplitAttention(WIDTH, HEADS, False)
    one_attention = 4 * WIDTH * WIDTH + 4 * WIDTH
    counts = [sum(p.numel() for p in module.parameters()) for module in (full, split)]
    assert counts == [2 * one_attention, one_attention]


# ---- modulation ----


def test_modulate_by_its_formula() -> None:
    x, shift, scale = normal(B, FRAMES, N, WIDTH), normal(B, 1, 1, WIDTH, seed=1), normal(B, FRAMES, 1, WIDTH, seed=2)
    torch.testing.assert_close(modulate(x, shift, scale), x * (1 + scale) + shift)
    assert torch.equal(modulate(x, torch.zeros(1), torch.zeros(1)), x)


def test_modulation_is_linear_of_silu_in_chunks() -> None:
    modulation = noisy(Modulation(WIDTH, 6))
    condition = normal(B, 1, WIDTH)
    chunks = modulation.per_frame(condition, FRAMES, 0)
    expected = F.silu(condition) @ modulation.linear.weight.T + modulation.linear.bias
    assert [tuple(chunk.shape) for chunk in chunks] == [(B, 1, 1, WIDTH)] * 6
    torch.testing.assert_close(torch.cat(chunks, dim=-1)[:, :, 0], expected)


def test_modulation_of_images_is_their_own() -> None:
    modulation = noisy(Modulation(WIDTH, 2))
    condition = normal(B, 1 + 2, WIDTH)
    joint = modulation.per_frame(condition, FRAMES, 2)
    for both, clip in zip(joint, modulation.per_frame(condition[:, :1], 1, 0), strict=True):
        assert both.shape == (B, FRAMES + 2, 1, WIDTH)
        assert torch.equal(both[:, :FRAMES], clip.expand(-1, FRAMES, -1, -1))  # not even the rounding differs
    for image in (1, 2):
        alone = modulation.per_frame(condition[:, image : image + 1], 1, 0)
        for both, own in zip(joint, alone, strict=True):
            torch.testing.assert_close(both[:, FRAMES + image - 1 : FRAMES + image], own)


# ---- the block ----


class Halve(nn.Module):
    """A mixer whose result is easy to follow."""

    def forward(self, x: Tensor, num_images: int = 0) -> Tensor:
        return x / 2


class Shift(nn.Module):
    """A mixer that does not commute with `Halve`."""

    def forward(self, x: Tensor, num_images: int = 0) -> Tensor:
        return x + 1


def norm(x: Tensor) -> Tensor:
    return (x - x.mean(-1, keepdim=True)) / (x.var(-1, keepdim=True, unbiased=False) + 1e-6).sqrt()


def test_adaptive_block_by_its_formula() -> None:
    """One triple of shift, scale and gate for both mixers, a second one for the MLP."""
    block = noisy(LatteBlock([Halve(), Shift()], WIDTH, 2 * WIDTH, adaptive=True))
    x, condition = normal(B, FRAMES, N, WIDTH), normal(B, 1, WIDTH, seed=1)
    assert block.modulation is not None
    rows = block.modulation(condition)[:, :, None]
    shift, scale, gate, mlp_shift, mlp_scale, mlp_gate = rows.chunk(6, dim=-1)
    expected = x + gate * (norm(x) * (1 + scale) + shift) / 2
    expected = expected + gate * (norm(expected) * (1 + scale) + shift + 1)
    expected = expected + mlp_gate * block.mlp(norm(expected) * (1 + mlp_scale) + mlp_shift)
    torch.testing.assert_close(block(x, condition), expected, rtol=1e-4, atol=1e-5)
    assert [name for name, _ in block.norms.named_parameters()] == []


def test_block_without_modulation_has_affine_norms_and_no_gates() -> None:
    block = noisy(LatteBlock([Halve(), Shift()], WIDTH, 2 * WIDTH, adaptive=False))
    x = normal(B, FRAMES, N, WIDTH)
    expected = x
    for index, mixer in enumerate((lambda y: y / 2, lambda y: y + 1, block.mlp)):
        affine = block.norms[index]
        expected = expected + mixer(norm(expected) * affine.weight + affine.bias)
    torch.testing.assert_close(block(x, normal(B, 1, WIDTH)), expected, rtol=1e-4, atol=1e-5)
    assert torch.equal(block(x, normal(B, 1, WIDTH)), block(x, normal(B, 1, WIDTH, seed=3)))
    assert block.modulation is None


def test_closed_gates_make_a_block_the_identity() -> None:
    block = noisy(LatteBlock([AxialAttention(WIDTH, HEADS, "spatial")], WIDTH, 2 * WIDTH, adaptive=True))
    block.modulation.linear.weight.data.zero_()
    block.modulation.linear.bias.data.zero_()
    x = normal(B, FRAMES, N, WIDTH)
    assert torch.equal(block(x, normal(B, 1, WIDTH)), x)


@pytest.mark.parametrize("adaptive", [True, False])
def test_images_pass_a_video_only_block_untouched(adaptive: bool) -> None:
    mixers: list[nn.Module] = [AxialAttention(WIDTH, HEADS, "temporal")]
    block = noisy(LatteBlock(mixers, WIDTH, 2 * WIDTH, adaptive, video_only=True))
    x, condition = normal(B, FRAMES + 2, N, WIDTH), normal(B, 1 + 2, WIDTH, seed=1)
    out = block(x, condition, 2)
    assert torch.equal(out[:, FRAMES:], x[:, FRAMES:])
    assert torch.equal(out[:, :FRAMES], block(x[:, :FRAMES], condition[:, :1]))


@pytest.mark.parametrize("adaptive", [True, False])
def test_images_in_a_spatial_block_are_clips_of_one_frame(adaptive: bool) -> None:
    block = noisy(LatteBlock([AxialAttention(WIDTH, HEADS, "spatial")], WIDTH, 2 * WIDTH, adaptive))
    x, condition = normal(B, FRAMES + 2, N, WIDTH), normal(B, 1 + 2, WIDTH, seed=1)
    out = block(x, condition, 2)
    torch.testing.assert_close(out[:, :FRAMES], block(x[:, :FRAMES], condition[:, :1]), rtol=1e-5, atol=1e-5)
    for image in (1, 2):
        row = FRAMES + image - 1
        alone = block(x[:, row : row + 1], condition[:, image : image + 1])
        torch.testing.assert_close(out[:, row : row + 1], alone, rtol=1e-5, atol=1e-5)

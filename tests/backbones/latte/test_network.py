"""Latte against golden values, a plain implementation of the authors' computation, and its own invariants."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from stbench.backbones.base import Conditioning
from stbench.backbones.latte.network import CHOICES, SIZES, Latte
from stbench.backbones.layers import sincos_table, sincos_table_2d
from stbench.backbones.published import published_layout, to_published
from stbench.errors import StbenchError
from stbench.runtime.attention.attend import set_attention_backend
from stbench.runtime.attention.available import unavailable_reason
from stbench.runtime.attention.backends import BACKENDS

TINY: dict[str, Any] = {
    "hidden_size": 32,
    "depth": 4,
    "num_heads": 4,
    "mlp_ratio": 4.0,
    "sample_size": 8,
    "num_frames": 4,
    "num_classes": 5,
}
SHAPE = (2, 4, 4, 8, 8)
TIMESTEPS = torch.tensor([3, 700])
CLASSES = torch.tensor([1, 4])
LABELS = Conditioning(class_labels=CLASSES)
FOUR = [
    {"arrangement": "interleaved"},
    {"arrangement": "late_fusion"},
    {"arrangement": "sequential"},
    {"arrangement": "parallel", "reading": "full-width"},
    {"arrangement": "parallel", "reading": "split"},
]
NAMES = ["V1", "V2", "V3", "V4-full", "V4-split"]
every_arrangement = pytest.mark.parametrize("arrangement", FOUR, ids=NAMES)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def noisy(module: Latte, scale: float = 0.1) -> Latte:
    """Fill every parameter with noise: what starts at zero would hide faults."""
    for index, parameter in enumerate(module.parameters()):
        parameter.data.copy_(scale * normal(*parameter.shape, seed=index))
    return module.eval()


def build(**options: Any) -> Latte:
    return Latte(**{**TINY, **options})


def published_name(backbone: Latte) -> Callable[[str], str]:
    return published_layout(backbone).names(backbone).__getitem__


def zero_temporal_gates(backbone: Latte) -> None:
    """Close the gates of all temporal blocks of variants 1 and 2."""
    for block in backbone.blocks.children():
        if block.video_only:
            for chunk in (2, 5):  # the gates of attention and MLP
                width = block.modulation.linear.in_features
                block.modulation.linear.weight.data[chunk * width : (chunk + 1) * width] = 0
                block.modulation.linear.bias.data[chunk * width : (chunk + 1) * width] = 0


# ---- the authors' computation, plainly ----


def plain_timestep(state: dict[str, Tensor], timesteps: Tensor) -> Tensor:
    frequencies = torch.exp(-torch.log(torch.tensor(10000.0)) * torch.arange(128) / 128)
    angles = timesteps[:, None].float() * frequencies
    hidden = torch.cat([angles.cos(), angles.sin()], dim=1) @ state["t_embedder.mlp.0.weight"].T
    hidden = F.silu(hidden + state["t_embedder.mlp.0.bias"])
    return hidden @ state["t_embedder.mlp.2.weight"].T + state["t_embedder.mlp.2.bias"]


def plain_block(state: dict[str, Tensor], prefix: str, x: Tensor, c: Tensor, heads: int) -> Tensor:
    """One adaLN-Zero block on (rows, tokens, width) with one condition a row."""

    def linear(name: str, value: Tensor) -> Tensor:
        return value @ state[f"{prefix}.{name}.weight"].T + state[f"{prefix}.{name}.bias"]

    width = x.shape[-1]
    shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = linear("adaLN_modulation.1", F.silu(c))[:, None].chunk(6, -1)
    hidden = F.layer_norm(x, (width,), eps=1e-6) * (1 + scale_a) + shift_a
    q, k, v = (part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in linear("attn.qkv", hidden).chunk(3, -1))
    weights = (q @ k.transpose(-2, -1) / (width / heads) ** 0.5).softmax(-1)
    x = x + gate_a * linear("attn.proj", (weights @ v).transpose(1, 2).flatten(2))
    hidden = F.layer_norm(x, (width,), eps=1e-6) * (1 + scale_m) + shift_m
    return x + gate_m * linear("mlp.fc2", F.gelu(linear("mlp.fc1", hidden), approximate="tanh"))


def plain_conditions(state: dict[str, Tensor], text: Tensor | None) -> tuple[Tensor, Tensor]:
    """The condition (B, D) of the blocks, and that of the final layer, which sees no text."""
    final = plain_timestep(state, TIMESTEPS)
    if "y_embedder.embedding_table.weight" in state:
        final = final + state["y_embedder.embedding_table.weight"][CLASSES]
    if text is None:
        return final, final
    weight, bias = (state[f"text_embedding_projection.1.{name}"] for name in ("weight", "bias"))
    return final + F.silu(text.flatten(1)) @ weight.T + bias, final


def plain_network(
    state: dict[str, Tensor], x: Tensor, temporal: bool, text: Tensor | None = None, heads: int = 4
) -> Tensor:
    """Latte variant 1 on x (B, F, C, H, W), or DiT on every frame when not `temporal`; every copy is made."""
    B, frames, channels, height, _ = x.shape
    kernel = state["x_embedder.proj.weight"]
    patch = kernel.shape[-1]
    tokens = F.conv2d(x.flatten(0, 1), kernel, state["x_embedder.proj.bias"], stride=patch).flatten(2).transpose(1, 2)
    tokens = tokens + state["pos_embed"]  # (B F, N, D)
    N, (c, c_final) = tokens.shape[1], plain_conditions(state, text)
    c_space, c_time, c_final = (row.repeat_interleave(n, 0) for row, n in ((c, frames), (c, N), (c_final, frames)))
    depth = 1 + max(int(name.split(".")[1]) for name in state if name.startswith("blocks."))
    for index in range(depth):
        prefix = f"blocks.{index}"
        if not temporal or index % 2 == 0:
            tokens = plain_block(state, prefix, tokens, c_space, heads)
            continue
        along_time = tokens.unflatten(0, (B, frames)).transpose(1, 2).flatten(0, 1)  # (B N, F, D)
        if index == 1:
            along_time = along_time + state["temp_embed"]
        along_time = plain_block(state, prefix, along_time, c_time, heads)
        tokens = along_time.unflatten(0, (B, N)).transpose(1, 2).flatten(0, 1)
    modulation = F.silu(c_final) @ state["final_layer.adaLN_modulation.1.weight"].T
    shift, scale = (modulation + state["final_layer.adaLN_modulation.1.bias"])[:, None].chunk(2, -1)
    out = F.layer_norm(tokens, tokens.shape[-1:], eps=1e-6) * (1 + scale) + shift
    out = out @ state["final_layer.linear.weight"].T + state["final_layer.linear.bias"]
    side = height // patch
    image = out.reshape(B * frames, side, side, patch, patch, -1).permute(0, 5, 1, 3, 2, 4)
    return image.reshape(B, frames, 2 * channels, height, height)


def test_golden_output(golden: Any, formula_input: Any, formula_fill: Any, assert_golden: Any) -> None:
    latte = Latte(hidden_size=64, depth=4, num_heads=4, num_frames=4, sample_size=8, num_classes=5).eval()
    formula_fill(latte, published_name(latte))
    entry = golden["latte_v1"]
    assert sum(tensor.numel() for tensor in latte.state_dict().values()) == entry["params"]
    assert len(latte.state_dict()) == entry["tensors"]
    x = formula_input((2, 4, 4, 8, 8)).transpose(1, 2)
    assert_golden(latte(x, TIMESTEPS, LABELS).transpose(1, 2).contiguous(), entry)


@pytest.mark.parametrize("patch_size", [1, 2, 4])
def test_variant_1_equals_the_plain_computation(patch_size: int) -> None:
    latte = noisy(build(patch_size=patch_size))
    x = normal(*SHAPE)
    expected = plain_network(to_published(latte), x.transpose(1, 2), temporal=True).transpose(1, 2)
    torch.testing.assert_close(latte(x, TIMESTEPS, LABELS), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("num_classes", [0, 5])
@pytest.mark.parametrize("num_heads", [4, 32])
def test_with_text_it_equals_the_plain_computation(num_classes: int, num_heads: int) -> None:
    """Also with heads of one channel."""
    latte = noisy(build(num_classes=num_classes, text_dim=7 * 6, num_heads=num_heads))
    x, text = normal(*SHAPE), normal(2, 7, 6, seed=2)
    expected = plain_network(to_published(latte), x.transpose(1, 2), True, text, num_heads).transpose(1, 2)
    out = latte(x, TIMESTEPS, Conditioning(CLASSES, context=text))
    torch.testing.assert_close(out, expected, rtol=1e-5, atol=1e-5)


def test_closed_temporal_gates_leave_a_dit_on_every_frame() -> None:
    latte = noisy(build(temporal_position="none"))
    zero_temporal_gates(latte)
    state = to_published(latte)
    dit = {name: tensor for name, tensor in state.items() if not name.startswith("blocks.")}
    dit |= {
        name.replace(f"blocks.{2 * half}.", f"blocks.{half}."): tensor
        for half in range(2)
        for name, tensor in state.items()
        if name.startswith(f"blocks.{2 * half}.")
    }
    x = normal(*SHAPE)
    expected = plain_network(dit, x.transpose(1, 2), temporal=False).transpose(1, 2)
    torch.testing.assert_close(latte(x, TIMESTEPS, LABELS), expected, rtol=1e-5, atol=1e-5)


def test_the_image_model_is_dit_on_every_frame() -> None:
    dit = noisy(build(arrangement="spatial"))
    x = normal(*SHAPE)
    expected = plain_network(to_published(dit), x.transpose(1, 2), temporal=False).transpose(1, 2)
    torch.testing.assert_close(dit(x, TIMESTEPS, LABELS), expected, rtol=1e-5, atol=1e-5)


# ---- what the four arrangements share ----


@every_arrangement
@pytest.mark.parametrize("conditioning", ["adaln", "tokens"])
def test_output_is_zero_at_initialisation(arrangement: dict[str, str], conditioning: str) -> None:
    out = build(**arrangement, conditioning=conditioning)(normal(*SHAPE), TIMESTEPS, LABELS)
    assert out.shape == (2, 8, 4, 8, 8)
    assert out.count_nonzero() == 0


@every_arrangement
@pytest.mark.parametrize("conditioning", ["adaln", "tokens"])
def test_without_temporal_position_permuted_frames_permute_the_output(
    arrangement: dict[str, str], conditioning: str
) -> None:
    order = torch.tensor([2, 0, 3, 1])
    x = normal(*SHAPE)
    for position, equivariant in (("none", True), ("absolute", False), ("rope", False)):
        latte = noisy(build(**arrangement, conditioning=conditioning, temporal_position=position), scale=0.3)
        difference = latte(x[:, :, order], TIMESTEPS, LABELS) - latte(x, TIMESTEPS, LABELS)[:, :, order]
        assert (difference.abs().max().item() < 1e-4) is equivariant, position


@every_arrangement
def test_frames_and_positions_both_mix(arrangement: dict[str, str]) -> None:
    """One changed pixel reaches every frame and every patch."""
    latte = noisy(build(**arrangement), scale=0.3)
    x = normal(*SHAPE)
    changed = x.clone()
    changed[:, :, 1, 3, 3] += 1
    moved = (latte(changed, TIMESTEPS, LABELS) - latte(x, TIMESTEPS, LABELS)).abs().amax(dim=1)
    assert (moved > 1e-6).all()


@every_arrangement
@pytest.mark.parametrize("conditioning", ["adaln", "tokens"])
def test_tokens_lie_in_order_in_memory(arrangement: dict[str, str], conditioning: str) -> None:
    """A permuted view would run through the whole network, and every layer norm would copy it first."""
    latte, seen = noisy(build(**arrangement, conditioning=conditioning)), []
    for module in latte.modules():
        if isinstance(module, torch.nn.LayerNorm):
            module.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].is_contiguous()))
    latte(normal(*SHAPE), TIMESTEPS, LABELS)
    assert len(seen) > 4
    assert all(seen[:-1])
    assert seen[-1] or conditioning == "tokens"  # whose condition tokens are cut off before the last


@pytest.mark.parametrize("options", [{}, {"patch_size": 4}, {"patch_embedding": "compression", "tubelet_length": 2}])
def test_the_number_of_tokens_is_that_of_the_first_block(options: dict[str, Any]) -> None:
    latte = build(**options)
    seen: list[torch.Size] = []
    latte.blocks[0].register_forward_pre_hook(lambda block, inputs: seen.append(inputs[0].shape))
    latte(normal(*SHAPE), TIMESTEPS, LABELS)
    _, frames, tokens, _ = seen[0]
    assert latte.num_tokens == frames * tokens


@pytest.mark.parametrize(
    "options",
    [
        dict(zip(("patch_embedding", "conditioning", "temporal_position"), choice, strict=True))
        for choice in product(("uniform", "compression"), ("adaln", "tokens"), ("absolute", "rope"))
    ],
    ids=lambda options: "-".join(options.values()),
)
@every_arrangement
def test_gradients_reach_every_parameter(arrangement: dict[str, str], options: dict[str, str]) -> None:
    latte = noisy(build(**arrangement, **options)).train()
    out = latte(normal(*SHAPE), TIMESTEPS, LABELS)
    assert out.shape == (2, 8, 4, 8, 8)
    (out * normal(*out.shape, seed=1)).sum().backward()
    untouched = [name for name, p in latte.named_parameters() if p.grad is None or p.grad.count_nonzero() == 0]
    assert untouched == []


@every_arrangement
@pytest.mark.parametrize("conditioning", ["adaln", "tokens"])
def test_tubelets_of_one_frame_are_uniform_patches(arrangement: dict[str, str], conditioning: str) -> None:
    uniform = noisy(build(**arrangement, conditioning=conditioning))
    tubelets = build(**arrangement, conditioning=conditioning, patch_embedding="compression", tubelet_length=1).eval()
    tubelets.load_state_dict(uniform.state_dict())
    x = normal(*SHAPE)
    assert torch.equal(tubelets(x, TIMESTEPS, LABELS), uniform(x, TIMESTEPS, LABELS))


def test_tubelets_leave_by_a_transposed_convolution() -> None:
    """The way out equals ConvTranspose3d with stride = kernel, whose bias here differs by position in the tubelet."""
    latte = noisy(build(patch_embedding="compression"))
    patches = normal(2, 2, 16, 32)  # (B, F / 2, N, D)
    linear = latte.final.linear
    kernel = linear.weight.unflatten(0, (2, 2, 2, 8)).permute(4, 3, 0, 1, 2)  # (D, out, tubelet, patch, patch)
    volume = patches.permute(0, 3, 1, 2).unflatten(-1, (4, 4))
    expected = F.conv_transpose3d(volume, kernel, stride=2) + linear.bias.unflatten(0, (2, 2, 2, 8)).permute(
        3, 0, 1, 2
    ).repeat(1, 2, 4, 4)
    torch.testing.assert_close(latte.unpatchify(linear(patches)), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("backend", [name for name in BACKENDS if name != "math"])
@every_arrangement
def test_attention_backends_agree_with_the_formula(arrangement: dict[str, str], backend: str) -> None:
    reason = unavailable_reason(backend, torch.device("cpu"), torch.float32)
    if reason:
        pytest.skip(f"{backend} does not run here: {reason}")
    latte = noisy(build(**arrangement))
    results = []
    for name in ("math", backend):
        set_attention_backend(latte, name)
        latte.zero_grad()
        out = latte(normal(*SHAPE), TIMESTEPS, LABELS)
        out.square().sum().backward()
        results.append([out.detach(), *(p.grad.clone() for p in latte.parameters() if p.grad is not None)])
    torch.testing.assert_close(results[1], results[0], rtol=1e-4, atol=1e-5)


@every_arrangement
def test_one_clip_does_not_see_another(arrangement: dict[str, str]) -> None:
    latte = noisy(build(**arrangement))
    x = normal(*SHAPE)
    alone = latte(x[1:], TIMESTEPS[1:], Conditioning(class_labels=CLASSES[1:]))
    torch.testing.assert_close(latte(x, TIMESTEPS, LABELS)[1:], alone, rtol=1e-5, atol=1e-6)


@every_arrangement
@pytest.mark.parametrize("conditioning", ["adaln", "tokens"])
def test_timestep_and_class_matter(arrangement: dict[str, str], conditioning: str) -> None:
    latte = noisy(build(**arrangement, conditioning=conditioning))
    x = normal(*SHAPE)
    out = latte(x, TIMESTEPS, LABELS)
    other_time = latte(x, TIMESTEPS + 100, LABELS)
    other_class = latte(x, TIMESTEPS, Conditioning(class_labels=torch.tensor([2, 5])))
    assert (out - other_time).abs().amax(dim=(1, 2, 3, 4)).min() > 1e-5
    assert (out - other_class).abs().amax(dim=(1, 2, 3, 4)).min() > 1e-5


# ---- image-video joint training ----


@every_arrangement
@pytest.mark.parametrize("conditioning", ["adaln", "tokens"])
@pytest.mark.parametrize("position", ["absolute", "rope"])
def test_images_leave_the_video_as_it_is_and_each_other(
    arrangement: dict[str, str], conditioning: str, position: str
) -> None:
    latte = noisy(build(**arrangement, conditioning=conditioning, temporal_position=position))
    video, images = normal(*SHAPE), normal(2, 4, 3, 8, 8, seed=1)
    joint = Conditioning(CLASSES, num_images=3, image_labels=torch.tensor([[0, 1, 2], [3, 4, 5]]))
    out = latte(torch.cat([video, images], dim=2), TIMESTEPS, joint)
    assert torch.equal(out[:, :, :4], latte(video, TIMESTEPS, LABELS))
    changed = images.clone()
    changed[:, :, 1] += 1
    moved = (latte(torch.cat([video, changed], dim=2), TIMESTEPS, joint) - out).abs().amax(dim=(0, 1, 3, 4))
    assert moved.nonzero().flatten().tolist() == [5]
    relabelled = dataclasses.replace(joint, image_labels=torch.tensor([[0, 1, 4], [3, 4, 0]]))
    moved = (latte(torch.cat([video, images], dim=2), TIMESTEPS, relabelled) - out).abs().amax(dim=(0, 1, 3, 4))
    assert moved.nonzero().flatten().tolist() == [6]


@pytest.mark.parametrize("arrangement", ["interleaved", "late_fusion"])
def test_an_image_is_what_the_image_model_makes_of_it(arrangement: str) -> None:
    """An appended image passes the spatial blocks alone: DiT with the same weights gives the same."""
    latte = noisy(build(arrangement=arrangement))
    dit = build(arrangement="spatial", depth=2, num_frames=1, num_classes=5).eval()
    spatial = [i for i, block in enumerate(latte.blocks.children()) if not block.video_only]
    state = latte.state_dict()
    dit.load_state_dict(
        {
            name: state[name.replace(f"blocks.{name.split('.')[1]}.", f"blocks.{spatial[int(name.split('.')[1])]}.")]
            if name.startswith("blocks.")
            else (state[name] if name != "temporal_table" else tensor)
            for name, tensor in dit.state_dict().items()
        }
    )
    video, image = normal(*SHAPE), normal(2, 4, 1, 8, 8, seed=1)
    joint = Conditioning(CLASSES, num_images=1, image_labels=torch.tensor([[2], [0]]))
    out = latte(torch.cat([video, image], dim=2), TIMESTEPS, joint)
    expected = dit(image, TIMESTEPS, Conditioning(class_labels=torch.tensor([2, 0])))
    torch.testing.assert_close(out[:, :, 4:], expected, rtol=1e-5, atol=1e-6)


# ---- what the network adds to its blocks ----


def mixers_of(latte: Latte) -> list[list[str]]:
    """Of every block, the axes of its attentions, or the name of the attention that has both."""
    return [[getattr(mixer, "axis", type(mixer).__name__) for mixer in block.mixers] for block in latte.blocks]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"arrangement": "interleaved"}, [["spatial"], ["temporal"], ["spatial"], ["temporal"]]),
        ({"arrangement": "late_fusion"}, [["spatial"], ["spatial"], ["temporal"], ["temporal"]]),
        ({"arrangement": "sequential"}, [["spatial", "temporal"]] * 4),
        ({"arrangement": "sequential", "attention_order": "temporal_first"}, [["temporal", "spatial"]] * 4),
        ({"arrangement": "parallel"}, [["ParallelAttention"]] * 4),
        ({"arrangement": "parallel", "reading": "split"}, [["SplitAttention"]] * 4),
        ({"arrangement": "spatial"}, [["spatial"]] * 4),
    ],
    ids=str,
)
def test_attentions_of_every_block(options: dict[str, str], expected: list[list[str]]) -> None:
    latte = build(**options)
    assert mixers_of(latte) == expected
    assert [block.video_only for block in latte.blocks] == [axes == ["temporal"] for axes in expected]


@pytest.mark.parametrize(
    ("arrangement", "block"),
    [("interleaved", 1), ("late_fusion", 2), ("sequential", 0), ("parallel", 0), ("spatial", None)],
)
def test_the_temporal_table_enters_before_the_first_block_that_attends_over_time(
    arrangement: str, block: int | None
) -> None:
    seen: list[Tensor] = []
    for position in ("absolute", "none"):
        latte = noisy(build(arrangement=arrangement, temporal_position=position))
        inputs: list[Tensor] = []
        for each in latte.blocks:
            each.register_forward_pre_hook(lambda module, args, kept=inputs: kept.append(args[0]))
        latte(normal(*SHAPE), TIMESTEPS, LABELS)
        seen.append(torch.stack(inputs))
    differs = [bool((a - b).any()) for a, b in zip(*seen, strict=True)]
    assert differs == [block is not None and index >= block for index in range(4)]
    if block is not None:
        table = latte.temporal_table[:, :, None].expand(2, -1, 16, -1)
        torch.testing.assert_close(seen[0][block] - seen[1][block], table, rtol=0, atol=1e-5)


def test_tables_are_those_of_the_grid_and_of_the_frames() -> None:
    latte = build(patch_embedding="compression", tubelet_length=2)
    assert torch.equal(latte.spatial_table[0], sincos_table_2d(4, 32))
    assert torch.equal(latte.temporal_table[0], sincos_table(torch.arange(2), 32))
    assert not any("table" in name for name, _ in latte.named_parameters())


@pytest.mark.parametrize("patch", [(1, 1), (1, 4), (2, 2), (4, 2)])
def test_unpatchify_undoes_patches(patch: tuple[int, int]) -> None:
    """A patch's values are laid out as (frame, row, column, channel), by a rearrangement written out here."""
    length, size = patch
    latte = build(patch_embedding="compression", tubelet_length=length, patch_size=size)
    clip = normal(2, 8, 4, 8, 8)
    tokens = []
    for frame in range(0, 4, length):
        for row in range(0, 8, size):
            for column in range(0, 8, size):
                block = clip[:, :, frame : frame + length, row : row + size, column : column + size]
                tokens.append(block.permute(0, 2, 3, 4, 1).flatten(1))
    patches = torch.stack(tokens, dim=1).unflatten(1, (4 // length, -1))  # (B, F, N, patch volume * channels)
    assert torch.equal(latte.unpatchify(patches), clip)


def test_condition_tokens_join_every_frame_and_are_cut_off_again() -> None:
    latte = noisy(build(conditioning="tokens", text_dim=6))
    lengths: list[int] = []
    for module in [*latte.blocks, latte.final]:
        module.register_forward_pre_hook(lambda module, args: lengths.append(args[0].shape[2]))
    latte(normal(*SHAPE), TIMESTEPS, Conditioning(CLASSES, context=normal(2, 2, 3)))
    assert lengths == [16 + 3] * 4 + [16]  # timestep, class and text beside 16 patches


def test_labels_of_clips_come_before_those_of_their_images() -> None:
    latte = noisy(build())
    images = torch.tensor([[0, 1, 2], [3, 4, 5]])
    parts = latte._embed_conditions(TIMESTEPS, Conditioning(CLASSES, num_images=3, image_labels=images))
    assert parts.shape == (2, 1 + 3, 2, 32)
    labels = torch.tensor([[1, 0, 1, 2], [4, 3, 4, 5]])
    assert torch.equal(parts[:, :, 1], latte.class_embed.weight[labels])
    assert torch.equal(parts[:, :, 0], latte.timestep_embed(TIMESTEPS)[:, None].expand(-1, 4, -1))


def test_initial_weights_are_those_of_dit() -> None:
    """Xavier in the layers, 0.02 in the embeddings, zero in biases and wherever a branch ends."""
    torch.manual_seed(0)
    latte = build(hidden_size=128, num_classes=200)
    for name, parameter in latte.named_parameters():
        if name.endswith("bias") or ".modulation." in name or name == "final.linear.weight":
            assert not parameter.any(), name
        elif name in ("timestep_embed.mlp.0.weight", "timestep_embed.mlp.2.weight", "class_embed.weight"):
            assert parameter.std().item() == pytest.approx(0.02, rel=0.05), name
        else:
            matrix = parameter.flatten(1)
            bound = (6 / sum(matrix.shape)) ** 0.5
            assert 0.95 * bound < matrix.abs().max().item() <= bound, name
            assert matrix.std().item() == pytest.approx(bound / 3**0.5, rel=0.05), name


# ---- text, counts, wrong use ----


@every_arrangement
@pytest.mark.parametrize("conditioning", ["adaln", "tokens"])
def test_a_pooled_text_embedding_conditions_the_blocks_alone(arrangement: dict[str, str], conditioning: str) -> None:
    latte = noisy(build(**arrangement, conditioning=conditioning, num_classes=0, text_dim=7 * 6))
    text, x = normal(2, 7, 6, seed=2), normal(*SHAPE)
    out = latte(x, TIMESTEPS, Conditioning(context=text))
    assert torch.equal(out, latte(x, TIMESTEPS, Conditioning(context=text.flatten(1))))
    assert (out - latte(x, TIMESTEPS, Conditioning(context=text + 1))).abs().max() > 1e-5
    if conditioning == "adaln":  # with all blocks closed the text is gone
        for block in latte.blocks.children():
            block.modulation.linear.weight.data.zero_()
            block.modulation.linear.bias.data.zero_()
        without = latte(x, TIMESTEPS, Conditioning(context=text))
        assert torch.equal(latte(x, TIMESTEPS, Conditioning(context=text + 1)), without)


def test_channels_that_the_authors_guide() -> None:
    """`forward_with_cfg` of Latte guides the noise, that of DiT three channels of it."""
    assert build(in_channels=4).published_guided_channels == 4
    assert build(in_channels=4, arrangement="spatial").published_guided_channels == 3


# Trainable parameters of the published configurations: arXiv 2401.03048, table 2, and the authors' code.
PUBLISHED_PARAMETERS = {
    ("XL", 2): (673_994_912, 673_681_568),
    ("XL", 4): (673_939_712, 673_847_552),
    ("XL", 8): (674_548_352, 674_511_488),
    ("L", 2): (457_094_176, 456_815_648),
    ("L", 4): (457_045_120, 456_963_200),
    ("L", 8): (457_586_176, 457_553_408),
    ("B", 2): (129_755_936, 129_547_040),
    ("B", 4): (129_719_168, 129_657_728),
    ("B", 8): (130_125_056, 130_100_480),
    ("S", 2): (32_585_120, 32_480_672),
    ("S", 4): (32_566_784, 32_536_064),
    ("S", 8): (32_769_920, 32_757_632),
}


def parameters(**options: Any) -> int:
    with torch.device("meta"):
        return sum(p.numel() for p in Latte(**options).parameters())


@pytest.mark.parametrize(("size", "patch_size"), PUBLISHED_PARAMETERS)
def test_published_parameter_counts(size: str, patch_size: int) -> None:
    with torch.device("meta"):
        latte = Latte(size=size, patch_size=patch_size)
    total, trainable = PUBLISHED_PARAMETERS[size, patch_size]
    assert sum(tensor.numel() for tensor in latte.state_dict().values()) == total
    assert sum(p.numel() for p in latte.parameters()) == trainable


@pytest.mark.parametrize("size", SIZES)
@every_arrangement
def test_every_arrangement_has_the_parameters_of_variant_1(arrangement: dict[str, str], size: str) -> None:
    assert parameters(**arrangement, size=size) == pytest.approx(parameters(size=size), rel=0.01)


def test_paper_counts_of_variants_3_and_4() -> None:
    """676.33 M and 676.44 M: the paper's figures, without the patch embedding, variant 4 at patch size 4."""
    assert parameters(size="XL", arrangement="sequential") - 19_584 == 676_335_776
    assert parameters(size="XL", arrangement="parallel", patch_size=4) - 74_880 == 676_446_464


def test_arguments_and_their_defaults() -> None:
    """They are part of a run's identity: another name or default would give old YAML files another meaning."""
    parameters = inspect.signature(Latte).parameters
    assert {name: parameter.default for name, parameter in parameters.items()} == {
        "size": "S",
        "arrangement": "interleaved",
        "reading": "full-width",
        "attention_order": "spatial_first",
        "patch_size": 2,
        "patch_embedding": "uniform",
        "tubelet_length": 2,
        "conditioning": "adaln",
        "temporal_position": "absolute",
        "temporal": "attention",
        "gate_start": 0.0,
        "hidden_size": None,
        "depth": None,
        "num_heads": None,
        "mlp_ratio": None,
        "in_channels": 4,
        "sample_size": 32,
        "num_frames": 16,
        "num_classes": 0,
        "text_dim": 0,
        "learned_variance": True,
    }


@pytest.mark.parametrize(
    ("options", "depth", "hidden_width"),
    [
        ({}, 4, 768),
        ({"arrangement": "sequential"}, 3, 960),
        ({"arrangement": "parallel"}, 3, 960),
        ({"arrangement": "parallel", "reading": "split"}, 4, 768),
        ({"arrangement": "sequential", "depth": 2, "mlp_ratio": 1.5, "hidden_size": 64}, 2, 96),
    ],
)
def test_a_size_has_other_figures_for_blocks_of_two_attentions(
    options: dict[str, Any], depth: int, hidden_width: int
) -> None:
    with torch.device("meta"):
        latte = Latte(size="tiny", **options)
    assert len(latte.blocks) == depth
    assert latte.blocks[0].mlp.hidden_width == hidden_width


@pytest.mark.parametrize("option", CHOICES)
def test_every_choice_is_checked_under_its_own_name(option: str) -> None:
    with pytest.raises(StbenchError) as caught:
        build(**{option: "zzz"})
    assert str(caught.value) == f"unknown {option} 'zzz': known: {', '.join(sorted(CHOICES[option]))}"
    for known in CHOICES[option]:
        with torch.device("meta"):
            build(**{option: known})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": "M"}, "unknown size 'M'"),
        ({"arrangement": "interleave"}, "did you mean 'interleaved'"),
        ({"depth": 3}, "depth=3 is odd"),
        ({"num_heads": 5}, "hidden_size=32 does not divide into num_heads=5"),
        ({"arrangement": "parallel", "num_heads": 1}, "num_heads=1 is odd"),
        ({"num_heads": 32, "temporal_position": "rope"}, "heads of 1 channels: temporal_position=rope rotates pairs"),
        ({"patch_size": 3}, "sample_size=8 is not a multiple of patch_size=3"),
        ({"patch_embedding": "compression", "tubelet_length": 3}, "num_frames=4 is not a multiple of tubelet_length=3"),
        ({"temporal_position": "learned"}, "unknown temporal_position 'learned'"),
    ],
)
def test_impossible_figures_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(StbenchError, match=message) as caught:
        build(**options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "shape", "conditioning", "message"),
    [
        ({}, (2, 4, 5, 8, 8), LABELS, "expects latents"),
        ({}, (2, 4, 4, 16, 16), LABELS, "expects latents"),
        ({}, SHAPE, Conditioning(), "class_labels"),
        ({}, (2, 4, 5, 8, 8), Conditioning(CLASSES, num_images=1), "image_labels"),
        ({"text_dim": 4}, SHAPE, LABELS, "context"),
        (
            {"patch_embedding": "compression"},
            (2, 4, 5, 8, 8),
            Conditioning(CLASSES, num_images=1, image_labels=torch.zeros(2, 1, dtype=torch.long)),
            "an image has no tubelet",
        ),
    ],
)
def test_wrong_input_is_named(
    options: dict[str, Any], shape: tuple[int, ...], conditioning: Conditioning, message: str
) -> None:
    with pytest.raises(StbenchError, match=message):
        build(**options)(normal(*shape), TIMESTEPS, conditioning)


def test_the_message_about_a_wrong_shape_says_both() -> None:
    with pytest.raises(StbenchError) as caught:
        build()(normal(2, 4, 8, 8), TIMESTEPS, LABELS)
    assert str(caught.value) == "Latte expects latents (B, C, F, H, W) = (B, 4, 4, 8, 8), got (2, 4, 8, 8)"


def test_the_messages_about_missing_conditions() -> None:
    with pytest.raises(StbenchError) as caught:
        build()(normal(*SHAPE), TIMESTEPS)
    assert str(caught.value) == "this Latte has 5 classes: conditioning.class_labels (B,) is missing"
    with pytest.raises(StbenchError) as caught:
        build()(normal(2, 4, 6, 8, 8), TIMESTEPS, Conditioning(CLASSES, num_images=2))
    assert str(caught.value) == "2 images need conditioning.image_labels (B, K) of their own"
    with pytest.raises(StbenchError) as caught:
        build(num_classes=0, text_dim=4)(normal(*SHAPE), TIMESTEPS)
    assert str(caught.value) == "this Latte is conditioned on text: conditioning.context (B, ...) is missing"


# ---- a timestep for each frame ----


@pytest.mark.parametrize(
    "options", [{}, {"conditioning": "tokens"}, {"arrangement": "parallel"}, {"text_dim": 6}], ids=str
)
def test_equal_timesteps_of_all_frames_are_one_of_the_clip(options: dict[str, Any]) -> None:
    latte = noisy(build(**options))
    context = torch.ones(len(TIMESTEPS), 6) if "text_dim" in options else None
    told = dataclasses.replace(LABELS, context=context)
    by_clip = latte(normal(*SHAPE), TIMESTEPS, told)
    by_frame = latte(normal(*SHAPE), TIMESTEPS[:, None].repeat(1, SHAPE[2]), told)
    torch.testing.assert_close(by_frame, by_clip, rtol=1e-5, atol=1e-5)


def test_the_timestep_of_a_frame_moves_that_frame() -> None:
    """Without temporal attention no other; with it all."""
    for arrangement, moved in (("spatial", [False, True, False, False]), ("interleaved", [True] * 4)):
        latte = noisy(build(arrangement=arrangement))
        timesteps = TIMESTEPS[:, None].repeat(1, SHAPE[2])
        base = latte(normal(*SHAPE), timesteps, LABELS)
        timesteps[:, 1] += 100
        out = latte(normal(*SHAPE), timesteps, LABELS)
        assert ((out - base).abs().amax(dim=(0, 1, 3, 4)) > 1e-6).tolist() == moved[: SHAPE[2]]


@pytest.mark.parametrize(
    ("options", "frames", "message"),
    [
        ({}, SHAPE[2] + 1, r"expects timesteps \(B,\) or \(B, F\)"),
        ({"patch_embedding": "compression"}, SHAPE[2], "no images, no tubelets"),
    ],
)
def test_timesteps_of_frames_that_are_refused(options: dict[str, Any], frames: int, message: str) -> None:
    with pytest.raises(StbenchError, match=message):
        build(**options)(normal(*SHAPE), TIMESTEPS[:, None].repeat(1, frames), LABELS)

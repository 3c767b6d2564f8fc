"""The authors' names and shapes of VideoCrafter's weights, and their files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from stbench.backbones.published import load_published, to_published
from stbench.backbones.trial import fill_zeros
from stbench.backbones.videocrafter_unet.network import VideoCrafterUNet
from stbench.errors import StbenchError
from stbench.training.start import initialise_from

TINY: dict[str, Any] = {
    "dim": 32,
    "dim_multipliers": (1, 1),
    "blocks_per_level": 1,
    "attention_levels": (1,),
    "head_dim": 8,
    "norm_groups": 8,
    "context_dim": 12,
    "num_frames": 4,
}


def build(seed: int = 0, **options: Any) -> VideoCrafterUNet:
    torch.manual_seed(seed)
    network = VideoCrafterUNet(**{**TINY, **options})
    fill_zeros(network)
    return network


def equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def of_convolution(name: str, out: int, into: int, *kernel: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (out, into, *kernel), f"{name}.bias": (out,)}


def of_norm(name: str, width: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def of_residual_block(name: str, into: int, out: int) -> dict[str, tuple[int, ...]]:
    expected = {
        **of_norm(f"{name}.in_layers.0", into),
        **of_convolution(f"{name}.in_layers.2", out, into, 3, 3),
        **of_convolution(f"{name}.emb_layers.1", out, 1280),
        **of_norm(f"{name}.out_layers.0", out),
        **of_convolution(f"{name}.out_layers.3", out, out, 3, 3),
    }
    if into != out:
        expected |= of_convolution(f"{name}.skip_connection", out, into, 1, 1)
    for index, place in ((1, 2), (2, 3), (3, 3), (4, 3)):
        expected |= of_norm(f"{name}.temopral_conv.conv{index}.0", out)
        expected |= of_convolution(f"{name}.temopral_conv.conv{index}.{place}", out, out, 3, 1, 1)
    return expected


def of_transformer(name: str, channels: int, width: int, context: int, *kernel: int) -> dict[str, tuple[int, ...]]:
    block = f"{name}.transformer_blocks.0"
    expected = {
        **of_norm(f"{name}.norm", channels),
        **of_convolution(f"{name}.proj_in", width, channels, *kernel),
        **of_convolution(f"{name}.proj_out", channels, width, *kernel),
        **of_convolution(f"{block}.ff.net.0.proj", 8 * width, width),
        **of_convolution(f"{block}.ff.net.2", width, 4 * width),
    }
    for index in (1, 2, 3):
        expected |= of_norm(f"{block}.norm{index}", width)
    for attention, source in (("attn1", width), ("attn2", context)):
        expected |= of_convolution(f"{block}.{attention}.to_out.0", width, width)
        for letter, into in (("q", width), ("k", source), ("v", source)):
            expected[f"{block}.{attention}.to_{letter}.weight"] = (width, into)
    return expected


def test_names_and_shapes_of_the_published_network() -> None:
    """All 1484 tensors of t2v_512_v2.0, from the description of its blocks."""
    expected = {
        **of_convolution("time_embed.0", 1280, 320),
        **of_convolution("time_embed.2", 1280, 1280),
        **of_convolution("fps_embedding.0", 1280, 320),
        **of_convolution("fps_embedding.2", 1280, 1280),
        **of_convolution("input_blocks.0.0", 320, 4, 3, 3),
        **of_transformer("init_attn.0", 320, 512, 512, 1),
        **of_norm("out.0", 320),
        **of_convolution("out.2", 4, 320, 3, 3),
    }

    def add(name: str, into: int, out: int, attends: bool = True) -> None:
        nonlocal expected
        expected |= of_residual_block(f"{name}.0", into, out)
        if attends:
            expected |= of_transformer(f"{name}.1", out, out, 1024) | of_transformer(f"{name}.2", out, out, out)

    down = {1: (320, 320), 2: (320, 320), 4: (320, 640), 5: (640, 640), 7: (640, 1280), 8: (1280, 1280)}
    for index, (into, out) in down.items():
        add(f"input_blocks.{index}", into, out)
    for index, width in ((3, 320), (6, 640), (9, 1280)):
        expected |= of_convolution(f"input_blocks.{index}.0.op", width, width, 3, 3)
    add("input_blocks.10", 1280, 1280, attends=False)
    add("input_blocks.11", 1280, 1280, attends=False)
    add("middle_block", 1280, 1280)
    expected |= of_residual_block("middle_block.3", 1280, 1280)
    up = [(2560, 1280)] * 5 + [(1920, 1280), (1920, 640), (1280, 640), (960, 640), (960, 320), (640, 320), (640, 320)]
    for index, (into, out) in enumerate(up):
        add(f"output_blocks.{index}", into, out, attends=index >= 3)
    for index, place, width in ((2, 1, 1280), (5, 3, 1280), (8, 3, 640)):
        expected |= of_convolution(f"output_blocks.{index}.{place}.conv", width, width, 3, 3)
    with torch.device("meta"):
        published = to_published(VideoCrafterUNet())
    assert {name: tuple(tensor.shape) for name, tensor in published.items()} == expected
    assert len(expected) == 1484


def test_names_of_what_other_releases_have() -> None:
    plain, more = build(), build(relative_position=True, image_attention="scaled", num_classes=3)
    added = to_published(more).keys() - to_published(plain).keys()
    first, second = "init_attn.0.transformer_blocks.0", "input_blocks.3.1.transformer_blocks.0"
    assert {f"{first}.attn{i}.relative_position_{letter}.embeddings_table" for i in (1, 2) for letter in "kv"} <= added
    assert {f"{second}.attn2.{name}" for name in ("to_k_ip.weight", "to_v_ip.weight", "alpha")} <= added
    assert len(added) == 5 * 4 + 4 * 3  # the table of classes is nobody's


@pytest.mark.parametrize("options", [{}, {"relative_position": True, "default_fps": None}, {"num_classes": 3}], ids=str)
def test_files_of_the_network_alone_and_with_what_it_works_with(options: dict[str, Any], tmp_path: Path) -> None:
    published, network = to_published(build(1)), build(2)
    published, network = to_published(build(1, **options)), build(2, **options)
    beside = {f"model.diffusion_model.{name}": tensor for name, tensor in published.items()}
    beside["first_stage_model.encoder.conv_in.weight"] = torch.zeros(1)
    torch.save({"state_dict": beside}, tmp_path / "model.ckpt")
    torch.save(published, tmp_path / "unet.pt")
    for name in ("model.ckpt", "unet.pt"):
        fresh = build(3, **options)
        assert "published weights" in initialise_from(fresh, str(tmp_path / name), {})
        assert equal(to_published(fresh), published)
    load_published(network, tmp_path / "model.ckpt")
    assert equal(to_published(network), published)


def test_what_is_missing_or_left_over_is_named_as_the_authors_do() -> None:
    state = to_published(build(relative_position=True))
    with pytest.raises(StbenchError, match=r"20 left over \(init_attn\.0\.transformer_blocks\.0\.attn1\.relative_pos"):
        load_published(build(), {f"model.diffusion_model.{name}": tensor for name, tensor in state.items()})
    del state["time_embed.0.bias"]
    with pytest.raises(StbenchError, match=r"1 missing \(time_embed\.0\.bias\)"):
        load_published(build(relative_position=True), state)

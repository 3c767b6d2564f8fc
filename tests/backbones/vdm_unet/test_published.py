"""The names and shapes of the public VDM U-Net."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from stbench.backbones.published import load_published, to_published
from stbench.backbones.vdm_unet.network import VdmUNet
from stbench.backbones.vdm_unet.published import VdmLayout
from stbench.errors import StbenchError

Shapes = dict[str, tuple[int, ...]]
PUBLIC: dict[str, Any] = {"dim": 8, "dim_multipliers": (1, 2), "spatial_attention": "linear", "rotary": True}


def linear(name: str, out: int, width: int, *kernel: int) -> Shapes:
    return {f"{name}.weight": (out, width, *kernel), f"{name}.bias": (out,)}


def attention(name: str, width: int, layers: str, linear_bias: bool = False) -> Shapes:
    kernel = (1, 1) if linear_bias else ()
    shapes = {f"{name}.fn.norm.gamma": (1, width, 1, 1, 1), f"{name}.{layers}.to_qkv.weight": (768, width, *kernel)}
    out = linear(f"{name}.{layers}.to_out", width, 256, *kernel)
    return {**shapes, **(out if linear_bias else {f"{name}.{layers}.to_out.weight": (width, 256)})}


def temporal(name: str, width: int) -> Shapes:
    return {**attention(name, width, "fn.fn.fn"), f"{name}.fn.fn.fn.rotary_emb.freqs": (16,)}


def resnet(name: str, channels: int, out: int, embed: int = 32) -> Shapes:
    shapes = linear(f"{name}.mlp.1", 2 * out, embed) if embed else {}
    for block, width in (("block1", channels), ("block2", out)):
        shapes |= linear(f"{name}.{block}.proj", out, width, 1, 3, 3) | {f"{name}.{block}.norm.gamma": (out, 1, 1, 1)}
    return shapes | (linear(f"{name}.res_conv", out, channels, 1, 1, 1) if channels != out else {})


def level(name: str, channels: int, out: int) -> Shapes:
    shapes = resnet(f"{name}.0", channels, out) | resnet(f"{name}.1", out, out)
    return shapes | attention(f"{name}.2", out, "fn.fn", linear_bias=True) | temporal(f"{name}.3", out)


def test_names_and_shapes_of_the_public_network() -> None:
    """Every tensor of `Unet3D(dim=8, dim_mults=(1, 2), channels=4, out_dim=8)`."""
    expected: Shapes = {"time_rel_pos_bias.relative_attention_bias.weight": (32, 8)}
    expected |= linear("init_conv", 8, 4, 1, 7, 7) | temporal("init_temporal_attn", 8)
    expected |= linear("time_mlp.1", 32, 8) | linear("time_mlp.3", 32, 32)
    expected |= level("downs.0", 8, 8) | linear("downs.0.4", 8, 8, 1, 4, 4) | level("downs.1", 8, 16)
    expected |= resnet("mid_block1", 16, 16) | attention("mid_spatial_attn", 16, "fn.fn.fn")
    expected |= temporal("mid_temporal_attn", 16) | resnet("mid_block2", 16, 16)
    expected |= level("ups.0", 32, 8) | linear("ups.0.4", 8, 8, 1, 4, 4) | level("ups.1", 16, 8)
    expected |= resnet("final_conv.0", 16, 8, embed=0) | linear("final_conv.1", 8, 8, 1, 1, 1)
    with torch.device("meta"):
        published = to_published(VdmUNet(**PUBLIC))
    assert {name: tuple(tensor.shape) for name, tensor in published.items()} == expected


@pytest.mark.parametrize("options", [{}, {"context_dim": 3}, {"rotary": False}, {"spatial_attention": "none"}], ids=str)
def test_round_trip(options: dict[str, Any]) -> None:
    first, second = VdmUNet(**{**PUBLIC, **options}), VdmUNet(**{**PUBLIC, **options})
    state = to_published(first)
    assert VdmLayout().is_published(state)
    assert not VdmLayout().is_published(first.state_dict())
    load_published(second, state)
    assert all(torch.equal(tensor, second.state_dict()[name]) for name, tensor in first.state_dict().items())


def test_what_does_not_fit_is_named() -> None:
    network = VdmUNet(**PUBLIC)
    state = to_published(network)
    with pytest.raises(StbenchError, match=r"1 left over \(null_cond_emb\)"):
        load_published(network, {**state, "null_cond_emb": torch.zeros(1, 3)})
    del state["ups.0.4.bias"]
    with pytest.raises(StbenchError, match=r"1 missing \(ups\.0\.4\.bias\)"):
        load_published(network, state)
    with pytest.raises(StbenchError, match=r"no weights of spatial_attention=full temporal=attention were published"):
        to_published(VdmUNet(**{**PUBLIC, "spatial_attention": "full"}))


def test_classes_stay_as_they_are() -> None:
    source, target = VdmUNet(**PUBLIC), VdmUNet(**PUBLIC, num_classes=3)
    before = target.class_embed.weight.clone()
    load_published(target, to_published(source))
    assert torch.equal(target.class_embed.weight, before)

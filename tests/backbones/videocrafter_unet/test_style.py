"""StyleCrafter's attention and scales against the authors' figures and by independent formulas."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from stbench.backbones.published import to_published
from stbench.backbones.videocrafter_unet.network import VideoCrafterUNet
from stbench.backbones.videocrafter_unet.style import EncoderBlock, ScaleEncoder, StyleAttention
from stbench.errors import StbenchError


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_golden_attention(golden: Any, formula_input: Any, formula_fill: Any, assert_golden: Any) -> None:
    """The figures are of the authors' plain path, which forgets to divide the scores of the style by sqrt(d)."""
    attention, entry = StyleAttention(32, 4, 8, 24), golden["stylecrafter_attention"]
    attention.layer = 1
    formula_fill(attention, lambda name: f"{'style' in name}.{name}")  # the adapter's come behind the attention's own
    assert (count(attention), len(list(attention.parameters()))) == (entry["params"], entry["tensors"])
    with torch.no_grad():
        attention.to_k_style.weight *= math.sqrt(8)
        text, style = formula_input((2, 85, 24), 0.5).split([77, 8], dim=1)
        scales = formula_input((2, 16, 1), 0.2).tanh()
        assert_golden(attention(formula_input((2, 6, 32)), text, style, scales), entry)


def test_a_block_of_the_encoder_is_torchs_transformer_layer() -> None:
    torch.manual_seed(0)
    block = EncoderBlock(32).eval()
    layer = nn.TransformerEncoderLayer(32, 8, 128, activation="gelu", batch_first=True, norm_first=True).eval()
    weights = {
        "self_attn.in_proj_weight": block.qkv.weight,
        "self_attn.in_proj_bias": block.qkv.bias,
        **{f"self_attn.out_proj.{kind}": each for kind, each in block.proj.named_parameters()},
        **{f"linear1.{kind}": each for kind, each in block.enter.named_parameters()},
        **{f"linear2.{kind}": each for kind, each in block.leave.named_parameters()},
        **{f"norm1.{kind}": each for kind, each in block.norm1.named_parameters()},
        **{f"norm2.{kind}": each for kind, each in block.norm2.named_parameters()},
    }
    layer.load_state_dict(weights)
    x = normal(2, 5, 32)
    torch.testing.assert_close(block(x), layer(x), rtol=0, atol=1e-5)


def test_scales_are_between_minus_one_and_one_and_depend_on_style_and_text() -> None:
    torch.manual_seed(0)
    encoder, style, text = ScaleEncoder(16, 3), normal(2, 4, 16), normal(2, 7, 16)
    scales = encoder(style, text)
    assert scales.shape == (2, 3, 1)
    assert scales.abs().max() < 1
    assert (encoder(style.flip(2), text) - scales).abs().min() > 0
    assert (encoder(style, text.flip(2)) - scales).abs().min() > 0
    with pytest.raises(StbenchError, match="context_dim=12 does not divide into the 8 heads that look at styles"):
        ScaleEncoder(12, 3)


def test_counts_and_names_of_the_published_adapter() -> None:
    with torch.device("meta"):
        network = VideoCrafterUNet(
            temporal_conv=False, relative_position=True, default_fps=None, image_attention="style"
        )
        shapes = {name: tuple(tensor.shape) for name, tensor in to_published(network).items()}
    assert network.style_scales is not None
    assert count(network.style_scales) == 25_245_761
    assert count(network) == 1_144_485_956 + 25_584_000 + 25_245_761
    assert network.context_shape == (85, 1024)
    layers = [module.layer for module in network.modules() if isinstance(module, StyleAttention)]
    assert layers == list(range(16))
    first = "kv_attn_layers.input_blocks_1_1_transformer_blocks_0_attn2_processor"
    assert {name.removeprefix(first): shape for name, shape in shapes.items() if name.startswith(first)} == {
        ".to_k_style.weight": (320, 1024),
        ".to_v_style.weight": (320, 1024),
        ".norm_style.weight": (320,),
        ".norm_style.bias": (320,),
    }
    block = "scale_predictor.transformer_blocks.resblocks.1"
    expected = {
        "scale_predictor.scale_emb": (1, 16, 1024),
        "scale_predictor.ln1.weight": (1024,),
        "scale_predictor.out.2.weight": (1, 32),
        f"{block}.ln_2.bias": (1024,),
        f"{block}.attn.in_proj_weight": (3072, 1024),
        f"{block}.attn.out_proj.bias": (1024,),
        f"{block}.mlp.c_fc.weight": (4096, 1024),
        f"{block}.mlp.c_proj.weight": (1024, 4096),
    }
    assert shapes.items() >= expected.items()
    assert sum(name.startswith("scale_predictor.") for name in shapes) == 1 + 4 + 4 + 2 * 12

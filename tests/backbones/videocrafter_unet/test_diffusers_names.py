"""diffusers' names of Stable Diffusion's U-Net, and what of it stands in a file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from stbench.backbones.base import Conditioning
from stbench.backbones.published import load_published, to_published
from stbench.backbones.trial import fill_zeros
from stbench.backbones.videocrafter_unet.diffusers_names import load_motion_modules
from stbench.backbones.videocrafter_unet.stable_diffusion import StableDiffusionUNet
from stbench.errors import StbenchError
from stbench.training.start import initialise_from

TINY: dict[str, Any] = {
    "dim": 16,
    "dim_multipliers": (1, 2),
    "blocks_per_level": 1,
    "attention_levels": (1,),
    "num_heads": 2,
    "norm_groups": 4,
    "context_dim": 12,
}
SPARSE_CAUSAL: dict[str, Any] = {"temporal": "sparse_causal"}
MOTION: dict[str, Any] = {"temporal": "motion_module"}
TARGET = "stbench.backbones.videocrafter_unet:StableDiffusionUNet"


def build(seed: int = 0, **options: Any) -> StableDiffusionUNet:
    torch.manual_seed(seed)
    network = StableDiffusionUNet(**{**TINY, **options}).eval()
    fill_zeros(network)
    return network


def shapes(state: dict[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


def frame(network: StableDiffusionUNet) -> Tensor:
    """What a network makes of a single frame."""
    x = torch.randn(1, 4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return network(x, torch.tensor([500]))


@pytest.mark.parametrize("options", [{}, MOTION], ids=["stable diffusion", "animatediff"])
def test_names_and_shapes_are_those_of_diffusers(options: dict[str, Any]) -> None:
    """Of AnimateDiff but for the names within a motion module, which diffusers has of its own."""
    diffusers = pytest.importorskip("diffusers", reason="pip install 'stbench[diffusers]'")
    with torch.device("meta"):
        theirs = diffusers.UNet2DConditionModel(cross_attention_dim=768).state_dict()
        ours = to_published(StableDiffusionUNet(**options))
    image = {name: tensor for name, tensor in ours.items() if ".motion_modules." not in name}
    assert shapes(image) == shapes(theirs)


def test_names_of_motion_modules() -> None:
    with torch.device("meta"):
        state = shapes(to_published(StableDiffusionUNet(**MOTION)))
    motion = {name: shape for name, shape in state.items() if ".motion_modules." in name}
    assert len(motion) == 546
    first = "down_blocks.0.motion_modules.0.temporal_transformer"
    block = f"{first}.transformer_blocks.0"
    assert {name: shape for name, shape in motion.items() if name.startswith(first)} == {
        **{f"{first}.{name}.{kind}": (320,) for name in ("norm",) for kind in ("weight", "bias")},
        **{f"{first}.proj_{way}.weight": (320, 320) for way in ("in", "out")},
        **{f"{first}.proj_{way}.bias": (320,) for way in ("in", "out")},
        **{f"{block}.attention_blocks.{i}.to_{letter}.weight": (320, 320) for i in (0, 1) for letter in "qkv"},
        **{f"{block}.attention_blocks.{i}.to_out.0.weight": (320, 320) for i in (0, 1)},
        **{f"{block}.attention_blocks.{i}.to_out.0.bias": (320,) for i in (0, 1)},
        **{f"{block}.norms.{i}.{kind}": (320,) for i in (0, 1) for kind in ("weight", "bias")},
        **{f"{block}.ff_norm.{kind}": (320,) for kind in ("weight", "bias")},
        f"{block}.ff.net.0.proj.weight": (2560, 320),
        f"{block}.ff.net.0.proj.bias": (2560,),
        f"{block}.ff.net.2.weight": (320, 1280),
        f"{block}.ff.net.2.bias": (320,),
    }
    places = {name.partition(".temporal_transformer")[0] for name in motion}
    assert places == {
        *(f"down_blocks.{level}.motion_modules.{index}" for level in range(4) for index in range(2)),
        *(f"up_blocks.{level}.motion_modules.{index}" for level in range(4) for index in range(3)),
        "mid_block.motion_modules.0",
    }


def test_names_of_tune_a_video() -> None:
    with torch.device("meta"):
        image, video = (shapes(to_published(StableDiffusionUNet(**options))) for options in ({}, SPARSE_CAUSAL))
    assert image.items() <= video.items()
    block = "mid_block.attentions.0.transformer_blocks.0"
    added = {name: shape for name, shape in video.items() if name not in image}
    assert {name: shape for name, shape in added.items() if name.startswith(block)} == {
        **{f"{block}.attn_temp.to_{letter}.weight": (1280, 1280) for letter in "qkv"},
        f"{block}.attn_temp.to_out.0.weight": (1280, 1280),
        f"{block}.attn_temp.to_out.0.bias": (1280,),
        f"{block}.norm_temp.weight": (1280,),
        f"{block}.norm_temp.bias": (1280,),
    }
    assert len(added) == 16 * 7


@pytest.mark.parametrize("options", [{}, MOTION, {**MOTION, "middle_motion": False}], ids=str)
def test_it_predicts_what_diffusers_does(options: dict[str, Any]) -> None:
    """A frame at a time: norms of diffusers' motion modules pool over all frames, the authors' do not."""
    diffusers = pytest.importorskip("diffusers", reason="pip install 'stbench[diffusers]'")
    kind = "Motion" if options else "2D"
    config: dict[str, Any] = {
        "block_out_channels": (32, 64),
        "layers_per_block": 1,
        "cross_attention_dim": 12,
        "down_block_types": (f"DownBlock{kind}", f"CrossAttnDownBlock{kind}"),
        "up_block_types": (f"CrossAttnUpBlock{kind}", f"UpBlock{kind}"),
    }
    if options:
        middle = options.get("middle_motion", True)
        heads = {"num_attention_heads": 2, "motion_num_attention_heads": 2}
        theirs = diffusers.UNetMotionModel(**config, **heads, use_motion_mid_block=middle).eval()
    else:
        theirs = diffusers.UNet2DConditionModel(**config, attention_head_dim=2).eval()
    ours = build(**options, dim=32, norm_groups=32)
    state = {_as_diffusers_has_motion(name): tensor for name, tensor in to_published(ours).items()}
    loaded = theirs.load_state_dict(state, strict=False)
    assert not loaded.unexpected_keys
    assert all(name.endswith(".pos_embed.pe") for name in loaded.missing_keys)
    draw = torch.Generator().manual_seed(0)
    x, context = torch.randn(2, 4, 1, 8, 8, generator=draw), torch.randn(2, 7, 12, generator=draw)
    timesteps = torch.tensor([17, 900])
    with torch.no_grad():
        expected = theirs(x if options else x[:, :, 0], timesteps, context).sample.view_as(x)
        out = ours(x, timesteps, Conditioning(context=context))
    assert expected.std() > 0.1
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-4)


def _as_diffusers_has_motion(name: str) -> str:
    """The name of AnimateDiff's authors in diffusers."""
    name = name.replace(".temporal_transformer.", ".").replace(".ff_norm.", ".norm3.")
    name = re.sub(r"attention_blocks\.(\d)", lambda match: f"attn{int(match[1]) + 1}", name)
    return re.sub(r"norms\.(\d)", lambda match: f"norm{int(match[1]) + 1}", name)


@pytest.mark.parametrize("options", [{}, SPARSE_CAUSAL, MOTION, {**MOTION, "num_classes": 3}], ids=str)
def test_published_weights_load_strictly(options: dict[str, Any]) -> None:
    first, second = build(**options), build(1, **options)
    published = to_published(first)
    load_published(second, published)
    assert all(torch.equal(tensor, published[name]) for name, tensor in to_published(second).items())
    published["extra"] = published.pop("mid_block.resnets.1.conv2.bias")
    with pytest.raises(StbenchError, match=r"1 missing \(mid_block.resnets.1.conv2.bias\); 1 left over \(extra\)"):
        load_published(second, published)


@pytest.mark.parametrize("options", [SPARSE_CAUSAL, MOTION], ids=str)
def test_it_starts_from_an_image_network(options: dict[str, Any], tmp_path: Path) -> None:
    """From its published file, or from a run's weights: its prediction of a frame stays, what is in time as well."""
    image = build(1)
    torch.save(to_published(image), tmp_path / "published.pt")
    torch.save(image.state_dict(), tmp_path / "own.pt")
    for name in ("published.pt", "own.pt"):
        torch.manual_seed(2)
        network = StableDiffusionUNet(**TINY, **options).eval()
        before = to_published(network)
        assert initialise_from(network, str(tmp_path / name), {"backbone": TARGET, "arguments": {}}).startswith("image")
        torch.testing.assert_close(frame(network), frame(image), rtol=0, atol=1e-5)
        after = to_published(network)
        assert all(torch.equal(after[name], before[name]) for name in before if "temp" in name or "motion" in name)


def test_motion_modules_are_put_into_an_image_network() -> None:
    network, other = build(**MOTION), build(1, **MOTION)
    before, theirs = to_published(network), to_published(other)
    motion = {f"module.{name}": tensor for name, tensor in theirs.items() if ".motion_modules." in name}
    positions = (
        "module.mid_block.motion_modules.0.temporal_transformer.transformer_blocks.0.attention_blocks.0.pos_encoder.pe"
    )
    file = {"epoch": 3, "state_dict": {**motion, positions: torch.zeros(1, 24, 32)}}
    load_motion_modules(network, file)
    after = to_published(network)
    assert len(motion) == (2 + 4 + 1) * 26  # on the way down, up and in the middle
    for name, tensor in after.items():
        assert torch.equal(tensor, (theirs if ".motion_modules." in name else before)[name])


def test_other_motion_modules_are_refused() -> None:
    network = build(**MOTION)
    without_middle = to_published(build(**MOTION, middle_motion=False))
    with pytest.raises(StbenchError, match=r"26 missing \(mid_block\.motion_modules\.0\."):
        load_motion_modules(network, without_middle)
    with pytest.raises(StbenchError, match="holds no motion modules"):
        load_motion_modules(network, to_published(build()))

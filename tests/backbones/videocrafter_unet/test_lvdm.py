"""LVDM's U-Net against the authors' figures."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from stbench.backbones.base import Conditioning
from stbench.backbones.published import load_published, to_published
from stbench.backbones.trial import fill_zeros
from stbench.backbones.videocrafter_unet.lvdm import LvdmRelativeAttend, LvdmUNet, SpaceTimeAttention
from stbench.backbones.videocrafter_unet.stages import Told, clips_to_frames, frames_to_clips
from stbench.errors import StbenchError

TINY: dict[str, Any] = {"dim": 16, "dim_multipliers": (1, 1), "blocks_per_level": 1, "attention_levels": (1,)}
TINY |= {"num_heads": 2, "norm_groups": 4}
TIMESTEPS = torch.tensor([17, 900])


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def filled(**options: Any) -> LvdmUNet:
    torch.manual_seed(0)
    network = LvdmUNet(**TINY, **options).eval()
    fill_zeros(network)
    return network


def test_golden_network(golden: Any, formula_input: Any, formula_fill: Any, assert_golden: Any) -> None:
    network = LvdmUNet(dim=32, dim_multipliers=(1, 2, 3), blocks_per_level=2, attention_levels=(1, 2)).eval()
    names = network.published_layout.names(network)
    formula_fill(network, names.__getitem__)
    assert (count(network), len(names)) == (golden["lvdm_uncond"]["params"], golden["lvdm_uncond"]["tensors"])
    with torch.no_grad():
        assert_golden(network(formula_input((2, 4, 4, 8, 8)), TIMESTEPS), golden["lvdm_uncond"])


def test_golden_attention(golden: Any, formula_input: Any, formula_fill: Any, assert_golden: Any) -> None:
    attention = SpaceTimeAttention(32, num_heads=4, norm_groups=32, reach=4)
    names = {
        f"{part}.{name}": f"{name.split('.')[0]}_{part[0]}.{name.split('.')[1]}"
        for part in ("space", "time")
        for name, _ in getattr(attention, part).named_parameters()
        if "attend" not in name
    }
    for letter, of in (("k", "key"), ("v", "value")):
        names[f"time.attend.{of}_positions.table"] = f"relative_position_{letter}.embeddings_table"
    formula_fill(attention, names.__getitem__)
    x = clips_to_frames(formula_input((2, 32, 4, 4, 4)))
    out = attention(x, Told(torch.empty(0), (), 4))
    assert_golden(frames_to_clips(out, 4), golden["lvdm_st_attention"])


def test_counts_of_the_published_network() -> None:
    with torch.device("meta"), torch.no_grad():
        network = LvdmUNet().eval()
        assert count(network) == 548_904_580
        with FlopCounterMode(display=False) as counter:
            network(torch.empty(1, 4, 4, 32, 32), torch.zeros(1))
        assert counter.get_total_flops() == 361_752_952_832
        published = to_published(network)
    shapes = {name: tuple(tensor.shape) for name, tensor in published.items()}
    assert len(shapes) == 668
    first = "input_blocks.5.1"  # attention of 512 channels
    assert {name.removeprefix(f"{first}."): shape for name, shape in shapes.items() if name.startswith(first)} == {
        "relative_position_k.embeddings_table": (9, 128),
        "relative_position_v.embeddings_table": (9, 128),
        **{f"norm_{axis}.{kind}": (512,) for axis in "st" for kind in ("weight", "bias")},
        **{f"qkv_{axis}.weight": (1536, 512, 1) for axis in "st"},
        **{f"qkv_{axis}.bias": (1536,) for axis in "st"},
        **{f"proj_out_{axis}.weight": (512, 512, 1) for axis in "st"},
        **{f"proj_out_{axis}.bias": (512,) for axis in "st"},
    }
    convolutions = {name for name, shape in shapes.items() if len(shape) == 5}
    assert {shapes[name][2:] for name in convolutions} == {(1, 3, 3), (1, 1, 1)}
    assert {"input_blocks.0.0.weight", "input_blocks.4.0.op.weight", "output_blocks.3.2.conv.weight"} <= convolutions


def test_the_authors_names_lead_back() -> None:
    first, second = filled(), LvdmUNet(**TINY, num_classes=2)
    load_published(second, {f"model.diffusion_model.{name}": tensor for name, tensor in to_published(first).items()})
    ours = second.state_dict()
    assert all(torch.equal(ours[name], tensor) for name, tensor in first.state_dict().items())


def test_attention_starts_as_the_identity() -> None:
    x = normal(6, 16, 2, 3)
    attention = SpaceTimeAttention(16, num_heads=2, norm_groups=4, reach=3)
    assert torch.equal(attention(x, Told(torch.empty(0), (), 3)), x)


def test_positions_of_keys_are_transposed_and_scaled_as_in_the_authors_code() -> None:
    torch.manual_seed(0)
    attend, (q, k, v) = LvdmRelativeAttend(8, 2), normal(3, 2, 4, 5, 8)
    keys, values = attend.key_positions.table, attend.value_positions.table
    out = attend(q, k, v)
    for i in range(5):
        distances = [min(max(i - j, -2), 2) for j in range(5)]
        scores = torch.stack(
            [
                (q[..., i, :] * k[..., j, :]).sum(-1) / 8**0.5 + (q[..., j, :] * keys[distance + 2]).sum(-1) / 8**0.25
                for j, distance in enumerate(distances)
            ],
            dim=-1,
        )
        seen = torch.stack([v[..., j, :] + values[2 - distance] for j, distance in enumerate(distances)], dim=-2)
        expected = (scores.softmax(-1)[..., None] * seen).sum(-2)
        torch.testing.assert_close(out[..., i, :], expected, rtol=0, atol=1e-5)


def test_it_depends_on_timestep_class_and_other_frames() -> None:
    network, x = filled(num_classes=2), normal(1, 4, 3, 8, 8)

    def predict(x: Tensor, timestep: int, label: int) -> Tensor:
        return network(x, torch.tensor([timestep]), Conditioning(class_labels=torch.tensor([label])))

    out, other = predict(x, 3, 0), x.clone()
    other[:, :, 2] += 1
    assert (predict(x, 700, 0) - out).abs().max() > 1e-3
    assert (predict(x, 3, 2) - out).abs().max() > 1e-3
    assert (predict(other, 3, 0) - out)[:, :, 0].abs().max() > 1e-3


@pytest.mark.parametrize(
    ("arguments", "shape", "conditioning", "message"),
    [
        ({"num_heads": 3}, (2, 4, 3, 8, 8), Conditioning(), "num_heads=3 does not divide the 16 channels of level 1"),
        ({}, (2, 4, 3, 9, 8), Conditioning(), "LvdmUNet halves 1 times: H x W = 9 x 8 must be multiples of 2"),
        ({}, (2, 3, 3, 8, 8), Conditioning(), "LvdmUNet expects latents (B, 4, F, H, W), got (2, 3, 3, 8, 8)"),
        ({}, (2, 4, 3, 8, 8), Conditioning(num_images=1), "no image-video joint training"),
        ({"num_classes": 2}, (2, 4, 3, 8, 8), Conditioning(), "conditioning.class_labels (B,) is missing"),
    ],
)
def test_what_is_refused(
    arguments: dict[str, Any], shape: tuple[int, ...], conditioning: Conditioning, message: str
) -> None:
    with pytest.raises(StbenchError, match=re.escape(message)):
        LvdmUNet(**{**TINY, **arguments})(normal(*shape), TIMESTEPS, conditioning)

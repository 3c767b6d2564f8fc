"""Transformers of the VideoCrafter U-Net: what sees what."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from stbench.backbones.videocrafter_unet.stages import Told
from stbench.backbones.videocrafter_unet.transformers import SpatialBlock, SpatialTransformer, TemporalTransformer


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def told(num_frames: int, *contexts: Tensor) -> Told:
    return Told(torch.empty(0), contexts, num_frames)


def test_both_transformers_start_as_the_identity() -> None:
    x = normal(6, 32, 2, 3)
    spatial = SpatialTransformer(32, SpatialBlock(32, head_dim=8, context_dim=12), 8)
    temporal = TemporalTransformer(32, 4, head_dim=8, context_dim=None, reach=0, causal=False, norm_groups=8)
    assert torch.equal(spatial(x, told(3, normal(6, 7, 12))), x)
    assert torch.equal(temporal(x, told(3)), x)


@pytest.mark.parametrize(("reach", "causal", "blind"), [(0, False, True), (3, False, False), (0, True, False)])
def test_without_positions_the_order_of_frames_does_not_count(reach: int, causal: bool, blind: bool) -> None:
    torch.manual_seed(0)
    temporal = TemporalTransformer(32, 8, head_dim=8, context_dim=None, reach=reach, causal=causal, norm_groups=8)
    nn.init.normal_(temporal.proj_out.weight)
    x, order = normal(3, 32, 2, 3), torch.tensor([2, 0, 1])
    apart = (temporal(x[order], told(3)) - temporal(x, told(3))[order]).abs().max()
    assert apart < 1e-4 if blind else apart > 1e-2


def test_pixels_see_each_other_in_space_and_frames_in_time() -> None:
    torch.manual_seed(0)
    spatial = SpatialTransformer(32, SpatialBlock(32, head_dim=8, context_dim=12), 8)
    temporal = TemporalTransformer(32, 4, head_dim=8, context_dim=None, reach=0, causal=False, norm_groups=8)
    context, x = normal(3, 7, 12), normal(3, 32, 2, 2)
    other = x.clone()
    other[0, :, 0, 0] += 1
    for transformer, seeing in ((spatial, (0,)), (temporal, (slice(None), 0, 0))):
        nn.init.normal_(transformer.proj_out.weight)
        transformer.norm = nn.Identity()  # type: ignore[assignment]  # it pools over what attention may not see
        changed = (transformer(other, told(3, context)) != transformer(x, told(3, context))).any(dim=1)
        expected = torch.zeros(3, 2, 2, dtype=torch.bool)
        expected[seeing] = True
        assert torch.equal(changed, expected)


def test_in_time_the_text_is_looked_at_on_request() -> None:
    torch.manual_seed(0)
    temporal = TemporalTransformer(32, 4, head_dim=8, context_dim=12, reach=2, causal=False, norm_groups=8)
    nn.init.normal_(temporal.proj_out.weight)
    x, text = normal(4, 32, 2, 3), normal(2, 7, 12)  # two clips of two frames
    frames = text.repeat_interleave(2, dim=0)
    out, other = (temporal(x, told(2, each)) for each in (frames, torch.cat([frames[:2], normal(2, 7, 12, seed=1)])))
    assert torch.equal(out[:2], other[:2])
    assert (out[2:] - other[2:]).abs().max() > 1e-3
    assert temporal.block.attn2.to_k.in_features == 12

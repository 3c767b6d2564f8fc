"""Attention of the VideoCrafter U-Net: what looks at what, by independent formulas."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from stbench.backbones.videocrafter_unet.layers import Told
from stbench.backbones.videocrafter_unet.transformers import (
    CausalAttend,
    DualAttention,
    RelativeAttend,
    SpatialTransformer,
    TemporalTransformer,
)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def told(num_frames: int, *contexts: Tensor) -> Told:
    return Told(torch.empty(0), contexts, num_frames)


@pytest.mark.parametrize("build", [CausalAttend, lambda: RelativeAttend(8, 3, causal=True)])
def test_causal_attention_does_not_see_later_frames(build: Callable[[], nn.Module]) -> None:
    attend, (q, k, v) = build(), normal(3, 2, 4, 5, 8)
    out = attend(q, k, v)
    for last in range(1, 6):
        prefix = attend(*(x[:, :, :last] for x in (q, k, v)))
        torch.testing.assert_close(prefix, out[:, :, :last], rtol=0, atol=1e-6)
    assert (attend(q, k.flip(2), v.flip(2))[:, :, 0] - out[:, :, 0]).abs().max() > 0.1


def test_an_image_is_looked_at_by_keys_of_its_own_and_added_before_the_last_projection() -> None:
    torch.manual_seed(0)
    attention, x, text, image = DualAttention(32, 4, 8, 12, True), normal(2, 6, 32), normal(2, 7, 12), normal(2, 3, 12)

    def look(keys: nn.Linear, values: nn.Linear, context: Tensor) -> Tensor:
        q, k, v = (y.unflatten(-1, (4, 8)) for y in (attention.to_q(x), keys(context), values(context)))
        weights = (torch.einsum("bnhe,bmhe->bhnm", q, k) / 8**0.5).softmax(-1)
        return torch.einsum("bhnm,bmhe->bnhe", weights, v).flatten(2)

    of_text = look(attention.to_k, attention.to_v, text)
    of_image = look(attention.to_k_image, attention.to_v_image, image)
    assert attention.image_scale is not None
    for value, scale in ((0.0, 1.0), (0.5, 1.46211716)):  # 1 + tanh
        nn.init.constant_(attention.image_scale, value)
        expected = attention.to_out(of_text + scale * of_image)
        torch.testing.assert_close(attention(x, text, image), expected, rtol=0, atol=1e-5)


def test_both_transformers_start_as_the_identity() -> None:
    x = normal(6, 32, 2, 3)
    spatial = SpatialTransformer(32, head_dim=8, context_dim=12, image_attention="none", norm_groups=8)
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
    spatial = SpatialTransformer(32, head_dim=8, context_dim=12, image_attention="none", norm_groups=8)
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

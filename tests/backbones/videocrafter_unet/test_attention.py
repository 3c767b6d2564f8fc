"""Attention of the VideoCrafter U-Net: what looks at what, by independent formulas."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from stbench.backbones.videocrafter_unet.attention import CausalAttend, DualAttention, FramesAttend


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("build", [CausalAttend, lambda: FramesAttend(8, 3, causal=True)])
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

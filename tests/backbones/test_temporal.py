"""Ways to give an image network time: each by its formula, and what it must not touch."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from stbench.backbones.temporal import (
    ChannelGate,
    MotionModule,
    attend_over_time,
    first_and_previous,
    interleaved_sinusoid,
)
from stbench.errors import StbenchError
from stbench.runtime.attention.attend import Attend
from stbench.runtime.attention.backends import math_attention


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def fill(module: nn.Module) -> None:
    """Noise in every parameter, so that nothing is hidden by what starts at zero."""
    for index, parameter in enumerate(module.parameters()):
        parameter.data.copy_(0.3 * normal(*parameter.shape, seed=index))


# ---- the gate of two channels ----


def test_the_gate_starts_in_the_middle_and_far_above_it_is_the_spatial_channel_to_the_bit() -> None:
    spatial, temporal = normal(2, 3, 4, 5), normal(2, 3, 4, 5, seed=1)
    torch.testing.assert_close(ChannelGate(5, 0.0)(spatial, temporal), (spatial + temporal) / 2)
    assert torch.equal(ChannelGate(5, 100.0)(spatial, temporal), spatial)
    gate = ChannelGate(5, 0.0)
    fill(gate)
    share = 1 / (1 + (-gate.logit).exp())
    torch.testing.assert_close(gate(spatial, temporal), temporal + share * (spatial - temporal))


def test_the_gate_leaves_images_as_the_spatial_channel_has_them() -> None:
    spatial, temporal, gate = normal(2, 5, 4, 3), normal(2, 5, 4, 3, seed=1), ChannelGate(3, 0.0)
    mixed = gate(spatial, temporal, num_images=2)
    assert torch.equal(mixed[:, 3:], spatial[:, 3:])
    assert torch.equal(mixed[:, :3], gate(spatial[:, :3], temporal[:, :3]))


# ---- sparse-causal attention (Tune-A-Video) ----


def sparse_causal(q: Tensor, k: Tensor, v: Tensor, **told: Any) -> Tensor:
    return math_attention(q, first_and_previous(k, **told), first_and_previous(v, **told))


def test_every_frame_sees_the_first_and_the_previous_one() -> None:
    """The first frame as in ordinary attention, since a key that is there twice counts as once."""
    q, k, v = (normal(2, 4, 3, 5, 6, seed=seed) for seed in range(3))
    out = sparse_causal(q, k, v)
    for frame in range(4):
        seen = [0] if frame < 2 else [0, frame - 1]
        keys, values = (torch.cat([x[:, other] for other in seen], dim=-2) for x in (k, v))
        torch.testing.assert_close(out[:, frame], math_attention(q[:, frame], keys, values))


def test_a_later_frame_moves_no_other() -> None:
    q, k, v = (normal(1, 4, 2, 5, 6, seed=seed) for seed in range(3))
    before = sparse_causal(q, k, v)
    k[:, 3] += 1
    v[:, 3] += 1
    assert torch.equal(sparse_causal(q, k, v), before)


def test_images_and_frames_that_are_apart_see_themselves() -> None:
    q, k, v = (normal(2, 4, 3, 5, 6, seed=seed) for seed in range(3))
    own, clip = math_attention(q, k, v), sparse_causal(q[:, :2], k[:, :2], v[:, :2])
    torch.testing.assert_close(sparse_causal(q, k, v, num_images=2), torch.cat([clip, own[:, 2:]], dim=1))
    mixed = sparse_causal(q, k, v, apart=torch.tensor([True, False]))
    torch.testing.assert_close(mixed, torch.stack([own[0], sparse_causal(q, k, v)[1]]))


# ---- attention over time ----


def test_frames_that_see_no_other_keep_their_value() -> None:
    q, k, v = (normal(2, 3, 2, 5, 4, seed=seed) for seed in range(3))
    attend, bias = Attend(), normal(2, 3, 3)
    clip = math_attention(q[..., :3, :], k[..., :3, :], v[..., :3, :], bias)
    out = attend_over_time(attend, (q, k, v), num_images=2, bias=bias, apart=torch.tensor([False, True]))
    torch.testing.assert_close(out[0, ..., :3, :], clip[0])
    assert torch.equal(out[1], v[1])
    assert torch.equal(out[..., 3:, :], v[..., 3:, :])


# ---- the motion module (AnimateDiff) ----

# Of the authors' `VanillaTemporalModule`, from those here.
AUTHORS_NAMES = (
    ("attentions.", "transformer_blocks.0.attention_blocks."),
    ("last_norm.", "transformer_blocks.0.ff_norm."),
    ("feed_forward.enter.", "transformer_blocks.0.ff.net.0.proj."),
    ("feed_forward.leave.", "transformer_blocks.0.ff.net.2."),
    ("to_out.", "to_out.0."),
)


def authors_name(ours: str) -> str:
    for here, there in AUTHORS_NAMES:
        ours = ours.replace(here, there)
    if ".norm." in ours and "attention_blocks" in ours:
        ours = ours.replace("attention_blocks", "norms").replace(".norm.", ".")
    renamed = {"enter": "proj_in", "leave": "proj_out"}
    first, _, rest = ours.partition(".")
    return f"temporal_transformer.{renamed.get(first, first)}.{rest}"


def test_golden_motion_module(golden: Any, formula_input: Any, formula_fill: Any, assert_golden: Any) -> None:
    module, entry = MotionModule(64), golden["motion_module"]
    formula_fill(module, authors_name)
    assert sum(parameter.numel() for parameter in module.parameters()) == entry["params"] == 22 * 64**2 + 21 * 64
    assert len(list(module.parameters())) == entry["tensors"]
    tokens = formula_input((2, 64, 5, 4, 4)).flatten(3).permute(0, 2, 3, 1)  # (B, F, N, D)
    assert_golden(module(tokens).permute(0, 3, 1, 2).unflatten(3, (4, 4)), entry)


# Of Stable Diffusion's widths: 20 modules in AnimateDiff 1 and 3, and one more, in the middle, in 2.
def test_parameters_of_the_published_modules() -> None:
    with torch.device("meta"):
        sizes = {width: sum(p.numel() for p in MotionModule(width).parameters()) for width in (320, 640, 1280)}
    assert sizes == {320: 2_259_520, 640: 9_024_640, 1280: 36_071_680}
    assert 5 * sizes[320] + 5 * sizes[640] + 10 * sizes[1280] == 417_137_600
    assert 5 * sizes[320] + 5 * sizes[640] + 11 * sizes[1280] == 453_209_280


def test_a_motion_module_starts_as_nothing() -> None:
    module, x = MotionModule(16, num_heads=2), normal(2, 3, 4, 16)
    assert torch.equal(module(x), x)
    fill(module)
    assert not torch.allclose(module(x), x, atol=1e-2)


@pytest.mark.parametrize("positions", [True, False])
def test_only_positions_tell_the_order_of_frames(positions: bool) -> None:
    module, x = MotionModule(16, num_heads=2, positions=positions), normal(2, 4, 3, 16)
    fill(module)
    order = [2, 0, 3, 1]
    apart = (module(x[:, order]) - module(x)[:, order]).abs().max()
    assert (apart > 1e-3) == positions


def test_motion_of_what_is_seen_alone_is_that_of_a_clip_of_one_frame() -> None:
    module, x = MotionModule(16, num_heads=2), normal(2, 5, 3, 16)
    fill(module)
    alone = torch.cat([module.motion(frame) for frame in x.split(1, dim=1)], dim=1)
    motion = module.motion(x, num_images=2, apart=torch.tensor([True, False]))
    torch.testing.assert_close(motion[0], alone[0])
    torch.testing.assert_close(motion[:, 3:], alone[:, 3:])
    torch.testing.assert_close(motion[1, :3], module.motion(x[1:, :3])[0])
    torch.testing.assert_close(module.motion(x, num_images=5), alone)


def test_positions_by_their_formula() -> None:
    table = interleaved_sinusoid(3, 6)
    for frame in range(3):
        for pair in range(3):
            angle = frame * 10000 ** (-2 * pair / 6)
            assert table[frame, 2 * pair : 2 * pair + 2].tolist() == pytest.approx([math.sin(angle), math.cos(angle)])


def test_a_width_that_does_not_divide_into_heads_is_refused() -> None:
    with pytest.raises(StbenchError) as caught:
        MotionModule(12)
    assert str(caught.value) == "a motion module of width 12 does not divide into 8 heads"

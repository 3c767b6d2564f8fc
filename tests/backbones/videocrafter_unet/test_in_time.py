"""Tune-A-Video's block and its sparse-causal attention, and motion in folded frames."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from stbench.backbones.videocrafter_unet.attention import Attention
from stbench.backbones.videocrafter_unet.in_time import MotionLayer, SparseCausalAttention, SparseCausalBlock
from stbench.backbones.videocrafter_unet.published import OF_TRANSFORMERS, renamed
from stbench.backbones.videocrafter_unet.stages import Told


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def told(num_frames: int, *contexts: Tensor) -> Told:
    return Told(torch.empty(0), contexts, num_frames)


def test_golden_block(golden: Any, formula_input: Any, formula_fill: Any, assert_golden: Any) -> None:
    entry = golden["tuneavideo_block"]
    block = SparseCausalBlock(32, head_dim=8, context_dim=16)
    formula_fill(block, lambda ours: renamed(f".{ours}", OF_TRANSFORMERS))
    sizes = [parameter.numel() for parameter in block.parameters()]
    assert (sum(sizes), len(sizes)) == (entry["params"], entry["tensors"])
    with torch.no_grad():
        assert_golden(block(formula_input((6, 10, 32)), told(3, formula_input((6, 7, 16), 0.5))), entry)


def test_sparse_causal_attention_by_attention_to_what_a_frame_sees() -> None:
    torch.manual_seed(0)
    sparse, plain = SparseCausalAttention(16, 2, 8), Attention(16, 2, 8)
    plain.load_state_dict(sparse.state_dict())
    x = normal(2, 4, 5, 16)  # (B, F, N, C)
    out = sparse(x.flatten(0, 1), 4).unflatten(0, (2, 4))
    seen = {0: x[:, 0], 1: x[:, 0], 2: torch.cat([x[:, 0], x[:, 1]], dim=1), 3: torch.cat([x[:, 0], x[:, 2]], dim=1)}
    for frame, source in seen.items():
        torch.testing.assert_close(out[:, frame], plain(x[:, frame], source), rtol=0, atol=1e-6)


def test_no_frame_looks_ahead() -> None:
    torch.manual_seed(0)
    sparse, x = SparseCausalAttention(16, 2, 8), normal(4, 5, 16)
    other = torch.cat([x[:3], normal(1, 5, 16, seed=1)])
    assert torch.equal(sparse(x, 4)[:3], sparse(other, 4)[:3])


def test_a_block_starts_without_attention_over_time() -> None:
    torch.manual_seed(0)
    block = SparseCausalBlock(16, head_dim=8, context_dim=12)
    conditioning, x = told(3, normal(6, 7, 12)), normal(6, 5, 16)
    out = block(x, conditioning)
    nn.init.normal_(block.attn_temp.to_q.weight)
    assert torch.equal(block(x, conditioning), out)
    nn.init.normal_(block.attn_temp.to_out.weight)
    assert not torch.equal(block(x, conditioning), out)


def test_motion_in_folded_frames_is_that_of_tokens() -> None:
    layer, x = MotionLayer(16, 2), normal(6, 16, 2, 3)
    assert torch.equal(layer(x, told(3)), x)  # it starts as nothing
    nn.init.normal_(layer.motion.leave.weight)
    tokens = x.reshape(2, 3, 16, 6).transpose(2, 3)
    assert torch.equal(layer(x, told(3)), layer.motion(tokens).transpose(2, 3).reshape(x.shape))

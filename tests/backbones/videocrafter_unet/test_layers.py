"""Convolutions of the VideoCrafter U-Net by independent formulas."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stbench.backbones.videocrafter_unet.layers import ResNetBlock, TemporalConv, TemporalConvs
from stbench.backbones.videocrafter_unet.stages import Told, clips_to_frames, frames_to_clips


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def told(num_frames: int, embedding: Tensor) -> Told:
    return Told(embedding, (), num_frames)


def test_convolutions_in_time_by_three_dimensional_ones() -> None:
    torch.manual_seed(0)
    layers, x = TemporalConvs(32, 8).eval(), normal(6, 32, 2, 5)
    assert torch.equal(layers(x, 3), x)  # the last one starts at zero
    for layer in layers:
        for parameter in layer.parameters():
            nn.init.normal_(parameter, std=0.2)
    hidden = frames_to_clips(x, 3)
    for layer in layers:
        assert isinstance(layer, TemporalConv)
        hidden = F.silu(F.group_norm(hidden, 8, layer.norm.weight, layer.norm.bias))
        hidden = F.conv3d(hidden, layer.conv.weight.unsqueeze(-1), layer.conv.bias, padding=(1, 0, 0))
    torch.testing.assert_close(layers(x, 3), x + clips_to_frames(hidden), rtol=0, atol=1e-4)


def test_dropout_in_time_stands_before_the_later_convolutions() -> None:
    assert [layer.dropout.p for layer in TemporalConvs(32, 8)] == [0.0, 0.1, 0.1, 0.1]
    torch.manual_seed(0)
    block, x = ResNetBlock(32, 32, embed_dim=8, temporal_conv=True, norm_groups=8, dropout=0.0), normal(4, 32, 3, 3)
    arguments = x, told(2, normal(2, 8))
    assert torch.equal(block.train()(*arguments), block.eval()(*arguments))  # the zero behind it hides it


def test_a_residual_block_by_its_steps() -> None:
    torch.manual_seed(0)
    block = ResNetBlock(32, 64, embed_dim=8, temporal_conv=False, norm_groups=8, dropout=0.0)
    nn.init.normal_(block.conv_out.weight, std=0.1)
    x, embedding = normal(4, 32, 3, 3), normal(2, 2, 8)  # a timestep for each frame
    hidden = F.conv2d(F.silu(F.group_norm(x, 8)), block.conv_in.weight, block.conv_in.bias, padding=1)
    hidden = hidden + block.embed(embedding * embedding.sigmoid()).reshape(4, 64, 1, 1)
    hidden = F.conv2d(F.silu(F.group_norm(hidden, 8)), block.conv_out.weight, padding=1)
    assert isinstance(block.skip, nn.Conv2d)
    expected = F.conv2d(x, block.skip.weight, block.skip.bias) + hidden
    torch.testing.assert_close(block(x, told(2, embedding)), expected, rtol=0, atol=1e-4)
    same = ResNetBlock(32, 32, embed_dim=8, temporal_conv=True, norm_groups=8, dropout=0.0)
    assert torch.equal(same(x, told(2, embedding)), x)  # it starts as the identity


def test_an_embedding_is_projected_for_each_frame_or_once() -> None:
    torch.manual_seed(0)
    blocks = [ResNetBlock(32, 64, embed_dim=8, norm_groups=8, embeds_frames=each) for each in (True, False)]
    nn.init.normal_(blocks[0].conv_out.weight, std=0.1)
    blocks[1].load_state_dict(blocks[0].state_dict())
    x = normal(4, 32, 3, 3)
    for embedding in (normal(2, 8), normal(2, 2, 8)):
        out, other = (block(x, told(2, embedding)) for block in blocks)
        torch.testing.assert_close(out, other, rtol=0, atol=1e-5)

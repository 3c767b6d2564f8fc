"""The built-in stand-in for CLIP: what is alike has embeddings that are, and all of them repeat."""

from __future__ import annotations

import torch
from torch import Tensor

from stbench.data.embeddings import DIM, SIDE, FrameEmbedding, NameEmbedding


def frames(size: int = 2 * SIDE) -> Tensor:
    return torch.rand(3, 3, size, size, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_frames_by_their_formula() -> None:
    embed = FrameEmbedding()
    small = frames().unflatten(3, (SIDE, 2)).unflatten(2, (SIDE, 2)).mean(dim=(3, 5))
    projected = (small - small.mean(dim=(2, 3), keepdim=True)).flatten(1) @ embed.projection
    expected = projected / projected.norm(dim=1, keepdim=True)
    torch.testing.assert_close(embed(frames()), expected, rtol=1e-4, atol=1e-5)


def test_embeddings_are_unit_vectors_that_repeat_whatever_stands_beside_them() -> None:
    names = NameEmbedding()(["left", "right", ""])
    assert names.shape == (3, 1, DIM)
    for found in (FrameEmbedding()(frames()), names[:, 0]):
        torch.testing.assert_close(found.norm(dim=1), torch.ones(3))
        assert (found @ found.T - torch.eye(3)).abs().max() < 0.5  # no two are alike
    assert torch.equal(NameEmbedding()(["right"])[0], names[1])
    torch.testing.assert_close(FrameEmbedding()(frames()[1:2])[0], FrameEmbedding()(frames())[1])


def test_other_light_and_another_size_leave_a_frame_what_it_is_and_another_place_does_not() -> None:
    embed, disc = FrameEmbedding(), torch.full((1, 3, 32, 32), -0.8)
    disc[..., 4:12, 4:12] = 0.9
    moved, larger = disc.roll(16, dims=3), disc.repeat_interleave(2, 2).repeat_interleave(2, 3)

    def cosine(other: Tensor) -> float:
        return float((embed(disc) * embed(other)).sum())

    assert cosine(disc + 0.1) > 0.999
    assert cosine(larger) > 0.999
    assert cosine(disc.roll(1, dims=3)) > 0.8
    assert cosine(moved) < 0.3


def test_a_frame_of_one_colour_has_none() -> None:
    assert FrameEmbedding()(torch.full((1, 3, 16, 16), 0.3)).norm() < 0.01

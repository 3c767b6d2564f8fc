"""How alike frames are, against the cosine of every pair taken by itself."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cosine
from torch import Tensor, nn

from stbench.metrics.frame_similarity import frame_similarity, watched_similarity


def test_it_is_the_mean_over_pairs_of_frames() -> None:
    features = torch.randn(3, 5, 2, 7, generator=torch.Generator().manual_seed(0)) + 0.5
    expected = [
        np.mean([1 - cosine(first, second) for first, second in combinations(clip.flatten(1).double().numpy(), 2)])
        for clip in features
    ]
    np.testing.assert_allclose(frame_similarity(features), expected, rtol=1e-12)


@pytest.mark.parametrize(("second", "similarity"), [([3, 4], 1), ([6, 8], 1), ([-3, -4], -1), ([4, -3], 0)])
def test_two_frames(second: list[float], similarity: float) -> None:
    features = torch.tensor([[[3.0, 4.0], second]])
    assert frame_similarity(features).item() == pytest.approx(similarity)


class Apart(nn.Module):
    """Turns the second frame of features (B, 2, 2) away from the first by an angle."""

    def __init__(self, angle: float) -> None:
        super().__init__()
        cos, sin = np.cos(angle), np.sin(angle)
        self.register_buffer("turn", torch.tensor([[cos, sin], [-sin, cos]], dtype=torch.float32))

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([x[:, 0], x[:, 1] @ self.turn], dim=1)


def test_every_block_is_watched_and_left_as_it_was() -> None:
    blocks = [Apart(0.3), Apart(0.5)]
    network = nn.Sequential(*blocks)
    clips = torch.ones(4, 2, 2)
    with watched_similarity(blocks) as found:
        network(clips[:3])
        network(clips[3:])
    network(clips)
    assert [len(each) for each in found] == [4, 4]
    np.testing.assert_allclose(np.mean(found, axis=1), [np.cos(0.3), np.cos(0.8)], rtol=1e-5)

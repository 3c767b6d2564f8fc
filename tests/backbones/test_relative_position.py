"""Relative positions: the buckets of T5 and the bias that is looked up by them; vectors by distance."""

from __future__ import annotations

import torch

from stbench.backbones.relative_position import (
    CausalBias,
    RelativePositionBias,
    RelativePositions,
    distance_buckets,
    relative_buckets,
)

# Of video-diffusion-pytorch 0.7.0, 32 buckets up to a distance of 32, for keys from 20 before the query to 20 after it.
PUBLISHED = (
    "13 12 12 12 12 11 11 10 10 9 9 8 8 7 6 5 4 3 2 1 0 17 18 19 20 21 22 23 24 24 25 25 26 26 27 27 28 28 28 28 29"
)


def test_buckets_of_the_public_code() -> None:
    buckets = relative_buckets(41, num_buckets=32, max_distance=32)
    assert buckets[20].tolist() == [int(bucket) for bucket in PUBLISHED.split()]


def test_buckets_depend_on_the_offset_alone_and_end_at_the_largest_distance() -> None:
    buckets = relative_buckets(200, num_buckets=32, max_distance=32)
    assert torch.equal(buckets[1:, 1:], buckets[:-1, :-1])
    assert set(buckets[0, 32:].tolist()) == {31}
    assert set(buckets[199, : 199 - 32].tolist()) == {15}
    assert buckets[0].diff().min() >= 0


def test_bias_is_looked_up_by_bucket_and_head() -> None:
    torch.manual_seed(0)
    bias = RelativePositionBias(num_heads=3)
    looked_up = bias(5)
    assert looked_up.shape == (3, 5, 5)
    assert torch.equal(looked_up[1, 2, 4], bias.weight[16 + 2, 1])
    assert torch.equal(looked_up[2, 4, 1], bias.weight[3, 2])


def test_the_vector_of_a_pair_is_that_of_its_distance_up_to_the_reach() -> None:
    positions = RelativePositions(reach=2, dim=3)
    with torch.no_grad():
        positions.table.copy_(torch.arange(-2.0, 3.0)[:, None].expand(5, 3))  # each says its distance
    expected = torch.tensor([[0, 1, 2, 2], [-1, 0, 1, 2], [-2, -1, 0, 1], [-2, -2, -1, 0]])
    assert torch.equal(positions(4)[..., 0], expected.float())
    assert positions(4).shape == (4, 4, 3)


def test_a_causal_bias_counts_from_the_key_that_is_no_position() -> None:
    """At [i, j] the score of max(i - j, 0), where key j is position j - 1, and none for a position behind i."""
    torch.manual_seed(0)
    bias = CausalBias(num_heads=3)
    looked_up = bias(19)
    assert looked_up.shape == (3, 19, 20)
    for query in range(19):
        for key in range(20):
            bucket = min(max(query - key, 0), 16)  # single distances up to 16, and 17 and 18 share its bucket
            expected = bias.weight[bucket, 1] if key <= query + 1 else torch.tensor(-torch.inf)
            assert torch.equal(looked_up[1, query, key], expected)


def test_distances_far_away_share_the_last_bucket() -> None:
    buckets = distance_buckets(torch.arange(300), num_buckets=32, max_distance=128)
    assert buckets[:17].tolist() == list(range(17))
    assert buckets.diff().min() >= 0
    assert set(buckets[128:].tolist()) == {31}

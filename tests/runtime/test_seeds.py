"""Randomness by purpose."""

from __future__ import annotations

import torch

from stbench.runtime.seeds import derived_seed, generator

CPU = torch.device("cpu")


def test_every_purpose_has_a_seed_of_its_own() -> None:
    seeds = [derived_seed(0), derived_seed(1), derived_seed(0, "train", 1), derived_seed(0, "train", 11)]
    seeds += [derived_seed(0, "train", 1, 1), derived_seed(0, "sample", 1)]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert derived_seed(3, "train", 5) == 1735279747616094855  # the same on every machine


def test_generators_repeat() -> None:
    assert torch.equal(*(torch.randn(3, generator=generator(CPU, 0, "train", 7)) for _ in range(2)))

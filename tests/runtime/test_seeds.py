"""Randomness by purpose."""

from __future__ import annotations

import pytest
import torch

from stbench.runtime.seeds import derived_seed, generator, seed_networks_own_draws
from stbench.storage.hashing import hash_uint64

CPU = torch.device("cpu")


def test_every_purpose_has_a_seed_of_its_own() -> None:
    seeds = [derived_seed(0), derived_seed(1), derived_seed(0, "train", 1), derived_seed(0, "train", 11)]
    seeds += [derived_seed(0, "train", 1, 1), derived_seed(0, "sample", 1)]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert derived_seed(3, "train", 5) == 1735279747616094855  # the same on every machine


@pytest.mark.parametrize(
    ("seed", "purpose", "expected"),
    [
        (0, ("weights",), 4283426181684004966),
        (0, ("train", 0), 3168021335108090602),
        (1, ("sample", "final", 7), 1725602374979719423),
        (2, ("noise study", "salt-and-pepper", 3), 2310253704085655507),
    ],
)
def test_seeds_that_figures_depend_on_stay(seed: int, purpose: tuple[str | int, ...], expected: int) -> None:
    assert derived_seed(seed, *purpose) == expected


def test_a_part_cannot_hold_the_separator() -> None:
    """Otherwise ("a/b", "c") and ("a", "b/c") would draw the same."""
    for purpose in (("a/b", "c"), ("a", "b/c")):
        with pytest.raises(ValueError, match="of a seed has a '/' in it"):
            derived_seed(0, *purpose)


def test_numbers_and_words_of_the_same_text_are_one_purpose() -> None:
    assert derived_seed(0, "train", 5) == derived_seed(0, "train", "5")


def test_the_clips_order_is_hashed_apart() -> None:
    """Two encodings, so that the same words never give related draws in torch and in numpy."""
    assert derived_seed(0, "epoch", 1) not in (hash_uint64(0, "epoch", 1), hash_uint64(0, "epoch", 1) >> 1)


def test_generators_of_two_purposes_differ() -> None:
    first, second = (torch.randn(64, generator=generator(CPU, 0, "train", step)) for step in (0, 1))
    assert not torch.equal(first, second)
    assert abs(torch.dot(first, second)) / 64 < 0.5  # unrelated


def test_a_generator_leaves_the_global_state_alone() -> None:
    state = torch.get_rng_state()
    torch.randn(3, generator=generator(CPU, 0, "train"))
    assert torch.equal(torch.get_rng_state(), state)


def test_generators_repeat() -> None:
    assert torch.equal(*(torch.randn(3, generator=generator(CPU, 0, "train", 7)) for _ in range(2)))


def test_what_a_network_draws_itself_is_a_function_of_the_purpose() -> None:
    def dropped(step: int) -> torch.Tensor:
        seed_networks_own_draws(CPU, 0, "step", step)
        return torch.dropout(torch.ones(64), 0.5, train=True)

    assert torch.equal(dropped(1), dropped(1))
    assert not torch.equal(dropped(1), dropped(2))
    torch.manual_seed(derived_seed(0, "step", 1))
    assert torch.equal(torch.dropout(torch.ones(64), 0.5, train=True), dropped(1))  # as torch itself seeds it

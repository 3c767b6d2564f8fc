"""Randomness that is a function of the seed and a purpose.

Nothing here depends on how many processes or batches the work is split into: every random draw has a generator of its
own, seeded by (seed, purpose, index).
"""

from __future__ import annotations

import hashlib

import torch


def derived_seed(seed: int, *purpose: str | int) -> int:
    """A seed of its own for every purpose: 63 bits of a hash of (seed, purpose), as torch's generators take it.

    `storage.hashing.hash_uint64` does the same for the order of clips, with another separator and byte order. Both stay
    as they are: every published figure depends on the draws, and one encoding for both would change half of them.

    Raises:
        ValueError: for a word with a "/", which would share its seed with the purpose of two words.
    """
    if any("/" in str(part) for part in purpose):
        raise ValueError(f"the purpose {purpose} of a seed has a '/' in it, which separates its parts")
    text = "/".join(map(str, (seed, *purpose)))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def generator(device: torch.device, seed: int, *purpose: str | int) -> torch.Generator:
    """A random generator on `device` for one purpose of a seed."""
    return torch.Generator(device=device).manual_seed(derived_seed(seed, *purpose))


def seed_networks_own_draws(device: torch.device, seed: int, *purpose: str | int) -> None:
    """Seed the generators that a network draws from by itself, as dropout does: they belong to the whole process.

    `torch.manual_seed` does the same for every kind of device, and takes longer than a small network's layer.
    """
    drawn = derived_seed(seed, *purpose)
    torch.default_generator.manual_seed(drawn)
    if device.type != "cpu":
        torch.get_device_module(device).manual_seed_all(drawn)

"""Randomness that is a function of the seed and a purpose.

Nothing here depends on how many processes or batches the work is split into: every random draw has a generator of its
own, seeded by (seed, purpose, index).
"""

from __future__ import annotations

import hashlib

import torch


def derived_seed(seed: int, *purpose: str | int) -> int:
    """A seed of its own for every purpose: 63 bits of a hash of (seed, purpose)."""
    text = "/".join(map(str, (seed, *purpose)))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def generator(device: torch.device, seed: int, *purpose: str | int) -> torch.Generator:
    """A random generator on `device` for one purpose of a seed."""
    return torch.Generator(device=device).manual_seed(derived_seed(seed, *purpose))

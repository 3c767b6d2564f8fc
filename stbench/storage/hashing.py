"""Hashes: of values, of files, and of what a random draw depends on."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path


def canonical_json(value: object) -> str:
    """Write `value` as JSON that is the same on every machine: sorted keys, no spaces, ASCII only."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def sha256_of(value: object) -> str:
    """Return the SHA-256 (64 hexadecimal digits) of `value`'s canonical JSON."""
    return hashlib.sha256(canonical_json(value).encode("ascii")).hexdigest()


def file_sha256(*paths: Path) -> str:
    """Return the SHA-256 of a file, or of several laid end to end; no more than 1 MiB of them is in memory at once."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest()


def hash_uint64(*parts: int | str) -> int:
    """Hash `parts` to an integer in [0, 2^64), the same on every machine and in every process."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")

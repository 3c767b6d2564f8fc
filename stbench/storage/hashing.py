"""Hashes: of values, of files, and of what a random draw depends on."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

_SMALL_BYTES = 2**20  # as far as a file is hashed whole where it would take too long to hash every file whole
_PIECES, _PIECE_BYTES = 9, 2**14  # of a larger one


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


def sampled_sha256(path: Path) -> str:
    """Return the SHA-256 of a file of at most 1 MiB, or of the size of a larger one and nine pieces of 16 KiB.

    The pieces are its beginning, its end and what lies at even distances between; what lies elsewhere is not seen.
    """
    size = path.stat().st_size
    if size <= _SMALL_BYTES:
        return file_sha256(path)
    digest = hashlib.sha256(f"{size}:".encode("ascii"))
    with path.open("rb") as file:
        for piece in range(_PIECES):
            file.seek((size - _PIECE_BYTES) * piece // (_PIECES - 1))
            digest.update(file.read(_PIECE_BYTES))
    return digest.hexdigest()


def hash_uint64(*parts: int | str) -> int:
    """Hash `parts` to an integer in [0, 2^64), the same on every machine and in every process."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")

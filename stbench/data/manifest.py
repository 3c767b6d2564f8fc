"""Content identity of a dataset: what lies in the folder, as one SHA-256.

The identity of a video is its path below the root, its size in bytes and its number of frames. The pixels themselves
are not hashed, because that would read hundreds of gigabytes before the first step; a copy of a dataset that was cut,
re-encoded, resized or is incomplete still differs in size or number, and that is what made published scores of
"the same" dataset differ (Vchitect/Latte issue 80: FVD 233.66 on one copy of SkyTimelapse, 49.99 on another).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class ManifestEntry:
    """One video: `video_id` (path below the root, with forward slashes), its size and its number of frames."""

    video_id: str
    size_bytes: int
    num_frames: int


def manifest_rows(entries: Iterable[ManifestEntry]) -> list[list[str | int]]:
    """Return `[video_id, size_bytes, num_frames]` of every entry, sorted by `video_id`."""
    return sorted([entry.video_id, entry.size_bytes, entry.num_frames] for entry in entries)

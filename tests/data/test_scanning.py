"""Which videos of a folder can be used, and their identity."""

from __future__ import annotations

from stbench.data.scanning import ManifestEntry, manifest_rows
from stbench.storage.hashing import sha256_of


def test_order_of_finding_does_not_matter() -> None:
    one, two = ManifestEntry("a/1.avi", 10, 3), ManifestEntry("b/2.avi", 20, 4)
    assert manifest_rows([two, one]) == manifest_rows([one, two]) == [["a/1.avi", 10, 3], ["b/2.avi", 20, 4]]


def test_any_change_changes_the_hash() -> None:
    entries = [("a", 1, 1), ("a", 1, 2), ("a", 2, 1), ("b", 1, 1)]
    assert len({sha256_of(manifest_rows([ManifestEntry(*entry)])) for entry in entries}) == len(entries)

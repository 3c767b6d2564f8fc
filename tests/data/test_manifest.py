import hashlib

from stbench.data.manifest import ManifestEntry, manifest_rows
from stbench.storage.hashing import canonical_json, sha256_of


def test_canonical_json_is_sorted_ascii_without_spaces() -> None:
    assert canonical_json({"b": [1, "é"], "a": None}) == '{"a":null,"b":[1,"\\u00e9"]}'


def test_hash_is_that_of_the_canonical_json() -> None:
    assert sha256_of([["a.avi", 5, 2]]) == hashlib.sha256(b'[["a.avi",5,2]]').hexdigest()


def test_order_of_finding_does_not_matter() -> None:
    one, two = ManifestEntry("a/1.avi", 10, 3), ManifestEntry("b/2.avi", 20, 4)
    assert manifest_rows([two, one]) == manifest_rows([one, two]) == [["a/1.avi", 10, 3], ["b/2.avi", 20, 4]]


def test_any_change_changes_the_hash() -> None:
    entries = [("a", 1, 1), ("a", 1, 2), ("a", 2, 1), ("b", 1, 1)]
    assert len({sha256_of(manifest_rows([ManifestEntry(*entry)])) for entry in entries}) == len(entries)

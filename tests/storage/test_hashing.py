import hashlib

from stbench.storage.hashing import canonical_json, sha256_of


def test_canonical_json_is_sorted_ascii_without_spaces() -> None:
    assert canonical_json({"b": [1, "é"], "a": None}) == '{"a":null,"b":[1,"\\u00e9"]}'


def test_hash_is_that_of_the_canonical_json() -> None:
    assert sha256_of([["a.avi", 5, 2]]) == hashlib.sha256(b'[["a.avi",5,2]]').hexdigest()

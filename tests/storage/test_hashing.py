"""Hashes are those that anybody can compute from what they are of."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import pytest

from stbench.storage.hashing import canonical_json, file_sha256, hash_uint64, sampled_sha256, sha256_of


def test_canonical_json_is_sorted_ascii_without_spaces() -> None:
    assert canonical_json({"b": [1, "é"], "a": None}) == '{"a":null,"b":[1,"\\u00e9"]}'


def test_hash_is_that_of_the_canonical_json() -> None:
    assert sha256_of([["a.avi", 5, 2]]) == hashlib.sha256(b'[["a.avi",5,2]]').hexdigest()


def test_order_of_keys_and_kind_of_sequence_do_not_matter() -> None:
    assert sha256_of({"a": (1, 2), "b": 3}) == sha256_of({"b": 3, "a": [1, 2]})
    assert sha256_of([1, 2]) != sha256_of([2, 1])


# FIPS 180-2, appendix B.1 and B.3: of "abc", and of a million times "a", which is less than one block of 1 MiB.
ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
MILLION = "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"


def test_a_file_has_the_published_hash_of_its_content(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    (tmp_path / "million").write_bytes(b"a" * 10**6)
    assert file_sha256(tmp_path / "abc") == ABC
    assert file_sha256(tmp_path / "million") == MILLION


@pytest.mark.parametrize(
    ("size", "changed", "seen"),
    [
        (2**20, range(0, 2**20, 99_991), True),  # a small file is read whole
        (2**20 + 1, (0, 2**14 - 1, 2**19, 2**20 - 2**14 + 1, 2**20), True),  # the first, the middle and the last piece
        (2**20 + 1, (2**14, 2**20 - 2**14), False),  # between two pieces
    ],
)
def test_some_bytes_of_a_large_file_stand_for_it(size: int, changed: Iterable[int], seen: bool, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(size))
    before = sampled_sha256(path)
    for place in changed:
        path.write_bytes(bytes(place) + b"1" + bytes(size - place - 1))
        assert (sampled_sha256(path) != before) is seen, place


def test_the_size_of_a_large_file_is_seen(tmp_path: Path) -> None:
    hashes = set()
    for size in (2**21, 2**21 + 1):
        (tmp_path / "file").write_bytes(bytes(size))
        hashes.add(sampled_sha256(tmp_path / "file"))
    assert len(hashes) == 2


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 3 << 20])
def test_a_file_of_any_size_is_hashed_whole(tmp_path: Path, size: int) -> None:
    content = bytes(range(251)) * (size // 251 + 1)
    (tmp_path / "file").write_bytes(content[:size])
    assert file_sha256(tmp_path / "file") == hashlib.sha256(content[:size]).hexdigest()


def test_several_files_are_hashed_as_if_laid_end_to_end(tmp_path: Path) -> None:
    for name, content in (("a", b"ab"), ("b", b""), ("c", b"c")):
        (tmp_path / name).write_bytes(content)
    assert file_sha256(*(tmp_path / name for name in "abc")) == ABC
    assert file_sha256(*(tmp_path / name for name in "cba")) != ABC


def test_a_draw_is_eight_bytes_of_blake2b_in_little_endian() -> None:
    digest = hashlib.blake2b(b"0\x1fv_Archery_g01_c01\x1f3", digest_size=8).digest()
    assert hash_uint64(0, "v_Archery_g01_c01", 3) == int.from_bytes(digest, "little") < 2**64


def test_parts_of_a_draw_do_not_run_into_each_other() -> None:
    parts: list[tuple[int | str, ...]] = [
        ("ab", "c"),
        ("a", "bc"),
        ("abc",),
        ("a/b", "c"),
        ("a", "b/c"),
        (1, 23),
        (12, 3),
    ]
    assert len({hash_uint64(*each) for each in parts}) == len(parts)

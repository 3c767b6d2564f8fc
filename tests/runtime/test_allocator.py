"""Freed memory that the C library keeps, seen from outside: in page faults of a process of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

from stbench.runtime.allocator import give_back_unused, keep_freed_memory

# Counted in page faults, which are what the time goes into: one for each 4 KiB, or for each 2 MiB of large pages.
PROGRAM = """
import resource
from stbench.runtime.allocator import give_back_unused, keep_freed_memory

def pages_mapped(times):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(times):
        bytearray(64 * 2**20)  # larger than what the C library keeps by itself, and zeroed page by page
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

print(pages_mapped(5))
assert keep_freed_memory()
pages_mapped(1)
print(pages_mapped(5))
give_back_unused()
print(pages_mapped(1))
"""


@pytest.mark.skipif(not keep_freed_memory(), reason="this C library has no mallopt")
def test_freed_memory_is_kept_until_it_is_given_back() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    by_default, kept, after_giving_back = map(int, done.stdout.split())
    assert by_default >= 5 * 32
    assert kept < 10
    assert after_giving_back >= 31


def test_other_c_libraries_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stbench.runtime.allocator.ctypes.CDLL", lambda name: object())
    assert not keep_freed_memory()
    give_back_unused()

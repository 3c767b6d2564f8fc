"""Keep the memory that tensors free on a CPU, instead of giving it back to the operating system every time.

The GNU C library maps blocks above 32 MiB afresh for each allocation (mallopt(3), M_MMAP_THRESHOLD). Activations of
video are that large, so every step of a training pays for zeroing the same pages again: half of its time in float32 on
a small virtual machine (docs/performance.md). A GPU needs none of this, since torch caches its memory itself.
"""

from __future__ import annotations

import ctypes

# mallopt's parameters: malloc.h of the GNU C library.
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
_NEVER_TRIM, _NEVER_MAP = -1, 0


def keep_freed_memory() -> bool:
    """Keep freed memory for the next tensor, from now on and in the whole process.

    Returns:
        Whether the C library can be told: false on musl, macOS and Windows, where nothing changes.
    """
    return _call("mallopt", _MMAP_MAX, _NEVER_MAP) == 1 and _call("mallopt", _TRIM_THRESHOLD, _NEVER_TRIM) == 1


def give_back_unused() -> None:
    """Give back what is free at this moment, where the C library can be told."""
    _call("malloc_trim", 0)


def _call(function: str, *arguments: int) -> int | None:
    """Call a function of the C library; None where it has no such function."""
    try:
        return int(getattr(ctypes.CDLL(None), function)(*arguments))
    except (AttributeError, OSError, TypeError):  # TypeError: Windows wants a library's name
        return None

"""Writing files whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def write_whole(path: Path, *, flush: bool = False) -> Iterator[Path]:
    """Yield another name beside `path` to write to; a reader of `path` never sees half of a file.

    When the block ends, what was written takes the place of `path`. When it fails, it is removed, and what stood at
    `path` before is untouched.

    Args:
        path: where the file is to be.
        flush: whether to wait until the disk has the content, so that even a power cut leaves a whole file.
    """
    temporary = path.with_name(path.name + ".partial")
    try:
        yield temporary
        if flush:
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
        temporary.replace(path)
    except BaseException:  # an interrupt as well
        temporary.unlink(missing_ok=True)
        raise


def write_json(path: Path, content: Any) -> None:
    """Write `content` as JSON, whole or not at all; NaN and infinities, which JSON does not know, are a ValueError."""
    text = json.dumps(content, indent=1, allow_nan=False) + "\n"
    with write_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")

"""When a file of claims was registered: its hash and the time, written down before anything runs for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from stbench.errors import StbenchError, brief
from stbench.records.claims import Claims
from stbench.storage.files import write_json

REGISTERED = "registered.json"


@dataclass(frozen=True)
class Registration:
    """What was to be judged, and since when."""

    sha256: str  # of what the file of claims says
    scale: str
    words: tuple[str, ...]  # on top of the scale's
    time: str  # UTC, ISO 8601

    def precedes(self, created: str) -> bool:
        """Whether a record was made after the registration."""
        return datetime.fromisoformat(self.time) <= datetime.fromisoformat(created.replace("Z", "+00:00"))


def register(claims: Claims, scale: str, words: Sequence[str], folder: Path) -> Registration:
    """Write down what is going to be judged, unless it stands there already; earlier registrations stay.

    Raises:
        StbenchError: what stands there cannot be read.
    """
    path = folder / REGISTERED
    known = _read(path) if path.exists() else []
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    new = Registration(claims.sha256, scale, tuple(words), now)
    for earlier in known:
        if (earlier.sha256, earlier.scale, earlier.words) == (new.sha256, new.scale, new.words):
            return earlier
    folder.mkdir(parents=True, exist_ok=True)
    content: list[dict[str, Any]] = [asdict(each) for each in (*known, new)]
    write_json(path, content)
    return new


def _read(path: Path) -> list[Registration]:
    try:
        return TypeAdapter(list[Registration]).validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise StbenchError(f"{path}: no registrations of claims: {brief(error)}") from error

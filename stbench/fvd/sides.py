"""Features of one side of a comparison, one row per video, with all that decided them: kept, and found again.

The rows stand in the order in which videos are chosen, so the rows of a smaller comparison are the first of a larger
one. A kept file is taken again only when it was made under the same conditions from the same bytes.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from stbench.data.clips import ClipRule, Dropped
from stbench.errors import NotComparable, StbenchError, first_line
from stbench.fvd.sources import ClipsFile, ClipSource, FolderSource, ranked
from stbench.progress import progress_bar
from stbench.records.protocol import Protocol, SideName, fields_where
from stbench.storage.arrays import array_names, read_arrays
from stbench.storage.files import write_arrays
from stbench.storage.hashing import sha256_of

Features = NDArray[np.float32]
T = TypeVar("T")

KEPT_FEATURES = "{}_features.npz"  # what an output folder has of each side
_NOT_IN_ABOUT = ("features", "shuffled", "video_ids", "file")
# Arrays by which an .npz file is known.
_IN_CLIPS = {"clips"}
_IN_FEATURES = {"features", "about"}


@dataclass(frozen=True)
class Pair(Generic[T]):
    """One thing for each side of a comparison."""

    real: T
    fake: T

    def named(self) -> tuple[tuple[SideName, T], tuple[SideName, T]]:
        """Both with their names, the real side first."""
        return ("real", self.real), ("fake", self.fake)


@dataclass(frozen=True)
class SideFeatures:
    """The features of one side."""

    features: Features  # (N, D), one row per video
    shuffled: Features | None  # (N, D) of the same clips with their frames in random order
    video_ids: list[str]  # of the rows
    conditions: dict[str, Any]  # what decided the features; see `conditions_of`
    asked: int | None  # how many videos were wanted; None for all
    found: int  # how many there were
    tried: list[tuple[str, str]]  # id and fingerprint of every video that was read, in the order of choice
    dropped: list[Dropped]  # those of them that could not be used, and why
    ignored: list[str]  # files beside the videos that are none by their names
    storage: str  # how the videos are kept
    origin: str  # where they lay
    file: Path | None = None  # where these features were read from

    @property
    def manifest_sha256(self) -> str:
        """SHA-256 of the ids and the content of the videos in the rows."""
        fingerprints = dict(self.tried)
        return sha256_of([[video_id, fingerprints[video_id]] for video_id in self.video_ids])

    def to_dict(self) -> dict[str, Any]:
        """Everything but the numbers, as JSON knows it."""
        return {
            "origin": self.origin,
            "found": self.found,
            "asked": self.asked,
            "used": len(self.video_ids),
            "storage": self.storage,
            "manifest_sha256": self.manifest_sha256,
            "dropped": [asdict(video) for video in self.dropped],
            "ignored": self.ignored,
        }

    def first(self, count: int | None) -> SideFeatures:
        """The same side as if only `count` videos had been wanted."""
        if count is None or count >= len(self.video_ids):
            return self
        ids = self.video_ids[:count]
        stop = 1 + [video_id for video_id, _ in self.tried].index(ids[-1])
        tried = self.tried[:stop]
        names = {video_id for video_id, _ in tried}
        return replace(
            self,
            features=self.features[:count],
            shuffled=None if self.shuffled is None else self.shuffled[:count],
            video_ids=ids,
            asked=count,
            tried=tried,
            dropped=[video for video in self.dropped if video.video_id in names],
        )

    def save(self, path: Path) -> None:
        """Write an .npz file: features, shuffled where there are any, video_ids, and all else as JSON in `about`."""
        about = {key: value for key, value in vars(self).items() if key not in _NOT_IN_ABOUT}
        about["dropped"] = [asdict(video) for video in self.dropped]
        arrays: dict[str, Any] = {
            "features": self.features,
            "video_ids": np.array(self.video_ids),
            "about": np.array(json.dumps(about)),
        }
        if self.shuffled is not None:
            arrays["shuffled"] = self.shuffled
        write_arrays(path, **arrays)


Side = ClipSource | SideFeatures


def load_features(path: Path) -> SideFeatures:
    """Read what `SideFeatures.save` wrote.

    Raises:
        StbenchError: the file is damaged, or another kind of file.
    """
    arrays = read_arrays(path)
    try:
        about = json.loads(str(arrays["about"]))
        about["dropped"] = [Dropped(**video) for video in about["dropped"]]
        about["tried"] = [(video_id, fingerprint) for video_id, fingerprint in about["tried"]]
        ids, shuffled = arrays["video_ids"].tolist(), arrays.get("shuffled")
        side = SideFeatures(arrays["features"], shuffled, ids, **about, file=path)
    except (ValueError, KeyError, TypeError) as error:
        raise StbenchError(f"{path}: expected a features file of `stbench fvd`: {first_line(error)}") from error
    if side.features.ndim != 2 or len(side.features) != len(side.video_ids):
        raise StbenchError(
            f"{path}: expected one row of features per video, got shape {side.features.shape} "
            f"and {len(side.video_ids)} videos"
        )
    return side


def open_side(path: str | Path, num_workers: int = 0) -> Side:
    """Find out what a path holds: a folder of videos, an .npz file of clips, or kept features.

    Raises:
        StbenchError: none of these.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        if files := _clips_or_features_in(path):  # whose pictures beside them are none of the videos
            raise StbenchError(
                f"{path}: expected a folder of videos, or a file that stbench wrote: {' or '.join(files)}"
            )
        return FolderSource(path, num_workers)
    if not path.exists():
        raise StbenchError(f"{path} does not exist: expected a folder of videos, or an .npz file of clips or features")
    if path.suffix != ".npz":
        raise StbenchError(f"{path}: expected a folder of videos, or an .npz file of clips or features")
    names = set(array_names(path))
    if names >= _IN_CLIPS:
        return ClipsFile(path)
    if names >= _IN_FEATURES:
        return load_features(path)
    raise StbenchError(
        f"{path}: expected clips, or features that `stbench fvd` kept; it holds {', '.join(sorted(names))}"
    )


def _clips_or_features_in(folder: Path) -> list[str]:
    """The files of a folder that a run, `stbench sample` or `stbench fvd` wrote, and that `open_side` reads."""
    written = []
    for path in sorted(folder.glob("*.npz")):
        with contextlib.suppress(StbenchError):  # damaged, or no .npz file: somebody else's
            names = set(array_names(path))
            if names >= _IN_CLIPS or names >= _IN_FEATURES:
                written.append(str(path))
    return written


def conditions_of(protocol: Protocol, side: SideName) -> dict[str, Any]:
    """The fields of a protocol that decide the features of a side, as JSON knows them; its own without its name."""
    shared = {name: getattr(protocol, name) for name in fields_where(decides_features=True)}
    rule = protocol.side(side)
    own = {"frame_stride": rule.frame_stride, "offset_rule": rule.offset_rule}
    return {**shared, "value_range": list(protocol.value_range), **own}


def check_conditions(kept: SideFeatures, protocol: Protocol, side: SideName) -> None:
    """Refuse features that were made under other conditions than the protocol asks for.

    Raises:
        NotComparable: names the fields, with both values.
        StbenchError: more videos are asked for than the file holds, and there were more when it was written.
    """
    wanted = conditions_of(protocol, side)
    others = {name: kept.conditions.get(name) for name in wanted if kept.conditions.get(name) != wanted[name]}
    if others:
        differences = ", ".join(f"{name} is {value!r}, not {wanted[name]!r}" for name, value in others.items())
        raise NotComparable(f"{kept.file} was made under another protocol: {differences}")
    asked = protocol.side(side).num_clips
    if kept.asked is not None and (asked is None or asked > kept.asked):
        raise StbenchError(
            f"{kept.file} holds the {kept.asked} videos that were asked for then, not "
            f"{asked or 'all'}: name the videos themselves"
        )


def clip_rule(protocol: Protocol, side: SideName) -> ClipRule:
    """The rule by which clips of a side are read, from a protocol without open fields."""
    own = protocol.side(side)
    return ClipRule(
        num_frames=protocol.num_frames,
        frame_stride=own.frame_stride,
        resolution=protocol.resolution,
        spatial_rule=protocol.spatial_rule,
        offset_rule=own.offset_rule,
        clip_seed=protocol.clip_seed,
    )


def still_valid(kept: SideFeatures, source: ClipSource, protocol: Protocol, side: SideName, control: bool) -> bool:
    """Whether computing again would give the same: the same conditions, and the same bytes in the same videos."""
    if kept.conditions != conditions_of(protocol, side) or kept.asked != protocol.side(side).num_clips:
        return False
    if kept.found != len(source.video_ids) or (control and kept.shuffled is None):
        return False
    order = ranked(source.video_ids, protocol.clip_seed)
    if [video_id for video_id, _ in kept.tried] != order[: len(kept.tried)]:
        return False
    known, names = dict(kept.tried), [video_id for video_id, _ in kept.tried]
    with progress_bar(f"checking, {side}", len(names)) as advance:
        for video_id, fingerprint in source.fingerprints(names, clip_rule(protocol, side)):
            if known[video_id] != fingerprint:
                return False
            advance()
    return True

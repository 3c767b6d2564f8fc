"""Which runs of two folders are compared with which: by name and seed, and by what else tells runs of a side apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stbench.errors import NotComparable, StbenchError
from stbench.records.schema import Record, value_at
from stbench.records.store import StoredRecord
from stbench.reports.labels import labelled_settings

Key = tuple[str, ...]  # variant, dataset, preset, further settings, seed


@dataclass(frozen=True)
class Sides:
    """Runs that are compared with each other: one a seed on each side, in the same order.

    `settings` are those that tell them apart from others of the same name.
    """

    base: Sequence[StoredRecord]
    new: Sequence[StoredRecord]
    settings: tuple[str, ...] = ()

    @property
    def records(self) -> tuple[list[Record], list[Record]]:
        """Those of base and of new."""
        return [run.record for run in self.base], [run.record for run in self.new]


@dataclass(frozen=True)
class Pairing:
    """What is compared with what, and the runs that have no counterpart."""

    cells: Sequence[Sides]
    missing: Sequence[str] = ()
    added: Sequence[str] = ()


def pair(sides: Sides) -> Pairing:
    """Pair the runs of two folders, and take the seeds of a configuration together.

    Settings may have changed from one side to the other; only those by which a side tells runs of one name and seed
    apart, as a sweep over learning rates does, are part of what must be equal. Where each side has one variant and they
    are not the same, these are baseline and candidate.

    Raises:
        StbenchError: two runs of a side cannot be told apart.
        NotComparable: no run has a counterpart.
    """
    variants = [{name_of(run.record)[0] for run in side} for side in (sides.base, sides.new)]
    candidate = all(len(names) == 1 for names in variants) and variants[0] != variants[1]
    first = 1 if candidate else 0  # a candidate's variant is not part of what must be equal
    telling = sorted({*_telling(sides.base), *_telling(sides.new)})
    base, new = _by_key(sides.base, telling, first), _by_key(sides.new, telling, first)
    shared = [key for key in base if key in new]
    if not shared:
        known, expected = (", ".join(map(_spell, side)) for side in (new, base))
        raise NotComparable(f"nothing to compare: NEW holds none of BASE's runs; expected {expected}; it has {known}")
    cells: dict[Key, list[Key]] = {}
    for key in shared:
        cells.setdefault(key[:-1], []).append(key)
    told = 3 - first  # where the settings begin in a key
    return Pairing(
        [Sides([base[key] for key in keys], [new[key] for key in keys], cell[told:]) for cell, keys in cells.items()],
        [_spell(key) for key in base if key not in new],
        [_spell(key) for key in new if key not in base],
    )


def name_of(record: Record) -> Key:
    """Variant, dataset and preset of a run."""
    config = record.config
    names = (value_at(config, "variant.name"), value_at(config, "dataset.name"), config.get("preset"))
    return tuple(map(str, names))


def _telling(runs: Sequence[StoredRecord]) -> set[str]:
    """The settings in which runs of one name and seed differ."""
    alike: dict[Key, list[Record]] = {}
    for run in runs:
        alike.setdefault((*name_of(run.record), _seed(run.record)), []).append(run.record)
    several = [[labelled_settings(each.config) for each in records] for records in alike.values() if len(records) > 1]
    return {
        name
        for configs in several
        for name in set().union(*configs)
        if len({str(settings.get(name)) for settings in configs}) > 1
    }


def _by_key(runs: Sequence[StoredRecord], telling: Sequence[str], first: int) -> dict[Key, StoredRecord]:
    """The runs of one side by what they are paired by: their key from its part `first` on."""
    keyed: dict[Key, StoredRecord] = {}
    for run in sorted(runs, key=lambda run: (name_of(run.record), run.record.config.get("seed") or 0)):
        settings = labelled_settings(run.record.config) if telling else {}
        told = [f"{name}={settings.get(name)}" for name in telling]
        key = (*name_of(run.record), *told, _seed(run.record))[first:]
        if key in keyed:
            raise StbenchError(
                f"two runs of {_spell(key)} on one side: {keyed[key].record.run_id!r} and {run.record.run_id!r}; "
                "expected one run a configuration and seed: give their run folders one by one"
            )
        keyed[key] = run
    return keyed


def _seed(record: Record) -> str:
    return str(record.config.get("seed"))


def _spell(key: Key) -> str:
    return f"{' / '.join(key[:-1])} seed {key[-1]}"

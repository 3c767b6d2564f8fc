"""The arms of a file of claims as arms of a sweep: at a scale, on each of its datasets, at each learning rate."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from stbench.launch.arms import Arm
from stbench.launch.aside import call_aside
from stbench.launch.cells import Cell, State, prepared_configs, state_of, with_seed
from stbench.launch.sweep import run_missing
from stbench.records.claims import Claims, split_words
from stbench.settings.resolve import resolve


@dataclass(frozen=True)
class TrainedArm:
    """An arm of claims on one dataset at one learning rate.

    Attributes:
        name: in the file of claims.
        rate: its learning rate, times the scale's.
        words: of its runs, but for the seed and where they start from.
        cells: its runs, as far as they can be told: what starts from a run that is not there has none.
    """

    name: str
    dataset: str
    rate: float
    words: tuple[str, ...]
    seeds: tuple[int, ...]
    starts_from: str | None = None
    cells: tuple[Cell, ...] = ()

    @property
    def learning_rate(self) -> float:
        """What it is trained with."""
        return resolve(self.words).settings.train.lr

    @property
    def label(self) -> str:
        """What it is called in messages."""
        return f"{self.name} on {self.dataset}" + (
            f" at {self.rate:g} times the learning rate" if self.rate != 1 else ""
        )


def trained_arms(claims: Claims, scale: str, words: Sequence[str]) -> list[TrainedArm]:
    """The arms that a scale trains, those that others start from before these.

    Args:
        claims: the file.
        scale: one of its scales.
        words: of all runs, above the scale's and below an arm's own.

    Raises:
        StbenchError: for words that no run can have.
    """
    about, found = claims.scales[scale], []
    for dataset in about.datasets:
        for name in claims.trained_arms(scale):
            own = claims.arms[name]
            merged = split_words(scale, about.words) | split_words("reproduce", words)
            merged = {"dataset": dataset} | merged | split_words(name, own.words_at(scale) or "")
            arm = TrainedArm(
                name=name,
                dataset=dataset,
                rate=1.0,
                words=tuple(f"{key}={value}" for key, value in merged.items()),
                seeds=claims.seeds_of(name, scale),
                starts_from=own.starts_from,
            )
            found.append(arm)
            if about.other_rates and name in about.other_rates.arms:
                found += [_at_rate(arm, factor, about.other_rates.seeds) for factor in about.other_rates.factors]
    return found


def run_arms(
    arms: Sequence[TrainedArm], out: Path, jobs: int | None, retry: bool
) -> tuple[list[TrainedArm], dict[Cell, State]]:
    """Run what is not finished of arms, in waves: an arm that starts from another's runs waits for them.

    Returns:
        The arms with their cells, in the same order, and how far each cell has come.

    Raises:
        StbenchError: naming the arm, for whatever a run would refuse before it begins.
        Interrupted: by a signal; what ran has written its checkpoints.
    """
    done: dict[TrainedArm, TrainedArm] = {}
    states: dict[Cell, State] = {}
    while waiting := [arm for arm in arms if arm not in done]:
        ready = [arm for arm in waiting if not any(_is_start(other, arm) for other in waiting)]
        prepared = _with_cells(ready, [*done.values()], out)
        states |= run_missing(_once(cell for arm in prepared for cell in arm.cells), jobs, retry)
        done |= zip(ready, prepared, strict=True)
    return [done[arm] for arm in arms], states


def _at_rate(arm: TrainedArm, factor: float, seeds: int) -> TrainedArm:
    values = split_words(arm.name, arm.words) | {"train.lr": f"{arm.learning_rate * factor:.6g}"}
    words = tuple(f"{key}={value}" for key, value in values.items())
    return replace(arm, rate=factor, words=words, seeds=arm.seeds[:seeds])


def _is_start(other: TrainedArm, arm: TrainedArm) -> bool:
    """Whether one arm is what another starts from: on the same dataset, at the learning rate of the scale."""
    return (other.name, other.dataset, other.rate) == (arm.starts_from, arm.dataset, 1.0)


def _with_cells(arms: Sequence[TrainedArm], done: Sequence[TrainedArm], out: Path) -> list[TrainedArm]:
    """The same arms with their cells, all prepared together."""
    parts = [(arm, part) for arm in arms for part in _sweep_arms(arm, done)]
    configs = call_aside(prepared_configs, [part for _, part in parts]) if parts else []
    cells: dict[TrainedArm, list[Cell]] = {arm: [] for arm in arms}
    for (arm, part), config in zip(parts, configs, strict=True):
        cells[arm] += [Cell(part, with_seed(config, seed), out) for seed in part.seeds]
    return [replace(arm, cells=tuple(cells[arm])) for arm in arms]


def _sweep_arms(arm: TrainedArm, done: Sequence[TrainedArm]) -> Iterator[Arm]:
    """What a sweep runs: one arm of all seeds, or one for each seed that starts from a finished run of its own."""
    if arm.starts_from is None:
        yield Arm(arm.label, arm.words, arm.seeds)
        return
    [before] = [other for other in done if _is_start(other, arm)]
    for cell in before.cells:
        seed = cell.config.settings.seed
        if seed in arm.seeds and state_of(cell).name == "finished":
            yield Arm(arm.label, (*arm.words, f"train.init={cell.folder}"), (seed,))


def _once(cells: Iterable[Cell]) -> list[Cell]:
    """Every run once, though two arms may be of the same words: first the first seed of every arm, and so on."""
    found = {cell.config.run_id: cell for cell in cells}
    return sorted(found.values(), key=lambda cell: cell.config.settings.seed)

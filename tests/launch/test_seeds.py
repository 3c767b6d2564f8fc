"""`stbench study seeds`: which runs are made, sampled again and read; the card itself is tested in tests/studies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from stbench.errors import FinishedInPart, StbenchError
from stbench.launch import seeds
from stbench.launch.arms import Arm
from stbench.launch.cells import Cell, State, with_seed
from stbench.launch.seeds import SAMPLED_AGAIN, SAMPLING_SEEDS, study_seeds
from stbench.records.noise_card import read_card
from stbench.records.protocol import Protocol, protocol_hash
from stbench.records.schema import Record
from stbench.records.sections import Quality
from stbench.records.store import read_record
from stbench.run import reuse
from stbench.settings.options import SeedsOptions
from stbench.settings.schema import RunConfig
from stbench.storage.files import write_json

from .conftest import record_of

WORDS = ["variant=latte1", "dataset=shapes"]


class Laboratory:
    """Stands in for what runs and samples: it writes records of known figures."""

    def __init__(self, config: RunConfig, protocol: Protocol) -> None:
        self.config, self.protocol = config, protocol
        self.fails, self.evaluated = False, list[tuple[int, int]]()

    def cells(self, arms: Sequence[Arm], out: Path) -> list[Cell]:
        return [Cell(arm, with_seed(self.config, seed), out) for arm in arms for seed in arm.seeds]

    def run(self, cells: Sequence[Cell], jobs: int) -> dict[Cell, State]:
        for cell in cells:
            self.write(cell.folder, record_of(cell), cell.config.settings.seed, 0)
        return {cell: State("failed" if self.fails else "finished") for cell in cells}

    def evaluate(self, folder: Path, settings: dict[str, int], out: Path) -> None:
        record, sampling = read_record(folder), settings["eval.seed"]
        seed = record.config["seed"]
        self.evaluated.append((seed, sampling))
        content = record.to_json()
        content["config"] |= {"trained_as": record.group_hash[:12]}
        content["group_hash"] = f"evaluated with {sampling}"
        self.write(out / f"{folder.name}-{sampling}", content, seed, sampling)

    def write(self, folder: Path, content: dict[str, object], seed: int, sampling: int) -> None:
        judged = replace(self.protocol, sampling_seed=sampling)
        quality = Quality(
            protocol=judged,
            protocol_hash=protocol_hash(judged),
            detector="shapes3d",
            n_real=9,
            n_fake=9,
            fvd=100.0 + seed + sampling * (seed + 1),
            label="internal",
        )
        record = replace(Record.from_json(content), run_id=folder.name, quality=quality)
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "result.json", record.to_json())


@pytest.fixture
def laboratory(config: RunConfig, protocol: Protocol, monkeypatch: pytest.MonkeyPatch) -> Laboratory:
    made = Laboratory(config, protocol)
    monkeypatch.setattr(seeds, "prepare_cells", made.cells)
    monkeypatch.setattr(seeds, "run_missing", made.run)
    monkeypatch.setattr(reuse, "evaluate", made.evaluate)
    return made


@pytest.fixture
def options(tmp_path: Path) -> SeedsOptions:
    return SeedsOptions(runs=tmp_path / "runs")


def test_ten_seeds_are_run_and_the_first_are_sampled_again(
    laboratory: Laboratory, options: SeedsOptions, tmp_path: Path
) -> None:
    card = study_seeds(WORDS, options, tmp_path / "card")
    assert card.arms == {"latte1": list(range(10))}
    assert laboratory.evaluated == [(net, seed) for net in range(SAMPLED_AGAIN) for seed in SAMPLING_SEEDS]
    assert card.noise["fvd"].sampled_again == (SAMPLED_AGAIN, 1 + len(SAMPLING_SEEDS))
    assert read_card(tmp_path / "card" / "noise_card.json") == card


def test_what_was_sampled_is_not_sampled_again(laboratory: Laboratory, options: SeedsOptions, tmp_path: Path) -> None:
    first = study_seeds(WORDS, options, tmp_path / "card")
    laboratory.evaluated.clear()
    again = study_seeds(WORDS, options, tmp_path / "card")
    assert (laboratory.evaluated, again.noise) == ([], first.noise)


def test_finished_runs_are_enough(laboratory: Laboratory, options: SeedsOptions, tmp_path: Path) -> None:
    from_words = study_seeds(WORDS, options, tmp_path / "card")
    from_runs = study_seeds([str(options.runs)], SeedsOptions(), tmp_path / "other")
    assert from_runs.noise == from_words.noise


def test_other_runs_in_the_folder_are_left_alone(laboratory: Laboratory, options: SeedsOptions, tmp_path: Path) -> None:
    foreign = {**record_of(laboratory.cells([Arm("", ())], tmp_path)[0]), "group_hash": "of another training"}
    laboratory.write(options.runs / "another", foreign, 0, 0)
    assert study_seeds(WORDS, options, tmp_path / "card").noise["fvd"].freedom == 9


def test_failed_runs_leave_no_card(laboratory: Laboratory, options: SeedsOptions, tmp_path: Path) -> None:
    laboratory.fails = True
    with pytest.raises(FinishedInPart, match="10 of 10 cells are not finished"):
        study_seeds(WORDS, options, tmp_path / "card")
    assert not (tmp_path / "card").exists()


@pytest.mark.parametrize(
    ("sources", "complaint"),
    [
        ([*WORDS, "runs"], "expected folders of runs, or KEY=VALUE words alone"),
        ([*WORDS, "seed=3"], "--seeds says how many"),
        (["nowhere"], "nowhere"),
    ],
)
def test_wrong_sources(options: SeedsOptions, tmp_path: Path, sources: list[str], complaint: str) -> None:
    with pytest.raises(StbenchError, match=complaint):
        study_seeds(sources, options, tmp_path / "card")

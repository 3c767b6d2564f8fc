"""`stbench study seeds`: a noise card from runs that are there, or from runs that are made for it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from stbench.errors import StbenchError
from stbench.launch.arms import read_arms
from stbench.launch.cells import Cell, prepare_cells
from stbench.launch.sweep import raise_if_missing, run_missing
from stbench.records.noise_card import NoiseCard
from stbench.records.schema import Record
from stbench.records.store import find_records
from stbench.reports.noise.seeds import CONTENTS, write_seed_study
from stbench.settings.options import SeedsOptions
from stbench.storage.files import check_folder
from stbench.storage.folder import swapped_in
from stbench.studies.seeds import make_card

SAMPLED_AGAIN = 3  # networks of each arm
SAMPLING_SEEDS = (1, 2, 3)  # besides their own


def study_seeds(sources: Sequence[str], options: SeedsOptions, out: Path) -> NoiseCard:
    """Make a noise card and write it to a folder, which appears whole or not at all.

    Args:
        sources: folders of finished runs; or the words of one arm or several, of which the runs that are missing are
            made, and the first networks of each arm are sampled again.
        options: how many seeds, and where the runs are.
        out: a new or empty folder, or an earlier study, which is replaced.

    Raises:
        StbenchError: too few seeds, or runs of several trainings or protocols.
        FinishedInPart: some of the runs failed.
    """
    words = [source for source in sources if "=" in source and not Path(source).exists()]
    if words and len(words) < len(sources):
        raise StbenchError(f"expected folders of runs, or KEY=VALUE words alone: got both, {words[0]!r} among them")
    with swapped_in(out, CONTENTS) as folder:
        records = _made(words, options) if words else [each.record for each in find_records(sources).stored]
        card = make_card(records)
        write_seed_study(card, folder)
    return card


def _made(words: Sequence[str], options: SeedsOptions) -> list[Record]:
    """The records of arms, which are run where they are missing, and of their networks sampled again."""
    check_folder(options.runs)
    if any(word.startswith("seed=") for word in words):
        raise StbenchError("seed= is the study's own: --seeds says how many there are")
    arms = read_arms([*words, f"seed={','.join(map(str, range(options.seeds)))}"])
    cells = prepare_cells(arms, options.runs)
    raise_if_missing(run_missing(cells, options.jobs))
    for cell in cells:
        if cell.config.settings.seed < SAMPLED_AGAIN:
            _sample_again(cell)
    hashes = {cell.config.group_hash for cell in cells}
    of_arms = {*hashes, *(each[:12] for each in hashes)}
    found = [stored.record for stored in find_records([options.runs]).stored]
    seeds = range(options.seeds)
    return [
        record
        for record in found
        if (record.config.get("trained_as") or record.group_hash) in of_arms and record.config.get("seed") in seeds
    ]


def _sample_again(cell: Cell) -> None:
    """Evaluate a trained network with other sampling seeds, where that was not done before."""
    from stbench.run.reuse import evaluate

    done = {
        record.quality.protocol.sampling_seed
        for stored in find_records([cell.out]).stored
        if (record := stored.record).config.get("trained_as") == cell.config.group_hash[:12]
        and record.config.get("seed") == cell.config.settings.seed
        and record.quality
    }
    for seed in SAMPLING_SEEDS:
        if seed not in done:
            evaluate(cell.folder, {"eval.seed": seed}, out=cell.out)

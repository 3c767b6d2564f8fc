"""The comparison of a baseline with a candidate, for a person and for CI.

Two runs are compared directly, the runs of two folders in pairs. A record that cannot be read is named, the others are
compared, and the check is then finished in part.

Only a variant compared with itself can regress: another backbone may well cost more or be worse, and is reported so.
A run that does not finish where the baseline does is a failure either way.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from stbench.paths import checkout_root
from stbench.records.noise_card import NoiseCard, cards_in
from stbench.records.schema import flatten
from stbench.records.store import RECORD_NAME, FoundRecords, find_records
from stbench.reports.comparison.cells import Cell, Comparison
from stbench.reports.comparison.golden import judge_loss_curves
from stbench.reports.comparison.judging import judge, settle
from stbench.reports.comparison.overlays import Overlay, overlay
from stbench.reports.comparison.page import comparison_markdown, comparison_page, comparison_table, ratio_plot
from stbench.reports.comparison.pairing import Pairing, Sides, name_of, pair
from stbench.reports.drawing import write_figure
from stbench.reports.formats import to_csv
from stbench.storage.folder import swapped_in

CONTENTS = (
    *("compare.md", "compare.csv", "compare.json", "compare.html", "ratios.svg", "ratios.png"),
    *("plots", "samples"),
)
MOST_OVERLAID = 4  # configurations whose curves and samples are shown; those that differ come first


def compare(base: Path | str, new: Path | str, out_dir: Path | str, noise_cards: Path | None = None) -> Comparison:
    """Compare the runs under `new` with those under `base`, and write the result to the folder `out_dir`.

    Args:
        base: a run folder, a record file, or a folder of runs.
        new: likewise.
        out_dir: a new or empty folder, or an earlier comparison, which is replaced.
        noise_cards: a folder with noise cards; by default those that the checkout brings.

    Raises:
        StbenchError: no record of a side can be read, or two of its runs cannot be told apart.
        NotComparable: no run has a counterpart.
    """
    found = [find_records([path]) for path in (base, new)]
    alone = all(Path(path).is_file() or (Path(path) / RECORD_NAME).is_file() for path in (base, new))
    sides = Sides(found[0].stored, found[1].stored)
    pairing = Pairing([sides]) if alone else pair(sides)
    comparison = _judge(pairing, found, _cards(noise_cards))
    _write(Path(out_dir), comparison, _overlays(pairing, comparison))
    return comparison


def _cards(folder: Path | None) -> list[NoiseCard]:
    root = checkout_root()
    reference = root / "results" / "reference" if root else None
    searched = folder or reference
    return cards_in(searched) if searched else []


def _judge(pairing: Pairing, found: Sequence[FoundRecords], cards: Sequence[NoiseCard]) -> Comparison:
    """Judge every configuration, and all of them together."""
    unread = [reason for side in found for reason in side.unreadable.values()]
    judged = [
        [*judge(*sides.records, cards), *filter(None, [judge_loss_curves(sides.base, sides.new, unread)])]
        for sides in pairing.cells
    ]
    settled = iter(settle([each for cell in judged for each in cell]))
    cells = [
        dataclasses.replace(_cell(sides), verdicts=list(islice(settled, len(cell))))
        for sides, cell in zip(pairing.cells, judged, strict=True)
    ]
    return Comparison(cells, list(pairing.missing), list(pairing.added), unread)


def _cell(sides: Sides) -> Cell:
    """What is compared with what, before it is judged."""
    base, new = sides.records
    names = zip(name_of(base[0]), name_of(new[0]), strict=True)
    parts = [old if old == changed else f"{old} → {changed}" for old, changed in names]
    before, after = flatten(base[0].config), flatten(new[0].config)
    changed_keys = [key for key in {**before, **after} if before.get(key) != after.get(key)]
    return Cell(
        name=" / ".join([*parts, *sides.settings]),
        base=[record.run_id for record in base],
        new=[record.run_id for record in new],
        gated=name_of(base[0]) == name_of(new[0]),
        differences=[f"{key}: {before.get(key, '(none)')} → {after.get(key, '(none)')}" for key in changed_keys],
        verdicts=[],
    )


def _overlays(pairing: Pairing, comparison: Comparison) -> dict[int, Overlay]:
    """The pictures of a few configurations by their place, of several those first that differ."""
    cells = comparison.cells
    places = sorted(range(len(cells)), key=lambda place: not cells[place].differs)[:MOST_OVERLAID]
    names = [cell.name if len(cells) > 1 else "" for cell in cells]
    return {place: overlay(names[place], pairing.cells[place].base, pairing.cells[place].new) for place in places}


def _write(out: Path, comparison: Comparison, overlays: dict[int, Overlay]) -> None:
    content = {"exit_status": comparison.exit_status, "headline": comparison.headline, **dataclasses.asdict(comparison)}
    for written, cell in zip(content["cells"], comparison.cells, strict=True):
        for row, verdict in zip(written["verdicts"], cell.verdicts, strict=True):
            row["ratio"] = verdict.ratio
    figure = ratio_plot(comparison)
    texts = {
        "compare.md": comparison_markdown(comparison),
        "compare.csv": to_csv(comparison_table(comparison)),
        "compare.json": json.dumps(content, indent=2) + "\n",
        "compare.html": comparison_page(comparison, figure, overlays),
    }
    with swapped_in(out, CONTENTS) as folder:
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
        if figure:
            write_figure(figure, folder, "ratios")
        for name in ("plots", "samples"):
            (folder / name).mkdir()
        for each in overlays.values():
            for plot in each.plots:
                write_figure(plot.figure, folder / "plots", plot.name)
            for row in each.samples.all_rows if each.samples else []:
                (folder / "samples" / f"{row.name}.webp").write_bytes(row.strip.webp)

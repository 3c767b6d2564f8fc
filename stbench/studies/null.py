"""Base against base: how often a comparison finds something where nothing is to be found.

The seeds of one configuration are split at random into a base and a new side, again and again, and compared as
`stbench compare` compares them. No verdict is right then, and as many must be for the worse as for the better: a rule
whose errors have a side is broken, however few they are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stbench.errors import StbenchError
from stbench.records.noise_card import NoiseCard, cards_in
from stbench.records.schema import Record
from stbench.records.statistics import ALPHA
from stbench.reports.comparison.judging import judge, settle
from stbench.reports.comparison.verdicts import BETTER, WORSE
from stbench.reports.runs import load_runs
from stbench.settings.options import NullOptions


@dataclass(frozen=True)
class Calibration:
    """What random splits of one configuration gave.

    Attributes:
        name: of the configuration.
        runs: that were split.
        seeds: on each side of a split.
        draws: splits.
        verdicts: by metric, how often each verdict fell.
        better, worse: splits in which any metric was.
    """

    name: str
    runs: int
    seeds: int
    draws: int
    verdicts: dict[str, Counter[str]]
    better: int
    worse: int

    @property
    def sentences(self) -> list[str]:
        """What was found, the whole first and then each metric."""
        whole = f"{self.name}: {self.runs} runs, split {self.draws} times into {self.seeds} and {self.seeds}"
        found = f"worse in {self._share(self.worse)} of them, better in {self._share(self.better)}"
        stated = f"at most {ALPHA:.0%} of quality and {ALPHA:.0%} of times are stated"
        return [f"{whole}: {found} ({stated})."] + [
            f"{metric}: {', '.join(f'{verdict} {self._share(count)}' for verdict, count in counts.most_common())}"
            for metric, counts in self.verdicts.items()
        ]

    def _share(self, count: int) -> str:
        return f"{100 * count / self.draws:.1f} %"


def study_null(paths: Iterable[Path], options: NullOptions) -> list[Calibration]:
    """Calibrate every configuration that has enough runs under `paths`.

    Raises:
        StbenchError: none has.
    """
    groups = {group.label: [run for run in group.records if run.finished] for group in load_runs(paths).groups}
    enough = {label: runs for label, runs in groups.items() if len(runs) >= 2 * options.seeds}
    cards = cards_in(options.noise_cards) if options.noise_cards else []
    # Where none has enough, the one that has most says so.
    chosen = enough or dict([max(groups.items(), key=lambda each: len(each[1]))])
    return [calibrate(label, runs, options.seeds, options.draws, cards) for label, runs in chosen.items()]


def calibrate(
    name: str, runs: Sequence[Record], seeds: int, draws: int, cards: Sequence[NoiseCard] = ()
) -> Calibration:
    """Split runs of one configuration, and count the verdicts.

    Args:
        name: of the configuration.
        runs: that differ in their seed alone, two times `seeds` or more.
        seeds: on each side.
        draws: how many splits.
        cards: noise cards; not of these runs.

    Raises:
        StbenchError: there are too few runs.
    """
    if len(runs) < 2 * seeds:
        raise StbenchError(f"{name}: {len(runs)} runs cannot be split into {seeds} and {seeds}: expected {2 * seeds}")
    random = np.random.default_rng(0)
    verdicts: dict[str, Counter[str]] = {}
    better = worse = 0
    for _ in range(draws):
        drawn = [runs[place] for place in random.permutation(len(runs))[: 2 * seeds]]
        found = settle(judge(drawn[:seeds], drawn[seeds:], cards))
        for each in found:
            verdicts.setdefault(each.metric, Counter())[each.verdict] += 1
        better += any(each.verdict == BETTER for each in found)
        worse += any(each.verdict == WORSE for each in found)
    return Calibration(name, len(runs), seeds, draws, verdicts, better, worse)

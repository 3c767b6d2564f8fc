"""False verdicts keep to the stated rate on arms of known truth, for each test and for looks in rounds."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from stbench.records.decisions import Decision
from stbench.records.statistics import ALPHA
from stbench.studies.reliability import CASES, DRAWS, FAMILIES, IN_ROUNDS, MARGIN, Case, _is_false, table, tally

AS_ASSUMED = [case for case in (*CASES, *IN_ROUNDS) if case.noisier == 1]
MOST = stats.binom.isf(0.01, DRAWS, ALPHA) / DRAWS  # that a true rate of alpha gives by chance


@pytest.mark.parametrize("case", AS_ASSUMED, ids=lambda case: case.title)
def test_false_verdicts_keep_to_the_stated_rate(case: Case) -> None:
    equal, apart = tally(case, (0, 0), margin=0), tally(case, (0, MARGIN))
    print(f"{case.title}: equal arms false {equal.false}; 10 % apart false {apart.false}, power {apart.right}")
    assert equal.false <= MOST
    assert apart.false <= MOST
    assert apart.right > 5 * ALPHA


@pytest.mark.parametrize("family", FAMILIES)
def test_so_do_all_pairs_of_four_arms_together(family: str) -> None:
    assert tally(CASES[1], FAMILIES[family]).false <= MOST


def test_stopping_at_the_first_small_p_would_not() -> None:
    first, second = np.random.default_rng(0).normal(size=(2, DRAWS, 12))
    looks = range(3, 13)
    p_values = [stats.ttest_ind(first[:, :look], second[:, :look], axis=1).pvalue for look in looks]
    assert np.mean(np.min(p_values, axis=0) < ALPHA) > 3 * ALPHA


def test_pairs_find_more_where_equal_seeds_go_together() -> None:
    card, pairs = CASES[2], CASES[6]
    assert (card.seeds, pairs.seeds) == (5, 5)
    assert tally(pairs, (0, 0.05), 200).right > tally(card, (0, 0.05), 200).right + 0.2


@pytest.mark.parametrize(
    ("verdict", "first", "second", "false"),
    [
        ("undecided", 0, 0.1, False),
        ("worse", 0, 0.1, False),
        ("worse", 0, 0, True),
        ("better", 0, 0.1, True),
        ("better", 0.1, 0, False),
        ("equivalent", 0, MARGIN, True),
        ("equivalent", 0, 0.05, False),
    ],
)
def test_what_is_a_false_verdict(verdict: str, first: float, second: float, false: bool) -> None:
    decision = Decision(verdict=verdict, effect=0.0, alpha=0.05, n=3)  # type: ignore[arg-type]
    assert _is_false(decision, first, second) is false


def test_the_table_has_a_line_for_each_case() -> None:
    lines = list(table(CASES[:2], draws=2))
    assert len(lines) == 4
    assert all(line.count("|") == lines[0].count("|") for line in lines)

"""Mean cosines against loops over all pairs."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import numpy as np
import pytest
from numpy.typing import NDArray

from stbench.metrics.embedding_cosines import embedding_cosines


def unit(seed: int, number: int) -> NDArray[np.float32]:
    drawn = np.random.default_rng(seed).normal(size=(number, 5))
    return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)


def mean_cosine(pairs: Iterable[tuple[NDArray[np.float32], NDArray[np.float32]]]) -> float:
    return float(np.mean([first @ second for first, second in pairs]))


def test_means_over_pairs() -> None:
    ours, theirs = unit(0, 7), unit(1, 9)
    labels, real_labels = np.arange(7) % 3, np.arange(9) % 2
    found = embedding_cosines(ours, labels, theirs, real_labels)
    alike = [(ours[i], theirs[j]) for i, j in itertools.product(range(7), range(9)) if labels[i] == real_labels[j]]
    real = [(theirs[i], theirs[j]) for i, j in itertools.combinations(range(9), 2) if real_labels[i] == real_labels[j]]
    assert (found.n_sampled, found.n_real) == (7, 9)
    assert found.same_class == pytest.approx(mean_cosine(alike), abs=1e-6)
    assert found.real_same_class == pytest.approx(mean_cosine(real), abs=1e-6)
    assert found.any_class == pytest.approx(mean_cosine(itertools.product(ours, theirs)), abs=1e-6)


def test_what_is_the_same_has_a_cosine_of_1() -> None:
    same = np.repeat(unit(0, 1), 4, axis=0)
    zeros = np.zeros(4, np.int64)
    found = embedding_cosines(same, zeros, same, zeros)
    assert (found.same_class, found.real_same_class, found.any_class) == pytest.approx((1, 1, 1))


def test_without_pairs_there_is_none() -> None:
    found = embedding_cosines(unit(0, 2), np.array([0, 0]), unit(1, 2), np.array([1, 2]))
    assert found.same_class is None
    assert found.real_same_class is None
    assert found.any_class is not None

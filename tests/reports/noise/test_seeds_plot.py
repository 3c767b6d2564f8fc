"""The plot of a noise card: a panel for each measure that it has, with every training seed in it."""

from __future__ import annotations

import numpy as np

from stbench.records.noise_card import CardRun, Noise, NoiseCard
from stbench.reports.noise.seeds_plot import seeds_plot


def test_every_seed_and_every_sampling_is_drawn() -> None:
    runs = [CardRun(arm="latte1", seed=seed, sampling_seed=0, figures={"fvd": 10.0 + seed}) for seed in range(10)]
    runs += [CardRun(arm="latte1", seed=1, sampling_seed=7, figures={"fvd": 30.0})]
    runs += [CardRun(arm="latte2", seed=0, sampling_seed=0, figures={"fvd": 99.0})]
    noise = Noise(condition="p", mean=14.5, sd=0.1, freedom=9, clips_sd=0.1)
    training = {"dataset": {"name": "shapes"}}
    card = NoiseCard(created="", training=training, runs=tuple(runs), noise={"fvd": noise, "mmd": noise})
    (axes,) = seeds_plot(card).axes
    _, seeds, again, clips = axes.lines
    assert axes.get_title(loc="left") == "FVD"
    assert list(np.asarray(seeds.get_ydata())) == [10.0 + seed for seed in range(10)]
    assert list(np.asarray(again.get_ydata())) == [11.0, 30.0]
    assert list(np.asarray(clips.get_ydata())) == [14.5 * np.exp(-0.2), 14.5 * np.exp(0.2)]


def test_a_card_of_other_measures_has_an_empty_plot() -> None:
    assert len(seeds_plot(NoiseCard(created="", training={}, runs=())).axes) == 1

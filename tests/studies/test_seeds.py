"""A noise card from fabricated runs: three spreads told apart, and what no single card could tell refused."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from scipy import stats

from stbench.errors import StbenchError
from stbench.records.measures import MEASURES
from stbench.records.noise_card import card_for, cards_in, sigma_for
from stbench.records.protocol import Protocol, protocol_hash
from stbench.records.schema import Record
from stbench.records.sections import Quality, Validation
from stbench.studies.seeds import make_card

Build = Callable[..., Record]
SEEDS = range(10)


@pytest.fixture
def build(protocol: Protocol) -> Build:
    def record(seed: int, fvd: float, *, arm: str = "latte1", sampling: int = 0, **config: Any) -> Record:
        judged = replace(protocol, sampling_seed=sampling)
        again = {"trained_as": f"group of {arm}"[:12]} if sampling else {}
        half, loss = 0.1 * fvd, 0.5 + 0.01 * seed
        return Record(
            run_id=f"{arm}-{seed}-{sampling}",
            status="finished",
            created="2026-01-02T03:04:05Z",
            config={
                "variant": {"name": arm},
                "dataset": {"name": "shapes", "arguments": {"image_size": 16, "root": f"/data/{seed}"}},
                "train": {"steps": 40, "batch_size": 2},
                "preset": "demo",
                "seed": seed,
                **again,
                **config,
            },
            config_hash=f"{arm}-{seed}-{sampling}",
            group_hash=f"group of {arm}{sampling or ''}",
            quality=Quality(
                protocol=judged,
                protocol_hash=protocol_hash(judged),
                detector="shapes3d",
                n_real=64,
                n_fake=64,
                fvd=fvd,
                fvd_interval=(fvd - half, fvd + half),
                class_agreement=0.5 + 0.01 * seed,
                recall=0.0,
                label="internal",
            ),
            validation=Validation(protocol_hash="v1", n_clips=4, draws=1, edges=(0.0, 1.0), loss=loss, buckets=(loss,)),
        )

    return record


def fvd_of(seed: int) -> float:
    return 100 * math.exp(0.05 * math.sin(7 * seed))


@pytest.fixture
def runs(build: Build) -> list[Record]:
    return [build(seed, fvd_of(seed)) for seed in SEEDS]


def test_between_training_seeds(runs: list[Record]) -> None:
    card = make_card(runs)
    noise = card.noise["fvd"]
    assert noise.sd == pytest.approx(statistics.stdev(math.log(fvd_of(seed)) for seed in SEEDS))
    assert (noise.freedom, noise.training_sd, noise.sampling_sd, noise.correlation) == (9, None, None, None)
    assert noise.mean == pytest.approx(statistics.mean(map(fvd_of, SEEDS)))
    assert noise.clips_sd == pytest.approx(0.1 / stats.t.isf(0.025, 9))
    assert card.noise["class_agreement"].sd == pytest.approx(statistics.stdev(0.01 * seed for seed in SEEDS))
    assert card.noise["validation_loss"].condition == "v1"
    assert set(card.noise) == {"fvd", "class_agreement", "validation_loss"}  # no score that is the same in every run
    assert card.arms == {"latte1": list(SEEDS)}


def test_sampling_noise_is_taken_out_of_the_training_seeds(build: Build, runs: list[Record]) -> None:
    shift = {1: 0.02, 2: -0.03}  # of all networks alike
    own = {(0, 1): 0.01, (1, 1): -0.01, (0, 2): 0.0, (1, 2): 0.02}
    again = [build(net, fvd_of(net) * math.exp(shift[s] + own[net, s]), sampling=s) for net, s in own]
    noise = make_card([*runs, *again]).noise["fvd"]
    table = [[0.0, *(shift[s] + own[net, s] for s in (1, 2))] for net in (0, 1)]
    assert noise.sampled_again == (2, 3)
    assert noise.sampling_sd == pytest.approx(math.sqrt(statistics.mean(map(statistics.variance, table))))
    differences = [one - other for one, other in zip(*table, strict=True)]
    assert noise.sd**2 - (noise.training_sd or 0) ** 2 == pytest.approx(statistics.variance(differences) / 2)


def test_an_evaluation_that_differs_in_more_is_left_out(build: Build, runs: list[Record]) -> None:
    again = [build(net, 90.0, sampling=1) for net in (0, 1)]
    other = [
        replace(each, quality=replace(each.quality, protocol=replace(each.quality.protocol, cfg_scale=4.0)))
        for each in again
        if each.quality
    ]
    assert make_card([*runs, *other]).noise["fvd"].sampled_again is None
    assert len(make_card([*runs, *other]).runs) == 10


def test_arms_of_equal_seeds_tell_how_far_they_go_together(build: Build, runs: list[Record]) -> None:
    second = [build(seed, 1.3 * fvd_of(seed) * math.exp(0.001 * (seed % 3)), arm="latte2") for seed in SEEDS]
    card = make_card([*runs, *second])
    noise = card.noise["fvd"]
    assert noise.freedom == 18
    assert noise.correlation is not None
    assert noise.correlation > 0.99
    assert card.noise["fvd"].sigma.correlation == noise.correlation_low
    assert list(card.arms) == ["latte1", "latte2"]


def test_a_card_survives_its_file(runs: list[Record], tmp_path: Path) -> None:
    card = make_card(runs)
    (tmp_path / "machine").mkdir()
    (tmp_path / "machine" / "noise_card.json").write_text(json.dumps(asdict(card)))
    assert cards_in(tmp_path) == [card]
    assert cards_in(tmp_path / "nowhere") == []


def test_a_card_holds_for_runs_of_its_training_and_protocol_alone(build: Build, runs: list[Record]) -> None:
    fvd, card = MEASURES["fvd"], make_card(runs)
    others = [build(seed, 50.0, arm="latte3") for seed in (20, 21)]
    assert card_for(fvd, others, [card]) is card
    sigma = sigma_for(fvd, others, [card])
    assert sigma is not None
    assert (sigma.sd, sigma.freedom, sigma.correlation) == (card.noise["fvd"].sd, 9, 0.0)
    assert sigma_for(MEASURES["kvd"], others, [card]) is None
    assert sigma_for(fvd, [*others, build(0, 50.0, sampling=1)], [card]) is None
    for config in ({"train": {"steps": 80, "batch_size": 2}}, {"preset": "small"}, {"dataset": {"name": "clouds"}}):
        assert sigma_for(fvd, [build(20, 50.0, **config)], [card]) is None, config


def test_of_two_cards_the_one_of_more_seeds_is_taken(build: Build, runs: list[Record]) -> None:
    more = make_card([*runs, build(10, 101.0)])
    assert card_for(MEASURES["fvd"], runs[:2], [make_card(runs), more]) is more


@pytest.mark.parametrize("number", [0, 9])
def test_too_few_seeds_are_refused(runs: list[Record], number: int) -> None:
    with pytest.raises(StbenchError, match=f"takes 10 finished seeds of one arm, and there are {number}"):
        make_card(runs[:number])


def test_what_did_not_finish_does_not_count(runs: list[Record]) -> None:
    failed = replace(runs[0], status="nan", reason="diverged")
    with pytest.raises(StbenchError, match="there are 9 of latte1"):
        make_card([failed, *runs[1:]])


def test_runs_of_several_trainings_are_refused(build: Build, runs: list[Record]) -> None:
    longer = build(3, 90.0, arm="latte2", train={"steps": 80, "batch_size": 2})
    with pytest.raises(StbenchError, match="latte2-3-0: steps is 80, and 40 in latte1-0-0"):
        make_card([*runs, longer])


def test_runs_of_several_protocols_are_refused(runs: list[Record]) -> None:
    other = replace(runs[0], validation=replace(runs[0].validation, protocol_hash="v2")) if runs[0].validation else None
    assert other is not None
    with pytest.raises(StbenchError, match="validation loss: the runs were judged under 2 protocols"):
        make_card([other, *runs[1:]])

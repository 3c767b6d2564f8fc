"""The page of a noise card: spreads and prices in the measure's own terms, whole files, hostile names escaped."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from stbench.records.measures import MEASURES
from stbench.records.noise_card import CardRun, Noise, NoiseCard, read_card
from stbench.records.power import Design
from stbench.reports.noise.seeds import CONTENTS, amount, findings, prices, spreads, write_seed_study


@pytest.fixture
def card() -> NoiseCard:
    def run(seed: int, sampling: int = 0) -> CardRun:
        figures = {"validation_loss": 0.3 + 0.001 * seed, "fvd": 12.0 + seed + sampling, "class_agreement": 0.8}
        return CardRun(arm="<latte1>", seed=seed, sampling_seed=sampling, figures=figures)

    return NoiseCard(
        created="2026-01-02T03:04:05Z",
        training={"dataset": {"name": "shapes", "arguments": {}}, "preset": "demo", "steps": 40, "batch_size": 2},
        runs=(*map(run, range(10)), run(0, 1), run(1, 1)),
        noise={
            "validation_loss": Noise(condition="v1", mean=0.3, sd=0.01, freedom=9),
            "fvd": Noise(
                condition="p1",
                mean=12.0,
                sd=0.08,
                freedom=9,
                training_sd=0.07,
                sampling_sd=0.04,
                sampled_again=(2, 2),
                clips_sd=0.05,
                correlation=0.5,
                correlation_low=-0.1,
            ),
            "class_agreement": Noise(condition="p1", mean=0.8, sd=0.02, freedom=9),
        },
    )


def test_a_study_is_whole(card: NoiseCard, tmp_path: Path) -> None:
    write_seed_study(card, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(CONTENTS)
    assert read_card(tmp_path / "noise_card.json") == card
    page = (tmp_path / "index.html").read_text()
    assert "How far seeds move &lt;latte1&gt; on shapes" in page
    assert "<latte1>" not in page
    assert page.count("<svg") == 1


@pytest.mark.parametrize(
    ("name", "size", "text"),
    [("fvd", math.log(1.08), "8 %"), ("class_agreement", 0.021, "2.1 points"), ("kvd", 0.6, "5 %"), ("fvd", None, "")],
)
def test_an_amount_is_relative_and_of_a_share_in_points(name: str, size: float | None, text: str) -> None:
    noise = Noise(condition="p", mean=-12.0 if name == "kvd" else 12.0, sd=0.1, freedom=9)
    assert amount(MEASURES[name], noise, size) == text


def test_findings_name_the_spreads_that_are_known(card: NoiseCard) -> None:
    loss, fvd, _ = findings(card)
    assert loss == "validation loss: another training seed moves it by 1 % (sd, as judged). 3 seeds an arm find 2.6 %."
    assert "another sampling seed of one network by 4.1 %, another draw of clips by 5.1 %" in fvd


def test_spreads_and_prices(card: NoiseCard) -> None:
    spread = spreads(card).set_index("figure").loc["FVD"]
    assert spread["training seeds, as judged"] == "8.3 %"
    assert spread["training alone"] == "7.3 %"
    assert spread["correlation of equal seeds"] == "0.50, at least -0.10"
    price = prices(card).set_index("figure")
    design = Design(0.02, freedom_of_card=9)
    assert price.loc["class agreement", "3 seeds an arm find"] == f"{100 * design.detectable(3, 0.05):.2g} points"
    assert price.loc["class agreement", "seeds for 5 %"] == str(design.seeds_for(0.05, 0.05))
    assert price.loc["FVD", "seeds for 10 %"] == str(Design(0.08, freedom_of_card=9).seeds_for(math.log(1.1), 0.05))

"""A noise card as files: the card itself, a plot, and one self-contained page that says what it means for verdicts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from stbench.records.measures import MEASURES, Measure
from stbench.records.noise_card import Noise, NoiseCard
from stbench.records.power import Design
from stbench.records.schema import flatten
from stbench.records.statistics import ALPHA
from stbench.records.store import CARD_NAME
from stbench.reports import html
from stbench.reports.drawing import write_figure
from stbench.reports.noise.seeds_plot import seeds_plot
from stbench.reports.text import format_number
from stbench.storage.files import write_json

CONTENTS = (CARD_NAME, "plots", "index.html")
EFFECTS = (0.05, 0.10, 0.20)
SEEDS = (3, 5)


def write_seed_study(card: NoiseCard, folder: Path) -> None:
    """Write a card, its plot and its page into an empty folder."""
    drawn = seeds_plot(card)
    write_json(folder / CARD_NAME, asdict(card))
    (folder / "plots").mkdir()
    write_figure(drawn, folder / "plots", "seeds")
    page = html.render(
        "seeds.html",
        title=f"How far seeds move {' and '.join(card.arms)} on {card.training['dataset']['name']}",
        lead=None,
        facts=_facts(card),
        card=card,
        findings=findings(card),
        plot=drawn,
        spreads=spreads(card),
        prices=prices(card),
        provenance=_provenance(card),
    )
    (folder / "index.html").write_text(page, encoding="utf-8")


def findings(card: NoiseCard) -> list[str]:
    """What the card says of each measure, in a sentence."""
    return [_finding(MEASURES[name], noise) for name, noise in card.noise.items()]


def _finding(measure: Measure, noise: Noise) -> str:
    parts = [f"another training seed moves it by {amount(measure, noise, noise.sd)} (sd, as judged)"]
    if noise.sampling_sd is not None:
        parts.append(f"another sampling seed of one network by {amount(measure, noise, noise.sampling_sd)}")
    if noise.clips_sd is not None:
        parts.append(f"another draw of clips by {amount(measure, noise, noise.clips_sd)}")
    found = amount(measure, noise, _design(noise).detectable(SEEDS[0], ALPHA))
    return f"{measure.title}: {', '.join(parts)}. {SEEDS[0]} seeds an arm find {found}."


def spreads(card: NoiseCard) -> pd.DataFrame:
    """The three spreads of each measure, as text."""
    rows = []
    for name, noise in card.noise.items():
        measure = MEASURES[name]
        sds = {
            "training seeds, as judged": noise.sd,
            "training alone": noise.training_sd,
            "sampling seeds": noise.sampling_sd,
            "clips": noise.clips_sd,
        }
        rows.append(
            {
                "figure": measure.title,
                "mean": format_number(noise.mean),
                **{title: amount(measure, noise, sd) for title, sd in sds.items()},
                "seeds less arms": str(noise.freedom),
                "correlation of equal seeds": _correlation(noise),
            }
        )
    return pd.DataFrame(rows)


def prices(card: NoiseCard) -> pd.DataFrame:
    """What seeds find at this noise, and how many it takes, as text: two-sided, 5 %, power 0.8."""
    rows = []
    for name, noise in card.noise.items():
        measure, design = MEASURES[name], _design(noise)
        found = {f"{n} seeds an arm find": amount(measure, noise, design.detectable(n, ALPHA)) for n in SEEDS}
        needed = {
            f"seeds for {100 * effect:.0f} %": _seeds(design, _on_scale(measure, noise, effect)) for effect in EFFECTS
        }
        rows.append({"figure": measure.title, **found, **needed})
    return pd.DataFrame(rows)


def amount(measure: Measure, noise: Noise, size: float | None) -> str:
    """A spread or an effect on the scale of the test as text: relative, of a share in points."""
    if size is None:
        return ""
    if measure.share:
        return f"{100 * size:.2g} points"
    relative = math.expm1(size) if measure.positive else size / abs(noise.mean)
    return f"{100 * relative:.2g} %"


def _on_scale(measure: Measure, noise: Noise, effect: float) -> float:
    """A relative effect, or one in points, on the scale of the test."""
    if measure.positive:
        return math.log1p(effect)
    return effect if measure.share else effect * abs(noise.mean)


def _design(noise: Noise) -> Design:
    return Design(noise.sd, freedom_of_card=noise.freedom)


def _seeds(design: Design, effect: float) -> str:
    seeds = design.seeds_for(effect, ALPHA)
    return "over 1000" if seeds is None else str(seeds)


def _correlation(noise: Noise) -> str:
    if noise.correlation is None or noise.correlation_low is None:
        return ""
    return f"{noise.correlation:.2f}, at least {noise.correlation_low:.2f}"


def _facts(card: NoiseCard) -> dict[str, str]:
    """The tiles at the top of the page."""
    training = card.training
    return {
        "Dataset": training["dataset"]["name"],
        "Preset": training["preset"] or "none",
        "Steps": str(training["steps"]),
        **{f"Seeds of {arm}": str(len(seeds)) for arm, seeds in card.arms.items()},
        "Networks sampled": str(len(card.runs)),
    }


def _provenance(card: NoiseCard) -> Mapping[str, dict[str, Any]]:
    """What is folded away at the end of the page."""
    conditions = {MEASURES[name].title: noise.condition for name, noise in card.noise.items()}
    made: dict[str, Any] = {"created": card.created}
    made |= {name: asdict(of) for name, of in (("machine", card.machine), ("software", card.software)) if of}
    return {"Training": flatten(card.training), "Protocols": conditions, "Machine and software": flatten(made)}

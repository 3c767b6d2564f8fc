"""The noise card: how far figures spread between trainings that differ in their seed alone, measured once and kept.

With at least ten seeds of an arm the sigma of a measure is known well enough that two or three seeds an arm decide
later (`estimates`). A card holds for one dataset, one budget of training and one protocol, and is used nowhere else.

Three spreads are told apart. Between training seeds is what a verdict between arms rests on; between sampling seeds of
the same network, and between draws of clips, are no evidence about a backbone, however narrow they are.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from stbench import paths
from stbench.errors import StbenchError
from stbench.records.estimates import PooledSigma
from stbench.records.measures import Measure
from stbench.records.schema import Record, value_at
from stbench.records.sections import Machine, Software
from stbench.records.store import CARD_NAME

if TYPE_CHECKING:
    from pydantic import TypeAdapter

SCHEMA_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class CardRun:
    """One trained network, sampled once."""

    arm: str
    seed: int  # of the training
    sampling_seed: int
    figures: dict[str, float]  # by measure, as the record has them in the title's unit


@dataclass(frozen=True, kw_only=True)
class Noise:
    """How far one measure spreads, on the scale of its test: for positive figures relative, else in their own unit.

    Attributes:
        condition: hash of what must be equal where this holds: the protocol.
        mean: of the first arm, in the title's unit.
        sd: between training seeds as they are judged, by one sampling each: what a verdict uses.
        freedom: its degrees of freedom.
        training_sd: the same with the noise of sampling taken out; None where no network was sampled again.
        sampling_sd: between sampling seeds of one network.
        sampled_again: how many networks were, and with how many sampling seeds each.
        clips_sd: between draws of as many clips, by the jackknife of each record; None where there is none.
        correlation: of equal seeds of two arms, the mean over pairs of arms; None for one arm.
        correlation_low: what it is at least (95 %, one-sided).
    """

    condition: str
    mean: float
    sd: float
    freedom: int
    training_sd: float | None = None
    sampling_sd: float | None = None
    sampled_again: tuple[int, int] | None = None
    clips_sd: float | None = None
    correlation: float | None = None
    correlation_low: float | None = None

    @property
    def sigma(self) -> PooledSigma:
        """As the test between two arms takes it."""
        return PooledSigma(self.sd, self.freedom, max(0.0, self.correlation_low or 0.0))


@dataclass(frozen=True, kw_only=True)
class NoiseCard:
    """The content of `noise_card.json`."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"strict": True, "extra": "forbid", "allow_inf_nan": False}

    schema: int = SCHEMA_VERSION
    created: str
    training: dict[str, Any]  # dataset with its arguments, preset, steps and batch size: see `training_of`
    runs: tuple[CardRun, ...]
    noise: dict[str, Noise] = field(default_factory=dict)  # by measure
    machine: Machine | None = None
    software: Software | None = None

    @property
    def arms(self) -> dict[str, list[int]]:
        """The training seeds of each arm, in order."""
        names = dict.fromkeys(run.arm for run in self.runs)
        return {name: sorted({run.seed for run in self.runs if run.arm == name}) for name in names}


def training_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """What must be equal in a card and in the runs that it is used for, besides each measure's own condition."""
    dataset = config.get("dataset") or {}
    arguments = {name: value for name, value in (dataset.get("arguments") or {}).items() if name != "root"}
    return {
        "dataset": {"name": dataset.get("name"), "arguments": arguments},
        "preset": config.get("preset"),
        "steps": value_at(config, "train.steps"),
        "batch_size": value_at(config, "train.batch_size"),
    }


def card_for(measure: Measure, records: Sequence[Record], cards: Iterable[NoiseCard]) -> NoiseCard | None:
    """The card that holds for these runs in this measure, of several that of the most seeds; None where none does."""
    return card_of(measure, [(record.config, measure.condition(record)) for record in records], cards)


def card_of(
    measure: Measure, runs: Iterable[tuple[Mapping[str, Any], Hashable]], cards: Iterable[NoiseCard]
) -> NoiseCard | None:
    """The same of runs that need not be there yet: of each its configuration, and what its figure is measured under."""
    asked = [(training_of(config), condition) for config, condition in runs]
    fitting = [
        card
        for card in cards
        if (noise := card.noise.get(measure.name))
        and asked
        and all(each == (card.training, noise.condition) for each in asked)
    ]
    return max(fitting, key=lambda card: card.noise[measure.name].freedom, default=None)


def sigma_for(measure: Measure, records: Sequence[Record], cards: Iterable[NoiseCard]) -> PooledSigma | None:
    """How far training seeds of such runs spread, by the card that holds for them; None where there is none."""
    card = card_for(measure, records, cards)
    return card.noise[measure.name].sigma if card else None


def read_card(path: Path) -> NoiseCard:
    """Read a card.

    Raises:
        StbenchError: naming the file, when it is no card of this version.
    """
    from pydantic import ValidationError

    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StbenchError(f"cannot read {path}: {error}") from error
    version = content.get("schema") if isinstance(content, dict) else None
    if version != SCHEMA_VERSION:
        raise StbenchError(f"{path}: expected a noise card of version {SCHEMA_VERSION}, got version {version!r}")
    try:
        return _adapter().validate_json(json.dumps(content))
    except ValidationError as error:
        wrong = error.errors()[0]
        place = ".".join(map(str, wrong["loc"]))
        raise StbenchError(f"{path}: {place}: {wrong['msg']}") from None


def cards_in(folder: Path) -> list[NoiseCard]:
    """Every card at or below a folder, in the order of their paths; none where there is no folder."""
    return [read_card(path) for path in sorted(folder.rglob(CARD_NAME))]


def known_cards(folders: Iterable[Path] = ()) -> list[NoiseCard]:
    """Every card in these folders and, in a checkout, in `results/reference`."""
    root = paths.checkout_root()
    reference = [root / "results" / "reference"] if root else []
    return [card for folder in [*folders, *reference] for card in cards_in(folder)]


@functools.cache
def _adapter() -> TypeAdapter[NoiseCard]:
    from pydantic import TypeAdapter

    return TypeAdapter(NoiseCard)

"""What became of the claims of a file at one scale, as it is kept, read and shown: with all figures it rests on."""

from __future__ import annotations

import dataclasses
import functools
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from stbench.errors import StbenchError, brief
from stbench.records.budgets import Budget
from stbench.records.claim_questions import Expected
from stbench.records.claims import STRICT, Claim, Scale
from stbench.records.decisions import Decision

if TYPE_CHECKING:
    from pydantic import TypeAdapter

OUTCOME_VERSION = 1
Plain = Literal["supported", "contradicted", "undecided"]
Answer = Literal[
    "supported",
    "contradicted",
    "undecided",
    "depends on the budget",
    "depends on the learning rate",
    "the scale cannot tell",
    "not possible yet",
    "not asked",
    "missing",
    "failed",
]
# What each answer means, for whoever reads a table of them.
ANSWERS: dict[Answer, str] = {
    "supported": "every comparison came out as the claim says",
    "contradicted": "a comparison came out otherwise, with as much evidence as would have supported it",
    "undecided": "these seeds leave it open",
    "depends on the budget": "supported at one equal budget, contradicted at another",
    "depends on the learning rate": "contradicted at half or twice the learning rate, or supported there alone",
    "the scale cannot tell": "a control did not come out as it must",
    "not possible yet": "something has to be built, or to be measured, first",
    "not asked": "the scale trains none of its arms",
    "missing": "runs are not there",
    "failed": "runs ended without figures",
}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One comparison of two arms.

    Attributes:
        expected: what the claim says of the first against the second.
        answer: what the comparison says of the claim; None where it could not be made.
        first_steps, second_steps: of the training, after which the figures were read.
        first_figures, second_figures: by training seed.
        decision: of the first against the second; None where no comparison could be made.
        reason: why none could be made.
    """

    first: str
    second: str
    measure: str
    budget: Budget
    at: float  # share of the budget
    rate: float  # times the learning rate of the scale
    expected: Expected
    answer: Plain | None = None
    first_steps: float | None = None
    second_steps: float | None = None
    first_figures: dict[int, float] = field(default_factory=dict)
    second_figures: dict[int, float] = field(default_factory=dict)
    decision: Decision | None = None
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Part:
    """What one measure under one equal budget says of a claim."""

    measure: str
    budget: Budget
    answer: Answer
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class ClaimVerdict:
    """What became of one claim on one dataset.

    Attributes:
        dataset: None for what no dataset has a say in.
        answer: by the first of the claim's measures.
        before_controls: what the answer would be if the controls were as they must be.
        counted: of a claim on counts, the figure of each arm; of an inflation, the largest difference.
        seeds_needed: an arm, for what is undecided; None where that is not known.
    """

    claim: Claim
    dataset: str | None
    answer: Answer
    before_controls: Answer
    reason: str = ""
    parts: tuple[Part, ...] = ()
    findings: tuple[Finding, ...] = ()
    counted: dict[str, float] = field(default_factory=dict)
    seeds_needed: int | None = None

    @property
    def control_failed(self) -> bool:
        """Whether it is a control that was judged and did not come out as it must, by the first of its measures."""
        if self.claim.control is None or not self.parts:
            return False
        fine = ("supported",) if self.claim.control == "positive" else ("supported", "undecided")
        return self.answer not in fine


@dataclass(frozen=True, kw_only=True)
class ArmSummary:
    """One arm as it was trained on one dataset, at one learning rate."""

    arm: str
    dataset: str
    rate: float  # times the learning rate of the scale
    words: tuple[str, ...]
    starts_from: str | None
    learning_rate: float
    seeds: tuple[int, ...]  # that were asked for
    steps: int | None  # of the training; None where no run is there
    runs: dict[int, str]  # by seed, the name of the run
    figures: dict[str, dict[int, float]]  # by measure and seed
    curves: dict[str, dict[int, tuple[tuple[int, float], ...]]]  # the same on the way: (steps, figure)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A file of claims, judged at one scale."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    version: int = OUTCOME_VERSION
    title: str
    name: str
    sha256: str  # of what the file of claims says
    sources: dict[str, str]
    scale: str
    about: Scale
    words: tuple[str, ...]  # that were given for this reproduction, on top of the scale's
    registered: str  # UTC time at which these claims were registered, before anything was run for them
    older_runs: int  # runs that were there before
    machines: tuple[str, ...]  # of the runs
    arms: tuple[ArmSummary, ...]
    verdicts: tuple[ClaimVerdict, ...]

    def to_json(self) -> dict[str, Any]:
        """The outcome as JSON values."""
        return dataclasses.asdict(self)


def read_outcome(path: Path) -> Outcome:
    """Read an outcome that `stbench reproduce` wrote.

    Raises:
        StbenchError: it cannot be read, or another version wrote it.
    """
    from pydantic import ValidationError

    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StbenchError(f"{path}: cannot be read: {brief(error)}") from error
    version = content.get("version") if isinstance(content, dict) else None
    if version != OUTCOME_VERSION:
        raise StbenchError(f"{path}: version {version!r} of an outcome of claims, expected {OUTCOME_VERSION}")
    try:
        return _adapter().validate_json(json.dumps(content))
    except ValidationError as error:
        first = error.errors()[0]
        raise StbenchError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None


@functools.cache
def _adapter() -> TypeAdapter[Outcome]:
    from pydantic import TypeAdapter

    return TypeAdapter(Outcome)

"""A small outcome of claims, fabricated: two arms that differ, two that do not, a count, and both controls."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from stbench.records.claim_verdicts import ArmSummary, ClaimVerdict, Finding, Outcome, Part
from stbench.records.claims import Claim, Scale
from stbench.records.decisions import decide
from stbench.records.measures import MEASURES

LOSS = MEASURES["validation_loss"]


def figures(loss: float, first: int = 0) -> dict[int, float]:
    return {first + seed: loss * (1 + 0.01 * seed) for seed in range(5)}


def verdict(claim: Claim, answer: Any, losses: tuple[float, float]) -> ClaimVerdict:
    first, second = map(figures, losses)
    decision = decide(second, first, measure=LOSS, margin=claim.margin)
    finding = Finding(
        first=claim.arms[0],
        second=claim.arms[1],
        measure="validation_loss",
        budget="steps",
        at=1.0,
        rate=1.0,
        expected="better",
        answer=answer,
        first_figures=first,
        second_figures=second,
        first_steps=40.0,
        second_steps=40.0,
        decision=decision,
    )
    part = Part(measure="validation_loss", budget="steps", answer=answer)
    return ClaimVerdict(
        claim=claim, dataset="shapes", answer=answer, before_controls=answer, parts=(part,), findings=(finding,)
    )


def arm(name: str, loss: float) -> ArmSummary:
    found = figures(loss)
    return ArmSummary(
        arm=name,
        dataset="shapes",
        rate=1.0,
        words=(f"variant={name}", "dataset=shapes"),
        starts_from=None,
        learning_rate=1e-3,
        seeds=tuple(found),
        steps=40,
        runs={seed: f"{name}-{seed}" for seed in found},
        figures={"validation_loss": found},
        curves={"validation_loss": {seed: ((0, 1.0), (20, 0.5), (40, value)) for seed, value in found.items()}},
    )


@pytest.fixture(scope="session")
def outcome() -> Outcome:
    claim = Claim(id="A", statement="Mine is better.", source=("paper",), arms=("mine", "base"), relation="better")
    counted = replace(claim, id="C", statement="Mine has 2 M.", arms=("mine",), relation="equals", measures=("params",))
    control = replace(claim, id="sees", statement="Time counts.", source=(), control="positive")
    verdicts = (
        verdict(control, "supported", (0.1, 0.2)),
        verdict(claim, "supported", (0.1, 0.2)),
        verdict(replace(claim, id="B", arms=("base", "twin")), "contradicted", (0.2, 0.2)),
        ClaimVerdict(
            claim=counted, dataset=None, answer="supported", before_controls="supported", counted={"mine": 2.0}
        ),
    )
    return Outcome(
        title="Mine",
        name="mine",
        sha256="ab" * 32,
        sources={"paper": "a paper"},
        scale="tiny",
        about=Scale(about="tiny networks", datasets=("shapes",), seeds=5),
        words=(),
        registered="2026-01-02T03:04:05+00:00",
        older_runs=0,
        machines=("Test CPU",),
        arms=(arm("mine", 0.1), arm("base", 0.2), arm("twin", 0.2)),
        verdicts=verdicts,
    )

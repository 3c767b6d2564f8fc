"""docs/claims.md: its worked example is run, and its tables hold what there is."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from stbench.launch.reproduce import reproduce
from stbench.launch.trained_arms import trained_arms
from stbench.records.claim_verdicts import ANSWERS, read_outcome
from stbench.records.claims import RELATIONS, Claim, DeclaredArm, Scale, load_claims
from stbench.records.measures import MEASURES
from stbench.settings.options import ReproduceOptions


@pytest.fixture(scope="module")
def text(repository: Path) -> str:
    return (repository / "docs" / "claims.md").read_text(encoding="utf-8")


@pytest.fixture
def example(text: str, tmp_path: Path) -> Path:
    [block] = re.findall(r"```yaml\n(.*?)```", text, flags=re.DOTALL)
    (tmp_path / "heads.yaml").write_text(block)
    return tmp_path / "heads.yaml"


def test_the_example_is_decided_as_far_as_counts_go(example: Path, tmp_path: Path) -> None:
    reproduce(str(example), [], ReproduceOptions(scale="counts"), tmp_path / "out")
    outcome = read_outcome(tmp_path / "out" / "claims" / "claims.json")
    answers = {verdict.claim.id: verdict.answer for verdict in outcome.verdicts}
    assert answers.pop("heads-are-free") == "supported"
    assert set(answers.values()) == {"not asked"}


def test_the_example_trains_as_many_networks_as_it_says(example: Path, text: str) -> None:
    arms = trained_arms(load_claims(str(example)), "quick", [])
    assert f"trains {sum(len(arm.seeds) for arm in arms)} tiny networks" in text.replace("\n", " ")
    assert {arm.learning_rate for arm in arms} == {arms[0].learning_rate}


def test_the_tables_hold_every_key_relation_measure_and_answer(text: str) -> None:
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("|")]
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    keys = {field.name for kind in (DeclaredArm, Scale, Claim) for field in dataclasses.fields(kind)}
    assert named == keys | set(RELATIONS)
    answers = {answer for row in rows for answer in row.strip().split(", ")}
    assert answers >= set(ANSWERS)
    measures = text[text.index("\nMeasures:") : text.index("A claim on a count")]
    assert set(re.findall(r"`(\w+)`", measures)) == set(MEASURES)

"""docs/backbone.md: its example is run as it stands, and it names everything that the code asks for."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from stbench.backbones.base import RUN_FACTS, Conditioning
from stbench.backbones.contract import RULES
from stbench.checks.backbone import check_backbone
from stbench.metrics.detectors.base import _REQUIRED_ATTRIBUTES
from stbench.records.store import read_record
from stbench.run.stages import run
from stbench.settings.resolve import resolve

CPU = ["device=cpu", "precision=float32", "attention=math"]


@pytest.fixture(scope="module")
def page(repository: Path) -> str:
    return (repository / "docs" / "backbone.md").read_text(encoding="utf-8")


@pytest.fixture
def folder(page: str, tmp_path: Path) -> Path:
    """A folder with the files of the page."""
    network, detector = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    (variant,) = re.findall(r"```yaml\n(.*?)```", page, flags=re.DOTALL)
    for name, text in (("my_net.py", network), ("my_net.yaml", variant), ("my_detector.py", detector)):
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def test_the_example_keeps_the_contract(folder: Path) -> None:
    for objective in ("flow", "ddpm"):
        check = check_backbone([f"variant={folder}/my_net.yaml", f"diffusion.objective={objective}", *CPU])
        statuses = {verdict.name: verdict.status for verdict in check.verdicts}
        assert {name for name, status in statuses.items() if status != "passed"} == {"joint images", "frame timesteps"}
        assert {"parameters", "attention", "operations"} < statuses.keys()


def test_the_example_runs_and_is_judged_by_the_example_of_a_detector(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(folder)
    words = [f"variant={folder}/my_net.yaml", "dataset=shapes", "preset=smoke", "eval.num_clips=20", *CPU]
    record = read_record(run(resolve([*words, "protocol=my_detector:Motion"]), folder / "runs"))
    assert record.finished
    assert record.training.attention == "math"
    assert record.quality.detector == "my_detector:Motion"
    assert record.quality.fvd > 0


def test_the_page_names_every_rule_with_what_a_run_does(page: str) -> None:
    table = page[page.index("| rule | what it says") :]
    rows = [row.strip("|").split("|") for row in table[: table.index("\n\n")].splitlines()[2:]]
    assert [(row[0].strip(), row[2].strip()) for row in rows] == [(rule.name, rule.at_start or "") for rule in RULES]


def test_the_page_names_every_fact_field_and_attribute(page: str) -> None:
    fields = [field.name for field in dataclasses.fields(Conditioning)]
    for name in (*RUN_FACTS, *fields, *_REQUIRED_ATTRIBUTES):
        assert re.search(rf"\b{name}\b", page), name

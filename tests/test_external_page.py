"""docs/external.md: its example is run as it stands, and its protocols are there."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from stbench.cli import main
from stbench.metrics.protocol import PROTOCOLS


@pytest.fixture(scope="module")
def page(repository: Path) -> str:
    return (repository / "docs" / "external.md").read_text(encoding="utf-8")


def test_the_example_judges_stand_ins_by_the_papers_protocol(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (script,) = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    (command,) = re.findall(r"^stbench (fvd real fake .*)$", page, flags=re.MULTILINE)
    monkeypatch.chdir(tmp_path)
    exec(compile(script, "docs/external.md", "exec"), {})
    monkeypatch.setattr("sys.argv", ["stbench", *shlex.split(command)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code in (0, None)
    outcome = json.loads(capsys.readouterr().out)
    protocol = outcome["quality"]["protocol"]
    assert (protocol["frame_stride_real"], protocol["frame_stride_fake"], protocol["num_frames"]) == (2, 1, 16)
    assert outcome["quality"]["n_real"] == outcome["quality"]["n_fake"] == 80


def test_its_protocols_are_known(page: str) -> None:
    assert set(re.findall(r"protocol=([\w-]+)", page)) <= set(PROTOCOLS)

"""YAML files of variants and datasets: what is wrong with one is said in one line that names the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stbench.errors import StbenchError
from stbench.paths import CONFIG_DIR_VARIABLE
from stbench.settings.components import load_component


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Write a variant's YAML whose module is a file beside it; returns its path."""
    (tmp_path / "my_backbone.py").write_text(
        "class Thing:\n    def __init__(self, width: int, height: int = 2):\n"
        "        if width < 0:\n            raise ValueError('width is negative')\n        self.area = width * height\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))

    def writer(text: str) -> str:
        path = tmp_path / "mine.yaml"
        path.write_text(text)
        return str(path)

    return writer


def test_a_backbone_of_ones_own(write: Any) -> None:
    path = write("backbone: my_backbone:Thing\nwidth: 3\npresets: {demo: {width: 1, train.steps: 5}}\n")
    component = load_component("variant", path)
    assert component.name == "mine"
    assert component.construct({"height": 5, "depth": 9}).area == 15  # a fact the constructor does not list is left out
    small, settings = component.with_preset("demo")
    assert small.construct().area == 2
    assert settings == {"train.steps": 5}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "backbone: my_backbone:Thing\nwidht: 3\n",
            r"mine\.yaml: unknown key of variant 'mine' 'widht': did you mean 'width'",
        ),
        ("width: 3\n", r"mine\.yaml: a variant needs the key `backbone: module:Class`"),
        ("backbone: my_backbone\n", r"mine\.yaml: a variant needs the key `backbone: module:Class`"),
        ("backbone: my_backbone:Thin\nwidth: 1\n", "unknown class 'Thin': did you mean 'Thing'"),
        ("backbone: no_such_module:Thing\nwidth: 1\n", "cannot import it: No module named 'no_such_module'"),
        ("- a\n- b\n", r"mine\.yaml: expected a mapping of keys to values, found list"),
        ("backbone: [\n", r"mine\.yaml is not YAML"),
        ("backbone: my_backbone:Thing\npresets: {demo: 3}\n", r"mine\.yaml: presets must map"),
    ],
)
def test_broken_files(write: Any, text: str, message: str) -> None:
    with pytest.raises(StbenchError, match=message) as caught:
        load_component("variant", write(text))
    assert "\n" not in str(caught.value)


def test_arguments_that_the_constructor_refuses(write: Any) -> None:
    with pytest.raises(
        StbenchError, match=r"variant 'mine': my_backbone:Thing refused its arguments: width is negative"
    ):
        load_component("variant", write("backbone: my_backbone:Thing\nwidth: -1\n")).construct()
    with pytest.raises(StbenchError, match="variant 'mine' lacks width, which my_backbone:Thing needs"):
        load_component("variant", write("backbone: my_backbone:Thing\n")).construct()
    with pytest.raises(StbenchError, match=r"variant file nowhere\.yaml does not exist"):
        load_component("variant", "nowhere.yaml")


def test_folders_of_ones_own_come_first(write: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "variants").mkdir()
    (tmp_path / "variants" / "latte1.yaml").write_text("backbone: my_backbone:Thing\nwidth: 7\n")
    monkeypatch.setenv(CONFIG_DIR_VARIABLE, str(tmp_path))
    write("")
    assert load_component("variant", "latte1").arguments == {"width": 7}
    assert load_component("variant", "latte2").target == "stbench.backbones.latte:Latte"

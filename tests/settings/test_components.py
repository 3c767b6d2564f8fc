"""YAML files of variants and datasets: what is wrong with one is said in one line that names the file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stbench.errors import StbenchError
from stbench.paths import CONFIG_DIR_VARIABLE
from stbench.settings.components import (
    About,
    CannotBuild,
    build_backbone,
    describe_file,
    load_component,
    load_target,
    signature_parameters,
)


@pytest.fixture
def write(tmp_path: Path) -> Any:
    """Write a variant's YAML whose module is a file beside it; returns its path."""
    (tmp_path / "my_backbone.py").write_text(
        "from torch.nn import Module\n"
        "class Thing(Module):\n    def __init__(self, width: int, height: int = 2):\n        super().__init__()\n"
        "        if width < 0:\n            raise ValueError('width is negative')\n        self.area = width * height\n"
    )

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
        (
            "backbone: math:pi\n",
            r"mine\.yaml: variant 'mine': backbone: math:pi: expected a class that inherits from Mod",
        ),
        (
            "backbone: no_such_module:Thing\nwidth: 1\n",
            r"cannot import it: No module named 'no_such_module' in /.* or where Python looks \(PYTHONPATH\)$",
        ),
        ("- a\n- b\n", r"mine\.yaml: expected a mapping of keys to values, found list"),
        ("backbone: [\n", r"mine\.yaml is not YAML"),
        ("backbone: my_backbone:Thing\npresets: {demo: 3}\n", r"mine\.yaml: presets must map"),
        (
            "backbone: my_backbone:Thing\npresets: {smok: {width: 3}}\n",
            r"mine\.yaml: unknown preset 'smok': did you mean",
        ),
        ("backbone: my_backbone:Thing\nexpect: 3\n", r"mine\.yaml: expect must map a figure's name to its value$"),
        ("backbone: my_backbone:Thing\npublished: 3\n", r"mine\.yaml: published must map latents and learned_variance"),
        (
            "backbone: my_backbone:Thing\npublished: {latnts: 1x1x1x1}\n",
            r"unknown key of published 'latnts': did you mean 'latents'",
        ),
        ("backbone: my_backbone:Thing\npublished: {latents: 4x16x32}\n", "latents 4x16x32: expected CxFxHxW"),
        ("backbone: my_backbone:Thing\n1: 3\n", r"mine\.yaml: the key 1 is not text: put it in quotes$"),
        ("backbone: my_backbone:Thing\non: 3\n", r"mine\.yaml: the key True is not text: put it in quotes$"),
        ("backbone: my_backbone:Thing\nwidth: .inf\n", r"mine\.yaml: variant\.width=inf: expected a finite number$"),
        ("backbone: my_backbone:Thing\nwidth: !!binary aGk=\n", r"mine\.yaml: "),
        ("backbone: my_backbone:Thing\nwidth: 2020-13-45\n", r"mine\.yaml: "),
        ("backbone: my_backbone:Thing\n" + "# long\n" * 200_000, r"mine\.yaml: \d+ bytes are no configuration$"),
    ],
)
def test_broken_files(write: Any, text: str, message: str) -> None:
    with pytest.raises(StbenchError, match=message) as caught:
        load_component("variant", write(text))
    assert "\n" not in str(caught.value)


def test_arguments_that_the_constructor_refuses(write: Any) -> None:
    place = r"ValueError: width is negative \(.*my_backbone\.py:\d+\)$"
    with pytest.raises(CannotBuild, match=f"^variant 'mine': my_backbone:Thing cannot be built: {place}"):
        load_component("variant", write("backbone: my_backbone:Thing\nwidth: -1\n")).construct()
    with pytest.raises(StbenchError, match="variant 'mine' lacks width, which my_backbone:Thing needs"):
        load_component("variant", write("backbone: my_backbone:Thing\n")).construct()
    with pytest.raises(StbenchError, match=r"^nowhere\.yaml does not exist$"):
        load_component("variant", "nowhere.yaml")


@pytest.mark.parametrize(("size", "sample_size"), [("8x8", 8), ("8x6", (8, 6))])
def test_the_input_that_published_figures_are_of(write: Any, size: str, sample_size: object) -> None:
    path = write(
        f"backbone: my_backbone:Thing\nwidth: 3\npublished: {{latents: 4x2x{size}, learned_variance: false}}\n"
    )
    component = load_component("variant", path)
    expected = {"in_channels": 4, "num_frames": 2, "sample_size": sample_size, "learned_variance": False}
    assert component.published == expected
    assert component.to_dict()["arguments"] == {"width": 3}  # it is no part of what a run is


def test_folders_of_ones_own_come_first(write: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "variants").mkdir()
    (tmp_path / "variants" / "latte1.yaml").write_text("backbone: my_backbone:Thing\nwidth: 7\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv(CONFIG_DIR_VARIABLE, str(tmp_path))
    write("")
    assert load_component("variant", "latte1").arguments == {"width": 7}
    assert load_component("variant", "latte2").target == "stbench.backbones.latte:Latte"


def test_constructor_of_its_own_names(write: Any) -> None:
    component = load_component("variant", write("backbone: my_backbone:Thing\nwidth: 3\n"))
    assert load_target(component).__name__ == "Thing"
    assert list(signature_parameters(component)) == ["width", "height"]
    misspelt = replace(component, target="my_backbone:Think")
    with pytest.raises(
        StbenchError, match=r"^variant 'mine': backbone: my_backbone:Think: unknown class 'Think': did you mean 'Thing'"
    ):
        load_target(misspelt)


def test_a_constructor_that_takes_anything_lists_no_names_for_it(write: Any, tmp_path: Path) -> None:
    (tmp_path / "open_backbone.py").write_text(
        "from torch.nn import Module\n"
        "class Thing(Module):\n    def __init__(self, width, *more, **others):\n        pass\n"
    )
    assert list(signature_parameters(load_component("variant", write("backbone: open_backbone:Thing\n")))) == ["width"]


def test_changed_arguments_make_another_component(write: Any) -> None:
    component = load_component("variant", write("backbone: my_backbone:Thing\nwidth: 3\n"))
    wider = component.with_arguments({"width": 5, "height": 1})
    assert component.arguments == {"width": 3}
    assert wider.arguments == {"width": 5, "height": 1}
    assert wider.to_dict() == {"name": "mine", "backbone": "my_backbone:Thing", "arguments": {"width": 5, "height": 1}}
    assert component.with_preset("no such preset") == (component, {})
    with pytest.raises(
        StbenchError, match=r"^unknown key of variant 'mine' 'weight': did you mean .*known: height, width$"
    ):
        component.with_arguments({"weight": 1})


@pytest.mark.parametrize(
    ("statement", "line"),
    [
        ("raise StbenchError('depth=3 is odd')", "depth=3 is odd"),
        ("raise NotComparable('other weights')", "other weights"),
        ("{}['width']", r"their_backbone:Thing cannot be built: KeyError: 'width' \(.*their_backbone\.py:5\)"),
        ("raise RuntimeError", r"their_backbone:Thing cannot be built: RuntimeError \(.*their_backbone\.py:5\)"),
        ("raise SystemExit(0)", r"their_backbone:Thing cannot be built: SystemExit: 0 \(.*their_backbone\.py:5\)"),
    ],
)
def test_what_a_constructor_raises_names_the_component(write: Any, tmp_path: Path, statement: str, line: str) -> None:
    (tmp_path / "their_backbone.py").write_text(
        "from torch.nn import Module\nfrom stbench.errors import NotComparable, StbenchError\n"
        f"class Thing(Module):\n    def __init__(self):\n        {statement}\n"
    )
    with pytest.raises(CannotBuild, match=f"^variant 'mine': {line}$"):
        load_component("variant", write("backbone: their_backbone:Thing\n")).construct()


def test_a_file_is_described_without_importing_what_it_names(write: Any, tmp_path: Path) -> None:
    text = "backbone: no_such_module:Thing\nwidht: 3\nsource: a paper\nexpect: {params_m: 2}\n"
    expected = About("no_such_module:Thing", "a paper", {"params_m": "2"}, "4x16x32x32")
    assert describe_file("variant", Path(write(text))) == expected
    assert describe_file("dataset", Path(write(text))) == replace(expected, target="?")
    published = "backbone: a:B\npublished: {latents: 4x2x8x8}\n"
    assert describe_file("variant", Path(write(published))) == About("a:B", "", {}, "4x2x8x8")
    known = load_component("variant", write("backbone: my_backbone:Thing\nsource: a paper\nexpect: {params_m: 2}\n"))
    assert (known.source, known.expect, known.arguments) == ("a paper", {"params_m": 2}, {})


def test_build_a_backbone_by_name_or_by_file(write: Any) -> None:
    assert build_backbone(write("backbone: my_backbone:Thing\nwidth: 3\n"), height=4).area == 12
    backbone = build_backbone("latte1", size="tiny", sample_size=8, num_frames=4)
    assert backbone.training
    with pytest.raises(StbenchError, match=r"^unknown variant 'late1': did you mean 'latte1'"):
        build_backbone("late1")
    with pytest.raises(StbenchError, match=r"^unknown key of variant 'latte1' 'sizes'"):
        build_backbone("latte1", sizes="S")

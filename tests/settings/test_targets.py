"""The class that a component names: found beside its file, and refused where it is no such class."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from stbench.data.clips import ClipDataset
from stbench.errors import StbenchError
from stbench.settings.components import load_component
from stbench.settings.targets import BASES, import_module, import_root, is_foreign, load_class, split_target

NET = "from torch.nn import Module\nclass Net(Module):\n    pass\n"


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("os:system", "expected a class that inherits from Module, got <built-in function system>"),
        ("math:pi", r"expected a class that inherits from Module, got 3\.14"),
        ("builtins:type", "expected a class that inherits from Module, got <class 'type'>"),
        ("datetime:date", "expected a class that inherits from Module"),
        ("torch:nn", "expected a class that inherits from Module, got <module"),
        ("stbench.data.synthetic:Shapes", "expected a class that inherits from Module"),
        ("stbench.cli:main", "expected a class that inherits from Module"),
        ("stbench.backbones.latte:Late", "unknown class 'Late': did you mean 'Latte'"),
        (":Net", "^expected module:Class$"),
        ("..a:b", "^expected module:Class$"),
        ("a:", "^expected module:Class$"),
        ("a:b.c", "^expected module:Class$"),
        ("a b:c", "^expected module:Class$"),
    ],
)
def test_what_is_no_backbone_is_refused_before_it_is_called(target: str, message: str) -> None:
    with pytest.raises(StbenchError, match=message) as caught:
        load_class(target, BASES["variant"], None)
    assert "\n" not in str(caught.value)


def test_what_is_no_dataset_is_refused() -> None:
    with pytest.raises(StbenchError, match="expected a class that inherits from ClipDataset, got <class"):
        load_class("stbench.backbones.latte:Latte", BASES["dataset"], None)
    assert issubclass(load_class("stbench.data.synthetic:Shapes", BASES["dataset"], None), ClipDataset)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("def broken(:\n", r"cannot import it: SyntaxError: invalid syntax \(.*/failing\.py:1\)$"),
        ("1 / 0\n", r"cannot import it: ZeroDivisionError: division by zero \(.*/failing\.py:1\)$"),
        ("import sys\nsys.exit(0)\n", r"cannot import it: SystemExit: 0 \(.*/failing\.py:2\)$"),
        (
            "import not_installed\n",
            "cannot import it: ModuleNotFoundError: No module named 'not_installed' .*failing.py:1",
        ),
        ("", "unknown class 'Net': known: none"),
    ],
)
def test_a_module_that_fails_is_one_line(code: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "failing.py").write_text(code)
    with pytest.raises(StbenchError, match=message) as caught:
        load_class("failing:Net", BASES["variant"], tmp_path)
    assert "\n" not in str(caught.value)


def test_the_folder_of_the_file_is_searched(tmp_path: Path) -> None:
    path = list(sys.path)
    (tmp_path / "beside.py").write_text(NET)
    (tmp_path / "mine.yaml").write_text("backbone: beside:Net\n")
    assert type(load_component("variant", str(tmp_path / "mine.yaml")).construct()).__name__ == "Net"
    assert sys.path == path


def test_each_folder_has_its_own_module_of_one_name(tmp_path: Path) -> None:
    """Two runs keep copies of one module at two times; what it imports from beside it is told apart as well."""
    folders = [tmp_path / "a", tmp_path / "a" / "b"]  # one within the other
    for width, folder in enumerate(folders):
        folder.mkdir()
        (folder / "width_of.py").write_text(f"WIDTH = {width}\n")
        (folder / "net_of.py").write_text(f"import width_of\n{NET}    width = width_of.WIDTH\n")
    classes = [load_class("net_of:Net", BASES["variant"], folder) for folder in (*folders, *folders)]
    assert [vars(each)["width"] for each in classes] == [0, 1, 0, 1]
    assert classes[0] is classes[2]


def test_a_folder_hides_no_module_that_it_does_not_hold(tmp_path: Path) -> None:
    (tmp_path / "random.py").write_text("raise ImportError('not this one')\n")
    (tmp_path / "drawing_net.py").write_text(f"import random\n{NET}")
    random = sys.modules["random"]
    load_class("drawing_net:Net", BASES["variant"], tmp_path)
    assert sys.modules["random"] is random
    assert import_module("json", tmp_path) is sys.modules["json"]


def test_where_a_module_was_found() -> None:
    assert import_root("net", "/x/net.py") == Path("/x")
    assert import_root("package.net", "/x/package/net.py") == Path("/x")
    assert import_root("package", "/x/package/__init__.py") == Path("/x")


def test_what_is_not_of_stbench_is_foreign() -> None:
    assert not is_foreign("stbench.backbones.latte:Latte")
    assert is_foreign("stbenches:Net") and is_foreign("os:system")
    assert split_target("a.b:C") == ("a.b", "C")

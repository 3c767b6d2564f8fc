"""The code of a class: which files it is, and that it is read as it was imported."""

from __future__ import annotations

from pathlib import Path

import pytest

from stbench.errors import StbenchError
from stbench.runtime.code import code_of, code_sha256

EMPTY_NET = "from torch.nn import Module\nclass Net(Module):\n    pass\n"


def test_code_is_what_the_module_imports_from_beside_it(tmp_path: Path) -> None:
    files = {
        "whole/__init__.py": "",
        "whole/nets/__init__.py": "from . import first\n",
        "whole/nets/first.py": f"from ..parts.mixer import *\n{EMPTY_NET}",
        "whole/parts/__init__.py": "",
        "whole/parts/mixer.py": "def late():\n    import whole.parts.late, stbench.errors, beside_whole\n",
        "whole/parts/late.py": "from whole.nets.first import Net\n",  # in a circle
        "whole/unused.py": "",
        "beside_whole.py": "",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    code = code_of("whole.nets.first:Net", tmp_path)
    assert code.files == {name: text.encode() for name, text in sorted(files.items()) if name != "whole/unused.py"}
    assert not code.installed


def test_code_of_no_file_and_code_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    (tmp_path / "late_net.py").write_text("def late():\n    import not_python\n")
    (tmp_path / "not_python.py").write_text("class:\n")
    with pytest.raises(StbenchError, match=r"not_python\.py: is imported, but not Python: invalid syntax"):
        code_of("late_net:Net", tmp_path)
    with pytest.raises(StbenchError, match=r"^sys:Net: .* expected a module that is a \.py file$"):
        code_of("sys:Net", None)


def test_what_comes_with_stbench_and_plain_names_have_no_code_of_their_own(tmp_path: Path) -> None:
    assert code_sha256("stbench.backbones.latte:Latte", None) is None
    assert code_sha256("builtin", None) is None
    (tmp_path / "lone_net.py").write_text(EMPTY_NET)
    assert code_sha256("lone_net:Net", tmp_path) == code_of("lone_net:Net", tmp_path).sha256

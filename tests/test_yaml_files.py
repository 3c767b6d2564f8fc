"""YAML that people write; what is no mapping is tried with the files of components."""

from __future__ import annotations

from pathlib import Path

from stbench.yaml_files import read_mapping


def test_numbers_are_read_as_on_the_command_line(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text('rate: 1e-3\nwhole: 3\ntext: "1e-3"\nlist: [1e3, a]\nnothing: null\n')
    assert read_mapping(path) == {"rate": 0.001, "whole": 3, "text": "1e-3", "list": [1000.0, "a"], "nothing": None}

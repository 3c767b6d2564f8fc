"""The order of the floors: a room imports from floors below its own, and never from beside or above."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import stbench

PACKAGE = Path(stbench.__file__).parent
# From the ground up; CONTRIBUTING.md says what each room holds.
FLOORS = (
    {"errors", "paths", "progress", "signals"},
    {"yaml_files"},
    {"records", "settings", "storage"},
    {"runtime"},
    {"backbones", "data"},
    {"diffusion", "metrics", "reports", "tasks"},
    {"fvd", "profiling", "studies", "training"},
    {"run"},
    {"checks"},
    {"launch"},
    {"bench", "cli"},
    {"__main__"},
)
FLOOR_OF = {room: level for level, rooms in enumerate(FLOORS) for room in rooms}


def room_of(module: str) -> str:
    return module.split(".")[1] if "." in module else "errors"  # stbench itself: version and lazy names


def module_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> Iterator[str]:
    """Every module of stbench that a file imports, inside of functions as well."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("stbench"))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("stbench"):
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                is_module = (PACKAGE.parent / full.replace(".", "/")).with_suffix(".py").exists()
                yield full if is_module or (PACKAGE.parent / full.replace(".", "/")).is_dir() else str(node.module)


MODULES = {module_of(path): sorted(set(imports(path))) for path in sorted(PACKAGE.rglob("*.py"))}


def test_every_room_has_a_floor() -> None:
    assert {room_of(module) for module in MODULES} == set(FLOOR_OF)


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_down(module: str) -> None:
    room = room_of(module)
    wrong = [
        other for other in MODULES[module] if room_of(other) != room and FLOOR_OF[room_of(other)] >= FLOOR_OF[room]
    ]
    assert not wrong, f"{module} (floor {FLOOR_OF[room]}) imports from beside or above: {', '.join(wrong)}"


def test_no_module_imports_itself_in_a_circle() -> None:
    left = {module: {other for other in others if other != module} for module, others in MODULES.items()}
    while leaves := [module for module, others in left.items() if not others & left.keys()]:
        for module in leaves:
            del left[module]
    assert not left, f"modules in or above a circle: {', '.join(sorted(left))}"

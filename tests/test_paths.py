"""Where things lie: in a checkout, in an installed package, and in folders of the user's own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from stbench import paths


@pytest.fixture
def built_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in place of the configurations that come with stbench; no folder of the user's own."""
    root = tmp_path / "built-in"
    monkeypatch.setattr(paths, "builtin_config_root", lambda: root)
    monkeypatch.delenv(paths.CONFIG_DIR_VARIABLE, raising=False)
    fill(root / "variants", "b.yaml", "a.yaml", "notes.txt")
    return root


def fill(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).touch()
    return folder


def test_a_checkout_and_an_installed_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, repository: Path) -> None:
    assert paths.builtin_config_root() == repository
    assert (paths.builtin_config_root() / "variants" / "latte1.yaml").is_file()
    monkeypatch.setattr(paths, "PACKAGE", tmp_path / "site-packages" / "stbench")
    assert paths.checkout_root() is None
    packaged = fill(tmp_path / "site-packages" / "stbench" / "configs")
    assert paths.builtin_config_root() == packaged
    fill(tmp_path / "site-packages" / ".git")
    assert paths.checkout_root() == tmp_path / "site-packages"


def test_files_of_a_kind_by_name(built_in: Path) -> None:
    folder = built_in / "variants"
    assert paths.config_folders("variants") == [folder]
    assert list(paths.config_files("variants").items()) == [("a", folder / "a.yaml"), ("b", folder / "b.yaml")]
    assert paths.config_folders("datasets") == []
    assert paths.config_files("datasets") == {}


def test_folders_of_the_user_come_first_and_hide(
    built_in: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = fill(tmp_path / "first" / "variants", "b.yaml", "c.yaml")
    second = fill(tmp_path / "second" / "variants", "c.yaml", "d.yaml")
    given = [tmp_path / "first", tmp_path / "missing", tmp_path / "second"]
    monkeypatch.setenv(paths.CONFIG_DIR_VARIABLE, os.pathsep.join(map(str, given)))
    assert paths.config_folders("variants") == [first, second, built_in / "variants"]
    assert paths.config_files("variants") == {
        "a": built_in / "variants" / "a.yaml",
        "b": first / "b.yaml",
        "c": first / "c.yaml",
        "d": second / "d.yaml",
    }


def test_the_current_directory_is_not_searched(built_in: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path / "here" / "variants", "mine.yaml")
    monkeypatch.chdir(tmp_path / "here")
    assert sorted(paths.config_files("variants")) == ["a", "b"]


def test_the_cache_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert paths.user_cache() == tmp_path / "cache" / "stbench"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert paths.user_cache() == tmp_path / ".cache" / "stbench"

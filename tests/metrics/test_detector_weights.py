from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from stbench.checks.listing import print_listing
from stbench.errors import StbenchError
from stbench.metrics.catalogue import DETECTORS
from stbench.metrics.detector_weights import describe_weights, find_weights

WITH_FILES = [name for name, info in DETECTORS.items() if info.weights_variable]


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty cache, and no detector's variable set."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for name in WITH_FILES:
        monkeypatch.delenv(str(DETECTORS[name].weights_variable), raising=False)
    (tmp_path / "stbench").mkdir()
    return tmp_path / "stbench"


@pytest.mark.parametrize("name", WITH_FILES)
def test_missing_weights_say_where_to_get_and_put_them(name: str, cache: Path) -> None:
    info = DETECTORS[name]
    with pytest.raises(StbenchError) as caught:
        find_weights(name)
    for part in (info.weights_source, f"{info.weights_variable}=PATH", "--weights PATH", str(cache / info.cache_name)):
        assert str(part) in str(caught.value)
    assert describe_weights(name).startswith(f"not found ({info.weights_variable})")


@pytest.mark.parametrize("name", WITH_FILES)
def test_the_name_that_the_message_proposes_is_found(name: str, cache: Path) -> None:
    (cache / DETECTORS[name].cache_name).touch()
    assert find_weights(name) == cache / DETECTORS[name].cache_name
    assert describe_weights(name) == f"found: {cache / DETECTORS[name].cache_name}"


def test_no_two_detectors_find_each_others_files() -> None:
    for name in WITH_FILES:
        others = [other for other in DETECTORS if other != name and other.startswith(name)]
        assert others == []


def test_a_folder_is_weights_of_videomae_only(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("videomae", "i3d"):
        (cache / name).mkdir()
    assert find_weights("videomae") == cache / "videomae"
    with pytest.raises(StbenchError, match="i3d: weights not found"):
        find_weights("i3d")
    with pytest.raises(StbenchError, match=r"i3d: weights names .*, which is not a file"):
        find_weights("i3d", cache / "i3d")
    monkeypatch.setenv("STBENCH_VIDEOMAE", str(cache / "nothing"))
    assert describe_weights("videomae").startswith("not found (STBENCH_VIDEOMAE)")


def test_the_listing_says_of_every_detector_whether_its_weights_are_there(
    cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (cache / "c3d.npz").touch()
    print_listing("detectors")
    rows = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line.startswith("  ")}
    assert set(DETECTORS) <= set(rows)
    assert rows["shapes3d"].endswith("included")
    assert rows["c3d"].endswith(f"found: {cache / 'c3d.npz'}")
    assert "not found (STBENCH_INCEPTION)" in rows["inception"]


def test_weights_are_found_without_torch() -> None:
    code = "import sys, stbench.metrics.detector_weights; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

"""The files of one run: what was written is read back as it was, what was not is nothing."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from stbench.errors import StbenchError
from stbench.records.sections import AttentionChoice, Cost, Counts, CurvePoint, Memory, Timing, ValidationPoint
from stbench.records.store import read_record
from stbench.run.folder import RunFolder
from stbench.settings.resolve import resolve
from stbench.settings.schema import Contents
from stbench.storage.clips import Clips, load_clips
from stbench.storage.files import write_sealed
from stbench.storage.hashing import sha256_of
from stbench.storage.lock import locked

WORDS = ["variant=latte1", "dataset=shapes", "preset=smoke", "dataset.motions=[left,right]"]
CONFIG = dataclasses.replace(resolve(WORDS), contents=Contents(videos="1" * 64, detector="2" * 64))
FORWARD = Timing(what="forward", samples=(1.0, 3.0), median=2.0, spread=1.0, batch_size=4, clips_per_s=2.0)
COST = Cost(
    counts=Counts(params_total=3, params_trainable=2, gmacs=0.5, gflops=1.0, incomplete=("fvcore",)),
    timing={"forward": FORWARD},
    memory=Memory(peak_rss_mib=12.5, peak_rss_source="VmHWM"),
)


def test_a_run_that_was_not_begun(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    assert not folder.begun and not folder.has_record and not folder.is_finished()
    assert folder.read_cost() is None
    assert (folder.read_curve(), folder.read_attention_choices()) == ((), ())
    with pytest.raises(StbenchError, match="run is not a run's folder: it has no config"):
        folder.read_config()


def test_a_run_that_was_begun(tmp_path: Path) -> None:
    with locked(tmp_path):
        assert not RunFolder(tmp_path).begun
    folder = RunFolder(tmp_path)
    folder.begin(CONFIG, COST)
    assert folder.begun and not folder.has_record
    assert folder.read_cost() == COST
    again = folder.read_config()
    assert (again.config_hash, again.to_dict()) == (CONFIG.config_hash, CONFIG.to_dict())
    assert sorted(path.name for path in folder.path.iterdir()) == ["config.json", "cost.json"]


@pytest.mark.parametrize(
    ("section", "key"), [("variant", "backbone"), ("dataset", "dataset"), (None, "protocol")], ids=lambda key: key
)
def test_code_that_a_folder_names_is_not_imported_unless_it_is_trusted(
    section: str | None, key: str, tmp_path: Path
) -> None:
    """A folder that was downloaded looks like data: nothing that it names may run."""
    folder = RunFolder(tmp_path)
    code = tmp_path / "code" / (section or "")
    code.mkdir(parents=True)
    (code / "harmful.py").write_text(f"from pathlib import Path\nPath({str(tmp_path / 'RUN')!r}).touch()\n")
    content = CONFIG.to_dict()
    (content[section] if section else content)[key] = "harmful:Net"
    write_sealed(tmp_path / "config.json", content)
    with pytest.raises(StbenchError, match=r"config\.json names code that is not stbench's, harmful:Net: --trust-code"):
        folder.read_config()
    assert not (tmp_path / "RUN").exists()
    if section:
        with pytest.raises(StbenchError, match="unknown class 'Net'"):
            folder.read_config(trust_code=True)
        assert (tmp_path / "RUN").exists()


@pytest.mark.parametrize("target", ["os:system", "builtins:exec", "stbench.cli:main", "torch.nn:Linear", ".:x", ":x"])
def test_a_folder_calls_nothing_but_backbones(target: str, tmp_path: Path) -> None:
    content = CONFIG.to_dict()
    content["variant"] = {"name": "latte1", "backbone": target, "arguments": {"command": f"touch {tmp_path}/RUN"}}
    write_sealed(tmp_path / "config.json", content)
    with pytest.raises(StbenchError, match=target):
        RunFolder(tmp_path).read_config()
    with pytest.raises(StbenchError):
        RunFolder(tmp_path).read_config(trust_code=True)
    assert not (tmp_path / "RUN").exists()


POINTS = tuple(CurvePoint(step=step, fvd=9.5 - step, n_fake=16, protocol_hash="p") for step in (0, 4))
VALIDATION = tuple(ValidationPoint(step=step, loss=1.5, buckets=(1.0, 2.0)) for step in (0, 4))
CHOICE = AttentionChoice(
    device="cpu",
    dtype="float32",
    autocast=False,
    shapes=((1, 2, 8, 4),) * 3,
    strides=((64, 32, 4, 1),) * 3,
    backward=True,
    backend="sdpa",
    median_s={"sdpa": 0.5, "math": 1.0},
)


@pytest.fixture
def begun(tmp_path: Path) -> RunFolder:
    """The folder of a run that is on its way, with every file that it reads again."""
    folder = RunFolder(tmp_path / "one")
    folder.path.mkdir()
    folder.begin(CONFIG, COST)
    folder.write_curve(POINTS)
    folder.write_validation("v", VALIDATION)
    folder.write_attention_choices([CHOICE])
    folder.write_lost({"a.mp4": "cut off"})
    return folder


def test_what_is_kept_on_the_way(begun: RunFolder) -> None:
    assert begun.read_curve() == POINTS
    assert begun.read_validation("v") == VALIDATION
    assert begun.read_validation("of another precision") == ()
    assert begun.read_attention_choices() == (CHOICE,)
    assert begun.read_lost() == {"a.mp4": "cut off"}
    assert json.loads((begun.path / "curve.json").read_text())["content"][1] == {
        "step": 4, "fvd": 5.5, "n_fake": 16, "protocol_hash": "p",
    }  # fmt: skip


def _resealed(text: bytes, **changes: object) -> bytes:
    """As another run, or another stbench, would have written it."""
    sealed = json.loads(text)
    if "run" not in sealed:
        return text
    changed = {"run": sealed["run"], "content": sealed["content"], **changes}
    return json.dumps({**changed, "sha256": sha256_of(changed)}).encode()


def _one_digit(text: bytes) -> bytes:
    return re.sub(rb"(\d\.)\d", rb"\g<1>7", text, count=1)


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda text: b"",
    "cut": lambda text: text[: len(text) // 2],
    "not text": lambda text: b"\xff\xfe" + text,
    "null": lambda text: b"null",
    "a list": lambda text: b"[1]",
    "an object": lambda text: b"{}",
    "deep": lambda text: b"[" * 100_000,
    "a digit changed": _one_digit,
    "a key changed": lambda text: re.sub(rb'"(\w\w\w+)":', rb'"_\1":', text, count=3),
    "of another run": lambda text: _resealed(text, run="another"),
    "of another stbench": lambda text: _resealed(text, content=[{"old": 1}]),
    "without content": lambda text: _resealed(text, content=None),
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize(
    "name", ["config.json", "cost.json", "curve.json", "validation.json", "attention.json", "lost.json"]
)
def test_what_is_damaged_is_named_with_what_to_do_or_measured_again(
    name: str, damage: str, begun: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    path = begun.path / name
    before = path.read_bytes()
    path.write_bytes(DAMAGE[damage](before))
    if path.read_bytes() == before:
        pytest.skip("there is no such thing in this file")
    read: dict[str, tuple[Callable[[], object], str]] = {
        "config.json": (begun.read_config, "the run's own command with --resume writes it again"),
        "curve.json": (begun.read_curve, "delete it: the points so far are then lost"),
        "validation.json": (partial(begun.read_validation, "v"), "delete it: the points are then lost"),
        "attention.json": (begun.read_attention_choices, "delete it: the choices are then made anew"),
        "lost.json": (begun.read_lost, "delete it: they are then found again"),
    }
    if name == "cost.json":
        assert begun.read_cost() is None
        told = capsys.readouterr().err
        assert told.count("\n") == 1 and told.startswith(f"{path} ") and told.endswith("; not used\n")
        return
    reading, remedy = read[name]
    with pytest.raises(StbenchError, match=f"^{path} .*{remedy}$"):
        reading()


def test_a_record_that_is_damaged_says_what_to_do(begun: RunFolder) -> None:
    (begun.path / "result.json").write_text('{"schema": 4')
    with pytest.raises(StbenchError, match=r"result\.json.*; delete it, and --resume writes it again$"):
        begun.is_finished()


def test_leftovers_of_a_kill_are_removed_and_told(begun: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoints = begun.path / "checkpoints"
    checkpoints.mkdir()
    left = [checkpoints / ".tmpA1b2C3", checkpoints / "step-00000003.safetensors.7.partial", begun.path / "a.7.partial"]
    for path in left:
        path.write_bytes(b"half")
    kept = sorted(path for path in begun.path.rglob("*") if path not in left)
    begun.remove_leftovers()
    assert sorted(begun.path.rglob("*")) == kept
    told = capsys.readouterr().err.splitlines()
    assert sorted(told) == sorted(
        f"removed {path} (4 bytes), which a killed process left half written" for path in left
    )


def test_what_is_kept_for_the_report(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    samples, real = (Clips(np.full((2, 1, 4, 4, 3), value, np.uint8), np.arange(2), ("a", "b")) for value in (1, 2))
    features = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert folder.write_clips(samples, real) == {"samples": "samples.npz", "real": "real.npz"}
    for step in (400, 40):
        folder.write_step_samples(step, samples)
    assert folder.step_samples() == {
        "samples_step_40": "samples-step-40.npz",
        "samples_step_400": "samples-step-400.npz",
    }
    assert folder.write_features(features, -features) == {"features": "features.npz"}
    assert np.array_equal(load_clips(tmp_path / "samples.npz").clips, samples.clips)
    assert load_clips(tmp_path / "real.npz").class_names == ("a", "b")
    with np.load(tmp_path / "features.npz") as kept:
        assert np.array_equal(kept["real"], features) and np.array_equal(kept["fake"], -features)


def test_a_record_replaces_an_earlier_one_as_a_whole(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record, folder = read_record(finished), RunFolder(tmp_path)
    folder.write_record(record)
    assert read_record(folder.path) == record

    def full_disk(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(StbenchError, match=r"cannot write .*result\.json: No space left on device \(after \d+ bytes\)"):
        folder.write_record(dataclasses.replace(record, status="oom", reason="out of memory"))
    assert read_record(folder.path) == record
    assert [file.name for file in folder.path.iterdir()] == ["result.json"]


def test_finished_is_what_the_record_says(finished: Path, tmp_path: Path) -> None:
    assert RunFolder(finished).is_finished()
    content = json.loads((finished / "result.json").read_text())
    (tmp_path / "result.json").write_text(json.dumps(content | {"status": "oom", "reason": "out of memory"}))
    assert RunFolder(tmp_path).has_record and not RunFolder(tmp_path).is_finished()

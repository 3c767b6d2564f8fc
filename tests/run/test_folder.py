"""The files of one run: what was written is read back as it was, what was not is nothing."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import numpy as np
import pytest

from stbench.errors import StbenchError
from stbench.records.sections import AttentionChoice, Cost, Counts, CurvePoint, Memory, Timing
from stbench.records.store import read_record
from stbench.run.folder import RunFolder
from stbench.settings.resolve import resolve
from stbench.settings.schema import Contents
from stbench.storage.clips import Clips, load_clips
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
    (tmp_path / "config.json").write_text(json.dumps(content))
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
    (tmp_path / "config.json").write_text(json.dumps(content))
    with pytest.raises(StbenchError, match=target):
        RunFolder(tmp_path).read_config()
    with pytest.raises(StbenchError):
        RunFolder(tmp_path).read_config(trust_code=True)
    assert not (tmp_path / "RUN").exists()


def test_what_is_kept_on_the_way(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    points = [CurvePoint(step=step, fvd=9.5 - step, n_fake=16, protocol_hash="p") for step in (0, 4)]
    choice = AttentionChoice(
        device="cpu",
        dtype="float32",
        autocast=False,
        shapes=((1, 2, 8, 4),) * 3,
        strides=((64, 32, 4, 1),) * 3,
        backward=True,
        backend="sdpa",
        median_s={"sdpa": 0.5, "math": 1.0},
    )
    folder.write_curve(points)
    folder.write_attention_choices([choice])
    assert folder.read_curve() == tuple(points)
    assert folder.read_attention_choices() == (choice,)
    assert json.loads((tmp_path / "curve.json").read_text())[1] == {
        "step": 4, "fvd": 5.5, "n_fake": 16, "protocol_hash": "p",
    }  # fmt: skip


def test_what_is_kept_for_the_report(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    samples, real = (Clips(np.full((2, 1, 4, 4, 3), value, np.uint8), np.arange(2), ("a", "b")) for value in (1, 2))
    features = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert folder.write_clips(samples, real) == {"samples": "samples.npz", "real": "real.npz"}
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

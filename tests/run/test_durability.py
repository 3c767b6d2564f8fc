"""A run through kills, signals, damage and a second process: it goes on as if nothing had been, or says why not."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from stbench.data.synthetic.shapes import Shapes
from stbench.errors import StbenchError
from stbench.records.store import read_record
from stbench.run import stages
from stbench.run.folder import RunFolder
from stbench.run.reuse import evaluate_again
from stbench.run.setup import prepare
from stbench.run.stages import run
from stbench.settings.resolve import resolve
from stbench.storage.lock import locked

TINY = [
    *("variant=latte1", "variant.hidden_size=32", "variant.depth=2", "variant.num_heads=2"),
    *("dataset=shapes", "dataset.num_frames=4", "dataset.image_size=8"),
    *("preset=smoke", "device=cpu", "precision=float32", "attention=math", "eval.num_clips=4", "eval.untrained=false"),
]
LONG = [*TINY, "train.steps=250", "train.checkpoint_every=7", "train.class_dropout=0.5"]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of the smallest kind."""
    return run(resolve(TINY), tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of many steps that was never interrupted."""
    return run(resolve(LONG), tmp_path_factory.mktemp("straight"))


@pytest.fixture
def unprofiled(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Costs are known without measuring."""
    cost = RunFolder(tiny).read_cost()
    monkeypatch.setattr(stages, "measure_costs", lambda *_: [cost])


def losses(folder: Path) -> list[str]:
    """The lines of the loss curve, but for how long the steps took."""
    return [line.rpartition(",")[0] for line in (folder / "loss.csv").read_text().splitlines()]


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM], ids=lambda signum: signum.name)
def test_a_run_that_was_ended_goes_on_bit_for_bit(signum: signal.Signals, straight: Path, tmp_path: Path) -> None:
    """The signal goes to the processes that read clips as well, as a scheduler sends it."""
    folder = tmp_path / straight.name
    command = [sys.executable, "-m", "stbench.cli", "run", *LONG, "train.num_workers=2", "--out", str(tmp_path)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    deadline = time.monotonic() + 120
    while not list(folder.glob("checkpoints/*.safetensors")) and time.monotonic() < deadline:
        time.sleep(0.005)
    with pytest.raises(StbenchError, match=f"{folder} is in use by process {process.pid} on"):
        run(resolve(LONG), tmp_path, resume=True)
    os.killpg(process.pid, signum)
    _, told = process.communicate()
    assert not (folder / "result.json").exists(), "the run was over before it could be ended"
    if signum == signal.SIGTERM:
        newest = max((folder / "checkpoints").iterdir())
        assert process.returncode == 128 + signum
        assert told.splitlines()[-1] == f"stbench: stopped by SIGTERM: --resume goes on from {newest}"
        assert len(losses(folder)) == 1 + int(newest.stem.removeprefix("step-"))

    assert run(resolve(LONG), tmp_path, resume=True) == folder
    expected, found = (load_file(path / "checkpoints" / "step-00000250.safetensors") for path in (straight, folder))
    assert expected.keys() == found.keys()
    assert [name for name in expected if not torch.equal(expected[name], found[name])] == []
    assert losses(folder) == losses(straight)
    assert read_record(folder).quality == read_record(straight).quality
    assert read_record(folder).validation == read_record(straight).validation


def test_a_second_process_is_refused_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages, "RunStages", lambda *_: pytest.fail("the work was begun"))
    config = resolve(TINY)
    with locked(tmp_path / prepare(config).config.run_id):
        for resume in (False, True):
            with pytest.raises(StbenchError, match="is in use by this process"):
                run(config, tmp_path, resume)


@pytest.mark.usefixtures("unprofiled")
@pytest.mark.parametrize("replaced", [False, True], ids=["deleted", "deleted and made anew"])
def test_a_run_whose_folder_is_deleted_ends_in_one_line(
    replaced: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[Path] = []
    draw = Shapes.batch

    def deleting(self: Shapes, *arguments: object) -> object:
        steps.extend(tmp_path.glob("*"))
        if len(steps) == 4:
            shutil.rmtree(steps[0])
            if replaced:
                steps[0].mkdir()
        return draw(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Shapes, "batch", deleting)
    with pytest.raises(StbenchError, match=r"(was deleted under its run, at step|cannot write .*: No such file)"):
        run(resolve(TINY), tmp_path)
    assert list(tmp_path.iterdir()) == []


@dataclass(frozen=True)
class Damage:
    """What is done to a file; `name` is a pattern."""

    name: str
    spoil: Callable[[bytes], bytes] | None  # None: the file is deleted

    def do(self, folder: Path) -> Path:
        path = max(folder.glob(self.name))
        if self.spoil is None:
            path.unlink()
        else:
            path.write_bytes(self.spoil(path.read_bytes()))
        return path


SPOIL: dict[str, Callable[[bytes], bytes] | None] = {
    "deleted": None,
    "empty": lambda content: b"",
    "cut": lambda content: content[: len(content) // 2],
    "one bit": lambda content: content[:-40] + bytes([content[-40] ^ 1]) + content[-39:],
    "null": lambda content: b"null",
    "no text": lambda content: b"\xff\xfe\x00" * 9,
}
READ_AGAIN = [
    "config.json",
    "cost.json",
    "loss.csv",
    "curve.json",
    "validation.json",
    "attention.json",
    "checkpoints/*",
]
WRITTEN_LAST = ["samples.npz", "real.npz", "features.npz"]


@pytest.fixture
def ended(tiny: Path, tmp_path: Path) -> Path:
    """A run that was killed while its record was to be written."""
    folder = Path(shutil.copytree(tiny, tmp_path / tiny.name))
    (folder / "result.json").unlink()
    RunFolder(folder).write_curve(())
    RunFolder(folder).write_attention_choices(())
    return folder


@pytest.mark.usefixtures("unprofiled")
@pytest.mark.parametrize("how", SPOIL)
@pytest.mark.parametrize("name", [*READ_AGAIN, *WRITTEN_LAST])
def test_whatever_is_damaged_is_made_again_or_named(name: str, how: str, ended: Path, tiny: Path) -> None:
    damaged = Damage(name, SPOIL[how]).do(ended)
    try:
        run(resolve(TINY), ended.parent, resume=True)
    except StbenchError as error:
        assert str(damaged) in str(error) and "delete it" in str(error) and "\n" not in str(error)
        assert read_record(ended).status == "failed"
        damaged.unlink()
        run(resolve(TINY), ended.parent, resume=True)
    record, whole = read_record(ended), read_record(tiny)
    assert record.finished
    assert record.training.steps == whole.training.steps == 6
    assert (record.counts, record.quality) == (whole.counts, whole.quality)
    assert record.validation.loss == pytest.approx(whole.validation.loss, rel=1e-6)
    if (name, how) != ("loss.csv", "one bit"):  # another digit in a log is a digit
        assert losses(ended) == losses(tiny)[: 7 - record.training.unlogged_steps]


@pytest.mark.parametrize("how", SPOIL)
@pytest.mark.parametrize("name", ["config.json", "checkpoints/*", "cost.json", "features.npz"])
def test_whatever_is_damaged_is_not_judged(name: str, how: str, ended: Path, tiny: Path) -> None:
    damaged = Damage(name, SPOIL[how]).do(ended)
    try:
        quality = evaluate_again(str(ended), [], None).quality
    except StbenchError as error:
        assert damaged.name in str(error) and "\n" not in str(error)
    else:
        assert quality.n_fake == 4
        assert how == "deleted" or name not in ("config.json", "checkpoints/*")


@pytest.mark.usefixtures("unprofiled")
def test_a_record_that_was_cut_is_written_again(ended: Path, tiny: Path) -> None:
    Path(shutil.copy(tiny / "result.json", ended)).write_bytes((tiny / "result.json").read_bytes()[:100])
    with pytest.raises(StbenchError, match=r"result\.json.*; delete it, and --resume writes it again"):
        run(resolve(TINY), ended.parent, resume=True)
    (ended / "result.json").unlink()
    assert read_record(run(resolve(TINY), ended.parent, resume=True)).finished


def test_a_record_of_another_run_is_not_this_one_s(ended: Path, tiny: Path) -> None:
    record = json.loads((tiny / "result.json").read_text())
    (ended / "result.json").write_text(json.dumps(record | {"config_hash": "0" * 64}))
    with pytest.raises(StbenchError, match=r"result\.json is of another run, configuration 00000000; delete it, and "):
        run(resolve(TINY), ended.parent, resume=True)


def test_a_video_that_cannot_be_read_ends_no_run_and_is_in_its_record(tmp_path: Path, unprofiled: None) -> None:
    """Found by no look at names and sizes; a resumed run, which may not meet it again, tells of it too."""
    for name in ("a", "b", "c", "d"):
        (tmp_path / "videos" / name).mkdir(parents=True)
        for index in range(6):
            Image.new("RGB", (8, 8), (40 * index, 0, 0)).save(tmp_path / "videos" / name / f"{index}.png")
    for frame in (tmp_path / "videos" / "b").iterdir():
        frame.write_bytes(frame.read_bytes()[:40])
    words = [word for word in TINY if not word.startswith("dataset")]
    words += ["dataset=video_folder", f"dataset.root={tmp_path / 'videos'}", "dataset.max_broken=0.3"]
    words += ["dataset.num_frames=4", "dataset.image_size=8", "dataset.frame_stride=1"]
    folder = run(resolve(words), tmp_path / "runs")
    [(name, reason)] = read_record(folder).training.lost_videos.items()
    assert (name, reason.partition(" (")[0]) == ("b", "unreadable image")
    (folder / "result.json").unlink()
    run(resolve(words), tmp_path / "runs", resume=True)
    assert read_record(folder).training.lost_videos == {name: reason}

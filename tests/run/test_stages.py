"""Whole runs: the record, resuming after a kill, failures that are recorded, and wrong use that leaves nothing."""

from __future__ import annotations

import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from stbench.errors import FinishedInPart, StbenchError
from stbench.records.protocol import difference
from stbench.records.sections import Cost, Counts, ValidationPoint
from stbench.records.store import read_record
from stbench.reports.report import write_report
from stbench.run import stages
from stbench.run.evaluation import Evaluation, Evaluator
from stbench.run.folder import RunFolder
from stbench.run.reuse import evaluate_again, load_run
from stbench.run.setup import prepare
from stbench.run.stages import RunStages, run
from stbench.run.validation import Validator
from stbench.settings.resolve import resolve
from stbench.signals import Interrupted
from stbench.storage.clips import load_clips
from stbench.training.start import read_any_weights

SMOKE = ["dataset=shapes", "preset=smoke", "device=cpu", "precision=float32", "attention=math"]


def test_record(judged: list[str], finished: Path) -> None:
    record = read_record(finished)
    assert record.finished
    assert record.run_id == finished.name
    config = prepare(resolve(judged)).config
    assert (record.config_hash, record.group_hash) == (config.config_hash, config.group_hash)
    assert record.config == config.to_dict()
    assert record.counts.gflops == 2 * record.counts.gmacs > 0
    assert record.counts.incomplete == ()
    assert set(record.counts.gmacs_by_counter) >= {"torch", "closed_form"}
    for what in ("forward", "train_step"):
        assert record.timing[what].unit == "s"
        assert min(record.timing[what].samples) > 0
    assert record.memory.peak_rss_mib > 0
    assert record.conditions.machine == record.machine.fingerprint
    assert (record.conditions.threads, record.conditions.precision) == (torch.get_num_threads(), "float32")
    assert record.training.steps == 6
    assert record.training.precision == "float32"
    assert record.quality.detector == "shapes3d"
    assert record.quality.fvd > 0
    assert (record.quality.n_real, record.quality.n_fake) == (80, 80)
    assert [(point.step, point.n_fake) for point in record.quality.curve] == [(0, 70), (6, 70)]
    (cheaper,) = {point.protocol_hash for point in record.quality.curve}
    assert cheaper != record.quality.protocol_hash
    assert record.quality.curve_protocol is not None
    apart = difference(record.quality.protocol, record.quality.curve_protocol)
    assert apart == {"num_real": (80, 70), "num_fake": (80, 70)}
    assert record.quality.n_real_vs_real == 80
    assert 0 < record.quality.fvd_real_vs_real < record.quality.fvd
    assert [point.step for point in record.validation.curve] == [0, 3, 6]
    assert record.validation.curve[-1].loss == record.validation.loss < record.validation.curve[0].loss
    assert (record.validation.n_clips, record.validation.draws, record.no_validation) == (8, 5, None)
    setup = prepare(resolve(judged))
    untrained = Evaluator(setup).evaluate(setup.build_backbone().eval(), "untrained").quality.fvd
    assert record.quality.fvd_untrained == pytest.approx(untrained, rel=1e-6)
    for name in record.files.values():
        assert (finished / name).is_file()
    with np.load(finished / "samples.npz") as samples, np.load(finished / "real.npz") as real:
        assert samples["clips"].shape == real["clips"].shape == (16, 8, 16, 16, 3)
        assert samples["labels"].tolist() == real["labels"].tolist() == [0, 1, 2, 3] * 4
    assert list(finished.glob("*.partial")) == []


def test_a_finished_run_is_left_alone(judged: list[str], finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = resolve(judged)
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*")}
    assert run(config, finished.parent, resume=True) == finished
    assert "is finished: nothing to do" in " ".join(capsys.readouterr().err.split())
    with pytest.raises(StbenchError, match="was finished before: --resume"):
        run(config, finished.parent)
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("*")} == before


def test_to_resume_with_other_videos_is_another_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    roots = [tmp_path / name for name in ("first", "other")]
    for brightness, root in enumerate(roots, start=1):
        for video in "ab":
            (root / video).mkdir(parents=True)
            for index in range(9 if root.name == "other" else 8):
                image = Image.fromarray(np.full((16, 16, 3), 10 * brightness, dtype=np.uint8))
                image.save(root / video / f"{index}.png")
    rest = [word for word in SMOKE if not word.startswith("dataset")]
    words = ["variant=latte1", "dataset=video_folder", *rest, "train.steps=1"]
    folders = [run(resolve([*words, f"dataset.root={root}"]), tmp_path / "runs", resume=True) for root in roots]
    assert folders[0] != folders[1]
    assert " ".join(capsys.readouterr().err.split()).count("is new: there is nothing to go on with") == 2
    assert read_record(folders[0]).training.loss_final != read_record(folders[1]).training.loss_final
    with pytest.raises(StbenchError, match=r"dataset\.root=/does/not/exist does not exist"):
        run(resolve([*words, "dataset.root=/does/not/exist"]), tmp_path / "runs", resume=True)


def test_seeds_share_a_protocol_and_differ_in_weights(judged: list[str], finished: Path) -> None:
    other = run(resolve([*judged, "seed=1"]), finished.parent)
    first, second = read_record(finished), read_record(other)
    assert first.quality.protocol_hash == second.quality.protocol_hash
    assert first.quality.fvd != second.quality.fvd


@pytest.fixture
def unmeasured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Costs are not measured, which takes longer than all else of a small run."""
    cost = Cost(counts=Counts(params_total=1, params_trainable=1, gmacs=1, gflops=2))
    monkeypatch.setattr(RunStages, "profile", lambda self: cost)


def labels_of_evaluations(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A list to which every evaluation adds its label."""
    labels: list[str] = []
    evaluate = Evaluator.evaluate

    def noted(self: Evaluator, backbone: nn.Module, label: str) -> Evaluation:
        labels.append(label)
        return evaluate(self, backbone, label)

    monkeypatch.setattr(Evaluator, "evaluate", noted)
    return labels


@pytest.mark.usefixtures("unmeasured")
def test_the_last_point_of_the_curve_is_the_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They had noise of their own each: 12.96 and 12.68 under one protocol hash, sampled twice."""
    sampled = labels_of_evaluations(monkeypatch)
    words = ["variant=latte1", *SMOKE, "eval.num_clips=70", "eval.every=3"]
    folder = run(resolve(words), tmp_path)
    record = read_record(folder)
    quality = record.quality
    assert {name: load_clips(folder / file).clips.shape for name, file in record.files.items() if "step" in name} == {
        name: load_clips(folder / "samples.npz").clips.shape for name in ("samples_step_0", "samples_step_3")
    }
    assert {point.protocol_hash for point in quality.curve} == {quality.protocol_hash}
    assert quality.curve[-1].fvd == quality.fvd
    assert quality.curve[0].fvd == quality.fvd_untrained
    assert sampled == ["sampling, step 0", "sampling, step 3", "sampling, step 6"]
    assert evaluate_again(str(folder), [], tmp_path).quality.fvd == pytest.approx(quality.fvd, rel=1e-6)


@pytest.mark.parametrize(
    ("words", "sampled"),
    [
        (["eval.num_clips=70", "eval.untrained=false"], "sampling, step 6"),
        (["eval.num_clips=70", "train.steps=0"], "sampling, step 0"),
        (["eval.num_clips=8", "eval.every=3"], "sampling, step 6"),  # no FVD of so few: the other figures, at the end
    ],
)
@pytest.mark.usefixtures("unmeasured")
def test_nothing_but_the_figure_is_sampled_where_nothing_else_is_asked_for_or_said(
    words: list[str], sampled: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = labels_of_evaluations(monkeypatch)
    quality = read_record(run(resolve(["variant=latte1", *SMOKE, *words]), tmp_path)).quality
    assert labels == [sampled]
    assert (quality.fvd_untrained, quality.curve) == (None, ())


@pytest.mark.usefixtures("unmeasured")
def test_a_point_of_the_validation_loss_is_measured_once_and_is_the_same_after_a_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words, measured = ["variant=latte1", *SMOKE, "train.checkpoint_every=5"], []
    whole = read_record(run(resolve(words), tmp_path / "whole"))
    validate = Validator.validate

    def stopping(self: Validator, backbone: nn.Module, step: int) -> ValidationPoint:
        measured.append(step)
        if measured == [0, 3, 6]:
            raise Interrupted(signal.SIGTERM, "")
        return validate(self, backbone, step)

    monkeypatch.setattr(Validator, "validate", stopping)
    with pytest.raises(Interrupted):
        run(resolve(words), tmp_path)
    assert measured == [0, 3, 6]
    again = read_record(run(resolve(words), tmp_path, resume=True))
    assert measured == [0, 3, 6, 6]
    assert again.validation == whole.validation


@pytest.mark.usefixtures("unmeasured")
def test_the_validation_loss_moves_no_training(tmp_path: Path) -> None:
    settings = ("eval.validation_clips=0", "eval.validation_every=1")
    folders = [run(resolve(["variant=latte1", *SMOKE, each]), tmp_path) for each in settings]
    without, often = (read_any_weights(folder)[0] for folder in folders)
    assert all(torch.equal(weights, often[name]) for name, weights in without.items())
    assert [read_record(folder).validation is None for folder in folders] == [True, False]


@pytest.mark.usefixtures("unmeasured")
def test_a_validation_loss_that_is_not_finite_ends_a_run_as_nan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def diverging(self: Validator, backbone: nn.Module, part: torch.Tensor) -> torch.Tensor:
        return torch.full(part.shape, float("nan"), dtype=torch.float64)

    monkeypatch.setattr(Validator, "_losses", diverging)
    with pytest.raises(FinishedInPart, match="training diverged by step 0: the validation loss is nan"):
        run(resolve(["variant=latte1", *SMOKE]), tmp_path)
    (record,) = (read_record(path) for path in tmp_path.iterdir())
    assert record.status == "nan"


@pytest.mark.parametrize("batch_size", [7, 80])
def test_the_batch_size_of_sampling_changes_nothing(judged: list[str], finished: Path, batch_size: int) -> None:
    words = [*judged, f"eval.batch_size={batch_size}"]
    again = RunStages(prepare(resolve(words)), RunFolder(finished))
    evaluation = again.evaluator.evaluate(again.initial_state().ema.module, "sampling")
    with np.load(finished / "features.npz") as kept:
        np.testing.assert_allclose(evaluation.real_features, kept["real"], rtol=1e-4, atol=1e-4)
        # Samples are rounded to 8 bits, so rounding in a matrix product may move single pixels by one step.
        np.testing.assert_allclose(evaluation.fake_features, kept["fake"], rtol=1e-2, atol=1e-2)
    assert evaluation.quality.fvd == pytest.approx(read_record(finished).quality.fvd, rel=1e-3)


WRONG = [
    (["variant=latte1", "dataset=ucf101"], r"dataset\.root"),
    (["variant=latte1", "dataset=ucf101", "dataset.root=/nowhere"], "/nowhere"),
    (["variant=latte1", "eval.cfg_scale=3", "dataset=clouds"], "needs classes"),
    (["variant=latte1", "variant.depth=3"], "depth=3 is odd"),
    (["variant=latte1", "variant.num_classes=3"], r"variant\.num_classes follows from the dataset"),
    (["variant=latte1", "train.init=nowhere.pt"], r"nowhere\.pt does not exist"),
    (["variant=latte1", "protocol=latte"], "unknown protocol 'latte': did you mean 'latte-"),
    (["variant=latte1", "protocol=latte-2048-16f", "eval.detector_weights=x.pt"], r"x\.pt"),
    (["variant=latte1", "autoencoder.name=sd-vae"], "sd-vae needs its weights"),
    (["variant=latte1", "device=cuda:9"], "device=cuda:9 is not available"),
    (["variant=latte1", "attention=cudnn"], "attention=cudnn cannot run"),
    (["variant=pseudo3d_unet", "attention=flash"], "bias"),
    (["variant=pseudo3d_unet", "train.joint_images=2"], "image"),
    (["variant=pseudo3d_unet", "dataset.image_size=12"], "12"),
    (["variant=latte1", "dataset.num_frames=3"], "num_frames=3"),
]


@pytest.mark.parametrize(
    ("words", "message"), WRONG, ids=lambda value: " ".join(value) if isinstance(value, list) else ""
)
def test_wrong_use_leaves_nothing_behind(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    given = {word.split("=")[0] for word in words}
    rest = [word for word in SMOKE if word.split("=")[0] not in given]
    with pytest.raises(StbenchError, match=message) as caught:
        run(resolve([*rest, *words]), tmp_path / "runs")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "runs").exists()


def test_divergence_and_memory_are_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FinishedInPart, match="training diverged at step"):
        run(resolve(["variant=latte1", *SMOKE, "train.lr=1e30", "train.steps=20"]), tmp_path)

    def exhausted(*args: object, **options: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 80 GiB.")

    monkeypatch.setattr(stages, "measure_costs", exhausted)
    with pytest.raises(FinishedInPart, match="out of memory"):
        run(resolve(["variant=latte2", *SMOKE]), tmp_path)
    records = {path.name.split("-")[0]: read_record(path) for path in tmp_path.iterdir()}
    assert records["latte1"].status == "nan"
    assert records["latte2"].status == "oom"
    assert "Tried to allocate 80 GiB" in str(records["latte2"].reason)
    write_report([tmp_path], tmp_path / "report")
    table = (tmp_path / "report" / "runs.md").read_text()
    assert "nan" in table
    assert "oom" in table


@pytest.mark.parametrize(
    ("dataset", "folder"), [("ucf101", "UCF-101"), ("skytimelapse", "sky_timelapse"), ("video_folder", "videos")]
)
def test_real_files(
    dataset: str, folder: str, shared_clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """So few clips allow no FVD: the record says that it was refused and why; likewise of the validation loss."""
    words = ["variant=latte1", f"dataset={dataset}", f"dataset.root={shared_clips / folder}", "preset=smoke"]
    record = read_record(run(resolve(words), tmp_path))
    assert record.finished
    assert record.quality.fvd is None
    assert "real clips, got" in record.quality.refused
    assert record.validation is None
    why = "sky_test is not there" if dataset == "skytimelapse" else "held out of training: dataset.held_out="
    assert why in record.no_validation
    assert f"no validation loss: {record.no_validation}" in " ".join(capsys.readouterr().err.split())


def test_other_objective_and_joint_training(tmp_path: Path) -> None:
    words = ["variant=latte2", *SMOKE, "diffusion.objective=ddpm", "train.joint_images=2", "eval.num_sampling_steps=3"]
    record = read_record(run(resolve(words), tmp_path))
    assert record.finished
    header, first = (tmp_path / record.run_id / "loss.csv").read_text().splitlines()[:2]
    assert float(dict(zip(header.split(","), first.split(","), strict=True))["vb"]) > 0


def test_image_pretraining_by_a_run_of_the_image_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A DiT trained here on single frames goes into the spatial blocks of a video model."""
    image = run(resolve(["variant=dit", *SMOKE]), tmp_path)
    words = ["variant=latte1", *SMOKE, f"train.init={image}", "train.steps=0"]
    video = run(resolve(words), tmp_path)
    assert read_record(video).config["contents"]["init_group"] == read_record(image).group_hash
    assert "into the spatial blocks" in " ".join(capsys.readouterr().err.split())
    (source, _), (loaded, _) = read_any_weights(image), read_any_weights(video)
    for theirs, ours in ((0, 0), (1, 2)):
        assert torch.equal(loaded[f"blocks.{ours}.mlp.0.weight"], source[f"blocks.{theirs}.mlp.0.weight"])
    assert read_record(video).training.steps == 0


@pytest.mark.usefixtures("unmeasured")
def test_a_run_at_several_strides(tmp_path: Path) -> None:
    """As Make-A-Video trains its interpolation: told the frame rate of every clip."""
    words = ["variant=pseudo3d_unet", "variant.frame_rate=true", "task=interpolate", "train.frame_strides=[1,2]"]
    config = resolve([*words, *SMOKE, "train.steps=2"])
    folder = run(config, tmp_path)
    assert read_record(folder).finished
    assert read_record(folder).config["train"]["frame_strides"] == [1, 2]
    trained = load_run(folder)
    assert trained.setup.fps == 8
    assert trained.backbone.backbone.fps_embed[-1].weight.abs().max() > 0
    assert run(config, tmp_path, resume=True) == folder

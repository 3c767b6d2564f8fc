"""No two figures that differ beyond rounding share a protocol hash: every setting and every argument in turn.

Each stands in one of two tables: what moves the figure of given weights moves the hash; what cannot move it is shown
not to. A new setting or argument fails here until it has its line.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from stbench.backbones.trial import fill_zeros
from stbench.data.loading import evaluation_clips
from stbench.metrics.detectors import Detector
from stbench.metrics.detectors.shapes3d import BUILTIN_WEIGHTS
from stbench.records.protocol import protocol_hash
from stbench.records.sections import Validation
from stbench.run.evaluation import Evaluator
from stbench.run.setup import prepare
from stbench.run.validation import Validator
from stbench.settings.components import load_component, signature_parameters
from stbench.settings.resolve import resolve
from stbench.settings.schema import dotted_settings

BASE = {
    "variant": "latte1",
    "dataset": "shapes",
    "preset": "smoke",
    "device": "cpu",
    "precision": "float32",
    "diffusion.objective": "ddpm",
    "eval.num_clips": "6",
    "eval.num_sampling_steps": "3",
    "eval.cfg_scale": "2",
}

MOVES_THE_FIGURE = {
    "diffusion.objective": "flow",
    "eval.num_clips": "7",
    "eval.sampler": "ddim",
    "eval.num_sampling_steps": "4",
    "eval.cfg_scale": "3",
    "eval.guided_channels": "all",
    "eval.seed": "1",
    "eval.detector_weights": "{detector}",
    "protocol": f"{__name__}:Means",
    "precision": "bfloat16",
}
MOVES_THE_VALIDATION_LOSS = {
    *("diffusion.objective", "eval.seed", "precision"),
    *("eval.validation_clips", "eval.validation_draws"),
}
MAKES_THE_WEIGHTS = {
    "diffusion.timestep_density": "logit_normal",
    "diffusion.timestep_shift": "3",
    "train.steps": "7",
    "train.batch_size": "3",
    "train.lr": "0.5",
    "train.lr_schedule": "cosine",
    "train.lr_warmup_steps": "2",
    "train.weight_decay": "0.5",
    "train.ema_decay": "0.5",
    "train.gradient_clip_norm": "0.5",
    "train.gradient_clip_from_step": "2",
    "train.class_dropout": "0.5",
    "train.joint_images": "2",
    "train.init": "{detector}",
    "train.freeze": "patch_embed",
    "train.checkpoint_every": "2",
    "seed": "1",
}
IS_WORK_OR_ANOTHER_FIGURE = {
    "train.num_workers": "1",
    "eval.batch_size": "4",
    "eval.every": "2",
    "eval.curve_clips": "5",
    "eval.curve_sampling_steps": "2",
    "eval.validation_clips": "9",
    "eval.validation_draws": "6",
    "eval.validation_every": "2",
    "eval.untrained": "false",
    "eval.report_clips": "2",
    "attention": "sdpa",
    "compile": "default",  # compiled code computes the same: tests/runtime/test_compilation.py
    "device": "auto",
    "track": "tensorboard",
}
NEEDS_FILES = {"autoencoder.name", "autoencoder.weights"}  # a test of their own
# Part of the network, as the variant's arguments are; no weights fit two of them.
MAKES_THE_NETWORK = {"context.name", "context.weights"}
# Under which task, and to what it is changed; each moves the figure.
OF_A_TASK = {
    "task": ("generate", "interpolate"),
    "interpolate.keep_every": ("interpolate", "3"),
    "upscale.factor": ("upscale", "2"),
    "upscale.shared_noise": ("upscale", "true"),
}
OF_FRAME_RATES = {"train.frame_strides"}
OF_A_PRIOR = {"eval.candidates"}  # tests/run/test_embeddings.py
CANNOT_MOVE_THE_FIGURE = MAKES_THE_WEIGHTS | IS_WORK_OR_ANOTHER_FIGURE


class Means(Detector):
    """The mean of every channel."""

    name, feature_dim, min_frames, weights_sha256, preprocessing = "means", 3, 1, "none", "as-is"

    def compute_features(self, clips: Tensor) -> Tensor:
        return clips.mean(dim=(2, 3, 4))


class Figure(NamedTuple):
    """What a figure is made of, and the hash of its protocol."""

    protocol_hash: str
    real: NDArray[np.float32]
    fake: NDArray[np.float32]
    validation: Validation

    def equals(self, other: Figure) -> bool:
        """Whether the features are the same but for rounding."""
        pairs = ((self.real, other.real), (self.fake, other.fake))
        return all(a.shape == b.shape and np.allclose(a, b, rtol=1e-3, atol=1e-3) for a, b in pairs)


def figure(**changed: str) -> Figure:
    """The figure of one and the same weights under the words of `BASE` with some changed."""
    setup = prepare(resolve([f"{key}={value}" for key, value in {**BASE, **changed}.items()]))
    backbone = setup.build_backbone().eval()
    give_weights(backbone)
    evaluation = Evaluator(setup).evaluate(backbone, "test")
    assert setup.validation_set is not None
    validator = Validator(setup, setup.validation_set)
    validation = validator.section((validator.validate(backbone, 0),))
    return Figure(evaluation.quality.protocol_hash, evaluation.real_features, evaluation.fake_features, validation)


def give_weights(backbone: nn.Module) -> None:
    """Weights that are no function of the run, none of them zero."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter.normal_(0, 0.05, generator=generator)


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Other weights for the built-in detector."""
    path = tmp_path_factory.mktemp("weights") / "detector.safetensors"
    save_file({name: 0.9 * tensor for name, tensor in load_file(BUILTIN_WEIGHTS).items()}, path)
    return str(path)


@pytest.fixture(scope="module")
def base() -> Figure:
    """The figure under the words of `BASE`."""
    return figure()


def test_every_setting_has_its_line() -> None:
    """Which table it belongs to: could it move the FVD of given weights?"""
    tables = (MOVES_THE_FIGURE, MAKES_THE_WEIGHTS, IS_WORK_OR_ANOTHER_FIGURE, NEEDS_FILES, MAKES_THE_NETWORK)
    others = (OF_A_TASK, OF_FRAME_RATES, OF_A_PRIOR)
    assert sorted(key for table in (*tables, *others) for key in table) == sorted(dotted_settings())


@pytest.mark.parametrize("key", MOVES_THE_FIGURE)
def test_what_moves_a_figure_moves_the_hash(key: str, base: Figure, detector: str) -> None:
    other = figure(**{key: MOVES_THE_FIGURE[key].format(detector=detector)})
    assert not other.equals(base)
    assert other.protocol_hash != base.protocol_hash
    check_validation(key, base, other)


@pytest.mark.parametrize("key", CANNOT_MOVE_THE_FIGURE)
def test_what_leaves_the_hash_leaves_the_figure(key: str, base: Figure, detector: str) -> None:
    changed = {key: CANNOT_MOVE_THE_FIGURE[key].format(detector=detector)}
    if key.startswith("diffusion.timestep"):  # of the other objective alone
        flow = {"diffusion.objective": "flow"}
        base, changed = figure(**flow), flow | changed
    other = figure(**changed)
    assert other.protocol_hash == base.protocol_hash
    assert other.equals(base)
    check_validation(key, base, other)


@pytest.mark.parametrize("key", OF_A_TASK)
def test_what_a_task_gives_moves_its_figures_and_their_hashes(key: str) -> None:
    task, value = OF_A_TASK[key]
    first, second = figure(task=task), figure(**{"task": task, key: value})
    assert not second.equals(first)
    assert second.protocol_hash != first.protocol_hash
    moves = key != "upscale.shared_noise"  # of the sampling alone
    assert (second.validation.protocol_hash != first.validation.protocol_hash) == moves
    assert (second.validation.loss != pytest.approx(first.validation.loss, rel=1e-5)) == moves


def test_the_frame_rate_that_is_told_moves_figures_and_their_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    # Behind norms of gains as small as those of `give_weights` nothing is left of a frame rate.
    monkeypatch.setattr(sys.modules[__name__], "give_weights", fill_zeros)
    network = {"variant": "pseudo3d_unet", "variant.frame_rate": "true"}
    untold, told, others, slower = (
        figure(**network, **more)
        for more in (
            {},
            {"train.frame_strides": "[1,2]"},
            {"train.frame_strides": "[3]"},  # of training alone
            {"train.frame_strides": "[1,2]", "dataset.frame_stride": "2"},
        )
    )
    assert told.equals(others)
    assert told.protocol_hash == others.protocol_hash
    assert told.validation == others.validation
    for other in (untold, slower):
        assert not np.allclose(told.fake, other.fake, rtol=1e-3, atol=1e-3)
        assert told.protocol_hash != other.protocol_hash
        assert told.validation.protocol_hash != other.validation.protocol_hash
        assert told.validation.loss != pytest.approx(other.validation.loss, rel=1e-5)


def check_validation(key: str, base: Figure, other: Figure) -> None:
    """Whether a setting moves the validation loss of given weights, and then and only then its hash."""
    (first, second), moves = (base.validation, other.validation), key in MOVES_THE_VALIDATION_LOSS
    assert (second.protocol_hash != first.protocol_hash) == moves
    assert (second.loss != pytest.approx(first.loss, rel=1e-5)) == moves


def test_other_files_of_the_autoencoder_move_the_hash(base: Figure, tmp_path: Path) -> None:
    diffusers = pytest.importorskip("diffusers")
    torch.manual_seed(0)
    widths = {"encoder_block_out_channels": (8, 8), "decoder_block_out_channels": (8, 8)}
    blocks = {"num_encoder_blocks": (1, 1), "num_decoder_blocks": (1, 1)}
    network = diffusers.AutoencoderTiny(**widths, **blocks, latent_channels=4)
    figures = []
    for folder, scale in (("here", 1.0), ("there", 1.0), ("scaled", 0.5)):
        network.register_to_config(scaling_factor=scale)
        network.save_pretrained(tmp_path / folder)
        weights = str(tmp_path / folder)
        figures.append(figure(**{"autoencoder.name": "taesd", "autoencoder.weights": weights}))
    here, there, scaled = figures
    assert here.protocol_hash == there.protocol_hash
    assert here.equals(there)
    assert len({base.protocol_hash, here.protocol_hash, scaled.protocol_hash}) == 3
    assert not here.equals(scaled)
    assert here.validation == there.validation
    assert here.validation.protocol_hash != scaled.validation.protocol_hash
    assert here.validation.loss != pytest.approx(scaled.validation.loss, rel=1e-5)


# ---- the real clips --------------------------------------------------------------------------------------------------

SIZES = {"image_size": "24", "num_frames": "6", "frame_stride": "2"}
DRAWN = {**SIZES, "seed": "1", "length": "50"}
SHAPES = {
    "num_shapes": "2",
    "shapes": "[square]",
    "motions": "[left,up]",
    "colors": "[red]",
    "background": "textured",
    "middle_time": "1",
}
MOVES_REAL_CLIPS = {
    "shapes": DRAWN | SHAPES,
    "clouds": DRAWN,
    "ucf101": SIZES | {"split": "train01"},
    "skytimelapse": SIZES | {"split": "test"},
    "video_folder": SIZES | {"labels": "folder"},  # the same real clips, but the samples have classes
}
# The protocol says which clips of a video are judged, and how they become squares; the rest is about training alone.
OF_FILES = {"seed": "3", "max_broken": "0.5", "probe": "decode", "spatial_rule": "resize-crop-lanczos", "held_out": "1"}
LEAVES_REAL_CLIPS = dict.fromkeys(("ucf101", "skytimelapse", "video_folder"), OF_FILES)
ROOT = {"root"}  # a test of its own


class RealClips(NamedTuple):
    """The real clips of a figure, how many classes its samples have, and the hash of its protocol."""

    protocol_hash: str
    num_classes: int
    clips: Tensor


def real_clips(dataset: str, root: Path, **arguments: str) -> RealClips:
    """Those of a run on a dataset, on the files of `root` where it has any."""
    given = {} if dataset in ("shapes", "clouds") else {"root": str(root / dataset)}
    words = BASE | {"dataset": dataset, "eval.cfg_scale": "1"}
    words |= {f"dataset.{name}": value for name, value in (given | arguments).items()}
    setup = prepare(resolve([f"{key}={value}" for key, value in words.items()]))
    batches = evaluation_clips(setup.reference, 6, setup.protocol.clip_seed, 6)
    clips = torch.cat([batch.clips for batch in batches])
    return RealClips(protocol_hash(setup.protocol), setup.dataset.num_classes, clips)


def write_frames(folder: Path, *seed: int) -> None:
    """A folder of images of noise."""
    folder.mkdir(parents=True)
    for index in range(24):
        frame = np.random.default_rng((*seed, index)).integers(0, 256, (20, 28, 3), dtype=np.uint8)
        Image.fromarray(frame).save(folder / f"{index:02d}.png")


def write_video(path: Path, seed: int) -> None:
    """An uncompressed video of noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("rawvideo", rate=25)
        stream.height, stream.width, stream.pix_fmt = 20, 28, "yuv420p"
        for index in range(24):
            frame = np.random.default_rng((seed, index)).integers(0, 256, (20, 28, 3), dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def write_datasets(root: Path, seed: int) -> Path:
    """Two videos of each of two classes or splits, in every layout."""
    for number, (part, name) in enumerate((part, name) for part in ("a", "b") for name in ("first", "second")):
        write_frames(root / "video_folder" / part / name, seed, number)
        split = {"a": "sky_train", "b": "sky_test"}[part]
        write_frames(root / "skytimelapse" / split / "video" / name, seed, number)
        write_video(root / "ucf101" / part / f"v_{name}.avi", 10 * seed + number)
    lists = root / "ucf101" / "ucfTrainTestlist"
    lists.mkdir()
    (lists / "trainlist01.txt").write_text("a/v_first.avi 1\nb/v_second.avi 2\n")
    (lists / "testlist01.txt").write_text("a/v_second.avi\nb/v_first.avi\n")
    return root


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the datasets of files lie, each in the folder of its name."""
    return write_datasets(tmp_path_factory.mktemp("datasets"), seed=0)


@pytest.mark.parametrize("dataset", MOVES_REAL_CLIPS)
def test_every_argument_of_a_dataset_has_its_line(dataset: str) -> None:
    listed = [*MOVES_REAL_CLIPS[dataset], *LEAVES_REAL_CLIPS.get(dataset, {})]
    arguments = signature_parameters(load_component("dataset", dataset)).keys()
    assert sorted(listed) == sorted(arguments - ROOT)


@pytest.mark.parametrize("dataset", MOVES_REAL_CLIPS)
def test_what_moves_real_clips_moves_the_hash(dataset: str, files: Path) -> None:
    base = real_clips(dataset, files)
    for name, value in MOVES_REAL_CLIPS[dataset].items():
        other = real_clips(dataset, files, **{name: value})
        assert other.num_classes != base.num_classes or not torch.equal(other.clips, base.clips), name
        assert other.protocol_hash != base.protocol_hash, name


@pytest.mark.parametrize("dataset", LEAVES_REAL_CLIPS)
def test_what_leaves_the_hash_leaves_the_real_clips(dataset: str, files: Path) -> None:
    base = real_clips(dataset, files)
    for name, value in LEAVES_REAL_CLIPS[dataset].items():
        other = real_clips(dataset, files, **{name: value})
        assert (other.protocol_hash, other.num_classes) == (base.protocol_hash, base.num_classes), name
        assert torch.equal(other.clips, base.clips), name


@pytest.mark.parametrize("dataset", LEAVES_REAL_CLIPS)
def test_other_files_move_the_hash_and_the_same_elsewhere_do_not(dataset: str, files: Path, tmp_path: Path) -> None:
    """Raw videos of equal names and sizes, too, and images of equal names."""
    base = real_clips(dataset, files)
    copied = real_clips(dataset, write_datasets(tmp_path / "copied", seed=0))
    assert copied.protocol_hash == base.protocol_hash
    assert torch.equal(copied.clips, base.clips)
    assert real_clips(dataset, write_datasets(tmp_path / "other", seed=1)).protocol_hash != base.protocol_hash


# ---- the held-out clips ----------------------------------------------------------------------------------------------

HOLDS_OUT = {"ucf101": {"split": "train01"}, "video_folder": {"held_out": "2"}}
OF_TRAINING = {"seed", "length", "max_broken", "probe"}  # alone: what is held out does not depend on it


def held_out_clips(dataset: str, root: Path, **arguments: str) -> RealClips:
    """Those of the validation loss of a run on a dataset."""
    given = {} if dataset in ("shapes", "clouds") else {"root": str(root / dataset), **HOLDS_OUT.get(dataset, {})}
    words = BASE | {"dataset": dataset, "eval.cfg_scale": "1", "eval.validation_draws": "10"}
    words |= {f"dataset.{name}": value for name, value in (given | arguments).items()}
    setup = prepare(resolve([f"{key}={value}" for key, value in words.items()]))
    assert setup.validation_set is not None
    validator = Validator(setup, setup.validation_set)
    return RealClips(validator.protocol_hash, setup.dataset.num_classes, validator._clips[0])


@pytest.mark.parametrize("dataset", MOVES_REAL_CLIPS)
def test_what_moves_held_out_clips_and_only_that_moves_their_hash(dataset: str, files: Path) -> None:
    base, arguments = held_out_clips(dataset, files), MOVES_REAL_CLIPS[dataset] | LEAVES_REAL_CLIPS.get(dataset, {})
    for name in arguments.keys() - {"split"}:  # which decides whether there are any
        other = held_out_clips(dataset, files, **{name: arguments[name]})
        same = other.num_classes == base.num_classes and torch.equal(other.clips, base.clips)
        assert same == (other.protocol_hash == base.protocol_hash) == (name in OF_TRAINING), name

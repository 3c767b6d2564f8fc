"""A cascade gives what its runs give one after the other, and refuses runs that do not fit together."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from stbench.errors import StbenchError
from stbench.run.cascade import cascade, cascade_to
from stbench.run.reuse import load_run, sample
from stbench.run.stages import run
from stbench.settings.resolve import resolve

BRIEF = ["variant=latte1", "train.steps=1", "eval.num_clips=2", "eval.untrained=false", "eval.cfg_scale=2"]
DECODER = ["dataset.num_frames=5", "dataset.image_size=8"]
INTERPOLATION = ["task=interpolate", "interpolate.keep_every=2", "dataset.num_frames=5", "dataset.image_size=8"]
ANIMATION = ["task=animate", "dataset.num_frames=5", "dataset.image_size=8"]
UPSCALING = ["task=upscale", "upscale.factor=2", "dataset.num_frames=6", "dataset.image_size=16"]


@pytest.fixture(scope="module")
def runs(smoke: list[str], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Trained for a step: 5 frames of 8x8, the 2 between 3 of them, 6 frames of 16x16; 4 of 8x8 behind a given one."""
    out = tmp_path_factory.mktemp("cascade")
    return [run(resolve([*smoke, *BRIEF, *own]), out) for own in (DECODER, INTERPOLATION, UPSCALING, ANIMATION)]


def test_clips_go_through_every_stage(runs: list[Path], tmp_path: Path) -> None:
    picture, made = cascade_to([str(path) for path in runs[:3]], 2, tmp_path / "out")
    assert picture.read_bytes()[:4] == b"RIFF"
    assert [stage.shape for stage in made.stages] == [(2, 5, 8, 8), (2, 9, 8, 8), (2, 9, 16, 16)]
    assert [stage.windows for stage in made.stages] == [1, 2, 2]
    between = cascade(runs[:2], 2).clips
    assert np.array_equal(between.clips[:, ::2], sample(runs[0], 2).clips), "given frames stay"
    steps = json.loads((tmp_path / "out" / "cascade.json").read_text())["stages"]
    assert [stage["task"] for stage in steps] == ["generate", "interpolate", "upscale"]


@pytest.fixture(scope="module")
def behind_a_prior(smoke: list[str], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A prior of two candidates, and a decoder that reads its embeddings, of 5 frames of 8x8."""
    out = tmp_path_factory.mktemp("behind")
    brief = [*smoke, *BRIEF[1:]]
    prior = ["variant=prior", "eval.candidates=2", "eval.num_sampling_steps=3"]
    decoder = ["variant=videocrafter_unet", "variant.context_dim=64", "context.name=toy-image", *DECODER]
    return [run(resolve([*brief, *own]), out) for own in (prior, decoder)]


def test_a_prior_comes_before_a_decoder_that_reads_its_embeddings(runs: list[Path], behind_a_prior: list[Path]) -> None:
    made = cascade([*behind_a_prior, *runs[1:3]], 2)
    assert [stage.task for stage in made.stages] == ["prior", "generate", "interpolate", "upscale"]
    assert [stage.shape for stage in made.stages[:2]] == [(2, 1, 1, 1), (2, 5, 8, 8)]
    assert made.clips.clips.shape == (2, 9, 16, 16, 3)
    assert made.clips.labels.tolist() == [0, 1]
    record = load_run(behind_a_prior[0]).record
    assert record and record.counts
    assert made.stages[0].gmacs == pytest.approx(2 * 2 * 3 * record.counts.gmacs)  # guidance, candidates, steps
    alone = cascade([*behind_a_prior, *runs[1:3]], 1).clips
    assert np.abs(alone.clips.astype(int) - made.clips.clips[:1]).max() <= 1  # rounding, as batches differ


def test_runs_that_do_not_fit_a_prior_are_refused(runs: list[Path], behind_a_prior: list[Path]) -> None:
    prior, decoder = behind_a_prior
    for order, message in (
        ([prior, runs[0]], "expected a run of context.name=toy-image, got class"),
        ([decoder, prior], "is of task=prior: expected it at the beginning alone"),
        ([prior], "a cascade takes a run of task=generate, and behind it those of other tasks"),
    ):
        with pytest.raises(StbenchError, match=re.escape(message)):
            cascade(order)


def test_a_clip_does_not_depend_on_how_many_there_are(runs: list[Path]) -> None:
    one, two = cascade(runs[:3], 1).clips, cascade(runs[:3], 2).clips
    assert one.labels.tolist() == two.labels[:1].tolist()
    assert np.abs(one.clips.astype(int) - two.clips[:1]).max() <= 1  # rounding, as batches differ


def test_costs_are_those_of_all_network_evaluations(runs: list[Path]) -> None:
    stages = cascade(runs[:3], 1).stages
    for path, stage in zip(runs[:3], stages, strict=True):
        record = load_run(path).record
        assert record and record.counts
        steps = record.config["eval"]["num_sampling_steps"]
        assert stage.gmacs == pytest.approx(2 * steps * stage.windows * record.counts.gmacs)  # 2: guidance
        assert stage.seconds > 0


@pytest.mark.parametrize(
    ("order", "message"),
    [
        ((0,), "a cascade takes a run of task=generate, and behind it those of other tasks"),
        ((1, 0), "is of task=interpolate: expected a run of task=generate at the beginning"),
        ((0, 0), "is of task=generate: expected it at the beginning alone"),
        ((0, 3), "is of task=animate, which is no stage of a cascade"),
        ((0, 2), "is given 6 frames at once: expected clips of no fewer, got 5"),
        ((0, 1, 2, 1), "is given frames of 8x8 pixels: those before it are 16x16"),
    ],
)
def test_runs_that_do_not_fit_are_refused(runs: list[Path], order: tuple[int, ...], message: str) -> None:
    with pytest.raises(StbenchError, match=re.escape(message)):
        cascade([runs[number] for number in order])

"""A run whose context is a frame of the clip: what is told in training and sampling, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from stbench.data.embeddings import FrameEmbedding
from stbench.errors import StbenchError
from stbench.records.store import read_record
from stbench.run.given import given_clips
from stbench.run.reuse import load_run, sample
from stbench.run.setup import Setup, prepare
from stbench.run.stages import run
from stbench.run.validation import Validator
from stbench.settings.resolve import resolve

SMOKE = [
    *("variant=videocrafter_unet", "variant.context_dim=64", "context.name=toy-image", "dataset=shapes"),
    *("preset=smoke", "device=cpu", "precision=float32", "train.steps=1", "eval.cfg_scale=2"),
]


def setup_of(*words: str) -> Setup:
    given = dict(word.split("=") for word in [*SMOKE, *words])
    return prepare(resolve([f"{key}={value}" for key, value in given.items()]))


def test_samples_are_told_the_last_frames_of_held_out_clips_and_no_class() -> None:
    setup = setup_of()
    given = given_clips(setup, 5)
    assert given is not None
    [batch] = given.batches()
    told = given.told(batch)
    assert told.class_labels is None
    assert told.context is not None
    assert torch.equal(told.context[:, 0], FrameEmbedding()(batch.clips[:, :, -1]))
    assert setup.protocol.class_labels == "none of held-out clips, of which is given: its last frame, by toy-image"
    assert given_clips(setup_of("context.name=class"), 5) is None


def test_it_trains_and_samples(tmp_path: Path) -> None:
    folder = run(resolve(SMOKE), tmp_path)
    record = read_record(folder)
    assert record.finished
    assert record.quality is not None
    assert record.quality.fidelity is None  # nothing says what the other frames ought to be
    trained = load_run(folder)
    assert "context.class_embed.weight" not in trained.backbone.state_dict()
    drawn = sample(trained, 3)
    assert drawn.clips.shape == (3, 8, 16, 16, 3)
    assert len(set(drawn.labels.tolist())) > 1  # the classes of the clips whose frames were given


def test_classes_are_not_needed() -> None:
    setup = setup_of("dataset=clouds")
    assert setup.task.context_shape == (1, 64)


def test_what_is_told_moves_the_validation_loss_and_its_hash() -> None:
    hashes = set()
    for words in (["dataset=clouds"], ["dataset=clouds", "context.name=class", "eval.cfg_scale=1"]):
        setup = setup_of(*words)
        assert setup.validation_set is not None
        hashes.add(Validator(setup, setup.validation_set).protocol_hash)
    assert len(hashes) == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["variant.context_dim=32"], "VideoCrafterUNet reads tokens of 32 channels: the context's have 64"),
        (["train.joint_images=2"], r"train\.joint_images=2: context\.name=toy-image is of clips alone"),
    ],
)
def test_what_does_not_fit_is_refused_before_any_work(words: list[str], message: str) -> None:
    with pytest.raises(StbenchError, match=message):
        setup_of(*words)


def test_a_network_that_reads_no_context_is_refused() -> None:
    with pytest.raises(StbenchError, match=r"Latte reads no context: set context\.name=class"):
        prepare(resolve(["variant=latte1", "dataset=shapes", "preset=smoke", "context.name=toy-image"]))

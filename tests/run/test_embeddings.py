"""A run of a prior: what its record says, how one of several candidates is chosen, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from stbench.data.embeddings import FrameEmbedding, NameEmbedding
from stbench.data.loading import evaluation_clips
from stbench.errors import StbenchError
from stbench.metrics.embedding_cosines import embedding_cosines
from stbench.records.store import read_record
from stbench.run.embeddings import NO_CLIPS, nearest_to_text, sample_embeddings
from stbench.run.reuse import TrainedRun, evaluate, load_run, sample
from stbench.run.setup import prepare
from stbench.run.stages import run
from stbench.settings.resolve import resolve
from stbench.storage.arrays import read_arrays

SMOKE = ["variant=prior", "dataset=shapes", "preset=smoke", "device=cpu", "precision=float32"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(resolve(SMOKE), tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def trained(folder: Path) -> TrainedRun:
    return load_run(folder)


def test_the_record_has_cosines_and_no_fvd(folder: Path, trained: TrainedRun) -> None:
    record = read_record(folder)
    assert record.finished
    assert record.quality is not None
    assert record.validation is not None
    assert (record.quality.fvd, record.quality.refused, record.quality.label) == (None, NO_CLIPS, "refused")
    assert record.quality.curve == ()
    kept = read_arrays(folder / "features.npz", ("real", "fake"))
    [real] = evaluation_clips(trained.setup.reference, 8, trained.setup.protocol.clip_seed, 8)
    assert real.labels is not None
    np.testing.assert_allclose(kept["real"], FrameEmbedding()(real.clips[:, :, -1]), rtol=1e-4, atol=1e-5)
    expected = embedding_cosines(kept["fake"], np.arange(8) % 4, kept["real"], real.labels.numpy())
    assert record.quality.cosines == expected
    assert set(record.files) == {"real", "features", "loss_curve"}


def test_an_evaluation_repeats_and_other_steps_are_another(folder: Path, trained: TrainedRun) -> None:
    before = read_record(folder).quality
    assert before is not None
    assert evaluate(trained).cosines == before.cosines
    other = evaluate(trained, {"eval.num_sampling_steps": 5})
    assert other.cosines != before.cosines
    assert other.protocol_hash != before.protocol_hash


def test_the_best_of_two_is_at_least_as_near_to_its_text_as_either() -> None:
    drawn = torch.randn(2, 50, 6, generator=torch.Generator().manual_seed(0))
    texts = torch.randn(50, 6, generator=torch.Generator().manual_seed(1))
    best = nearest_to_text(drawn, texts)

    def cosines(embeddings: Tensor) -> Tensor:
        return F.cosine_similarity(embeddings, texts, dim=-1)

    assert torch.equal(cosines(best), torch.maximum(cosines(drawn[0]), cosines(drawn[1])))
    assert 0 < (best == drawn[1]).all(dim=1).float().mean() < 1  # each is chosen now and then


def test_one_of_the_candidates_is_the_sample_without_others(trained: TrainedRun) -> None:
    two = trained.under({"eval.candidates": 2})
    single, best = (sample_embeddings(each.backbone, each.setup, 12) for each in (trained, two))
    torch.testing.assert_close(best.norm(dim=1), torch.ones(12))
    same = torch.isclose(single, best, atol=1e-5).all(dim=1)
    assert same.any()
    assert not same.all()
    texts = NameEmbedding()([*trained.setup.dataset.class_names] * 3)[:, 0]
    assert ((best * texts).sum(dim=1) >= (single * texts).sum(dim=1) - 1e-6).all()
    assert two.setup.protocol.class_labels == "4 classes in turn, the best of 2 by their text"


def test_there_is_nothing_to_look_at(trained: TrainedRun) -> None:
    with pytest.raises(StbenchError, match=f"{NO_CLIPS}: there is nothing to look at"):
        sample(trained)


def refusals() -> Iterator[tuple[list[str], str]]:
    """Words besides those of a prior's run, and what they are refused with."""
    yield ["autoencoder.name=pixels"], r"one embedding a clip \(autoencoder.name=embedding\): got latents of 8 frames"
    yield ["eval.candidates=2", "context.name=class"], "chooses by the text, which context.name=class has none of"
    yield ["variant=latte1", "eval.candidates=2"], "chooses among embeddings: autoencoder.name=pixels makes clips"
    yield ["dataset=clouds"], r"context\.name=toy-text needs the names of classes, and dataset 'clouds' has none"
    yield ["variant.head_dim=3"], "head_dim=3 must be even"


@pytest.mark.parametrize(("words", "message"), list(refusals()))
def test_what_does_not_fit_is_refused_before_any_work(words: list[str], message: str) -> None:
    given = dict(word.split("=") for word in [*SMOKE, *words])
    with pytest.raises(StbenchError, match=message):
        prepare(resolve([f"{key}={value}" for key, value in given.items()]))


@pytest.mark.parametrize("objective", ["ddpm", "flow"])
def test_a_prior_trains_under_other_objectives_and_reads_classes_that_it_learns(objective: str, tmp_path: Path) -> None:
    words = [f"diffusion.objective={objective}", "context.name=class", "eval.validation_clips=0", "train.steps=1"]
    record = read_record(run(resolve([*SMOKE, *words]), tmp_path))
    assert record.quality is not None
    assert record.quality.cosines is not None

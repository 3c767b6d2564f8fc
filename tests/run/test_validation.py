"""The validation loss: closed forms, repeated to the last bit, and the same for every network of a size of its own."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from stbench.backbones.base import UNCONDITIONAL, Conditioning
from stbench.backbones.latte import Latte
from stbench.backbones.trial import fill_zeros
from stbench.diffusion.grid import EDGES
from stbench.diffusion.schedule import NoiseSchedule
from stbench.records.sections import ValidationPoint
from stbench.run.setup import prepare
from stbench.run.validation import Validator
from stbench.settings.resolve import resolve
from stbench.training.divergence import TrainingDiverged

SMOKE = ["dataset=shapes", "preset=smoke", "device=cpu", "precision=float32", "attention=math"]
OBJECTIVES = ["ddpm", "flow"]


def validator_of(*words: str, variant: str = "latte1") -> Validator:
    setup = prepare(resolve([f"variant={variant}", *SMOKE, *words]))
    assert setup.validation_set is not None
    return Validator(setup, setup.validation_set)


class Answering(nn.Module):
    """Predicts what a function of noisy latents and timesteps says, and notes what it was asked."""

    def __init__(self, objective: str, answer: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.channels, self.answer = (6 if objective == "ddpm" else 3), answer
        self.asked: list[tuple[Tensor, Tensor | None]] = []

    def forward(self, noisy: Tensor, timesteps: Tensor, conditioning: Conditioning = UNCONDITIONAL) -> Tensor:
        self.asked.append((timesteps, conditioning.class_labels))
        answer = self.answer(noisy, timesteps.view(-1, 1, 1, 1, 1))
        return torch.cat([answer, torch.zeros_like(answer)], 1)[:, : self.channels]


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_who_knows_the_clip_has_no_loss(objective: str) -> None:
    """Of one clip the noise follows from the noisy one: what is asked for is what was added."""
    validator = validator_of(f"diffusion.objective={objective}", "eval.validation_clips=1", "eval.validation_draws=10")
    frames, _ = validator.dataset.batch([0], [0])
    clip = (torch.from_numpy(frames).permute(0, 4, 1, 2, 3) / 127.5 - 1).float()
    remaining = NoiseSchedule.linear().alphas_cumprod

    def noise(noisy: Tensor, timesteps: Tensor) -> Tensor:
        kept = remaining[timesteps].float()
        return (noisy - kept.sqrt() * clip) / (1 - kept).sqrt()

    def velocity(noisy: Tensor, timesteps: Tensor) -> Tensor:
        return (noisy - clip) / (timesteps / 1000)

    exact = Answering(objective, noise if objective == "ddpm" else velocity)
    assert validator.validate(exact, 0).loss == pytest.approx(0, abs=1e-8)


def test_who_predicts_no_noise_has_a_loss_of_one() -> None:
    point = validator_of("diffusion.objective=ddpm").validate(Answering("ddpm", lambda noisy, _: 0 * noisy), 7)
    assert point.loss == pytest.approx(1, abs=0.02)
    assert point.step == 7
    assert point.buckets == pytest.approx([1] * 10, abs=0.05)


def test_a_bucket_is_the_mean_of_its_timesteps() -> None:
    """Who errs by t / 1000 has a mean square of 1 + (t / 1000)²: over bucket b, 1 + (b + 1/2)² / 100 + 1/1200."""
    validator = validator_of("diffusion.objective=ddpm", "eval.validation_draws=100")
    point = validator.validate(Answering("ddpm", lambda noisy, t: (t / 1000).expand_as(noisy)), 0)
    assert point.buckets == pytest.approx([1 + (b + 0.5) ** 2 / 100 + 1 / 1200 for b in range(10)], abs=0.01)
    assert point.loss == pytest.approx(1 + 1 / 3, abs=0.005)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_every_clip_is_shown_with_its_own_label_at_every_tenth_of_the_schedule(objective: str) -> None:
    validator = validator_of(f"diffusion.objective={objective}", "eval.validation_clips=8", "eval.validation_draws=10")
    asked = Answering(objective, lambda noisy, _: 0 * noisy)
    validator.validate(asked, 0)
    timesteps, labels = (torch.cat(each) for each in zip(*asked.asked, strict=True))
    assert timesteps.is_floating_point() == (objective == "flow")
    assert torch.equal(timesteps.view(8, 10).double().div(100).long(), torch.arange(10).expand(8, 10))
    assert labels.view(8, 10).unique(dim=1).shape == (8, 1)
    assert labels.bincount().tolist() == [20] * 4  # the classes in turn


@pytest.mark.parametrize("words", [["eval.batch_size=7"], ["eval.batch_size=40", "train.num_workers=1"]])
def test_batches_and_workers_change_nothing_but_rounding(words: list[str]) -> None:
    backbone = validator_of().setup.build_backbone().eval()
    for parameter in backbone.parameters():
        nn.init.normal_(parameter, 0, 0.05)
    here, there = validator_of().validate(backbone, 0), validator_of(*words).validate(backbone, 0)
    assert there.buckets == pytest.approx(here.buckets, rel=1e-5)


def test_the_same_weights_give_the_same_figure_to_the_last_bit_and_draw_nothing() -> None:
    validator = validator_of()
    backbone = validator.setup.build_backbone().eval()
    before, point = torch.get_rng_state(), validator.validate(backbone, 0)
    assert torch.equal(torch.get_rng_state(), before)
    assert validator.validate(backbone, 0) == validator_of().validate(backbone, 0) == point


def test_networks_of_any_size_and_training_share_a_protocol_and_objectives_do_not() -> None:
    own = validator_of().protocol_hash
    assert validator_of("variant.patch_size=8", "train.lr=1", "seed=3", "dataset.seed=5").protocol_hash == own
    assert validator_of(variant="pseudo3d_unet").protocol_hash == own
    assert validator_of("diffusion.objective=ddpm").protocol_hash != own


def test_a_loss_that_is_not_finite_is_a_training_that_diverged() -> None:
    with pytest.raises(TrainingDiverged, match="training diverged by step 3: the validation loss is nan"):
        validator_of().validate(Answering("flow", lambda noisy, _: noisy / 0 * 0), 3)


def test_the_section_tells_the_last_point() -> None:
    validator = validator_of()
    curve = tuple(ValidationPoint(step=step, loss=step / 2, buckets=(step,) * 10) for step in (0, 3))
    section = validator.section(curve)
    assert (section.loss, section.buckets, section.curve) == (1.5, (3,) * 10, curve)
    assert (section.n_clips, section.draws, section.edges) == (8, 5, EDGES)


@pytest.mark.parametrize(
    ("steps", "every", "due"), [(6, 3, {0, 3, 6}), (7, 3, {0, 3, 6, 7}), (7, 0, {0, 7}), (0, 3, {0}), (0, 0, {0})]
)
def test_it_is_due_before_and_after_training_and_on_the_way(steps: int, every: int, due: set[int]) -> None:
    assert validator_of(f"train.steps={steps}", f"eval.validation_every={every}").steps == due


@pytest.mark.parametrize("variant", ["latte1", "latte2", "latte3", "latte4", "dit"])
def test_every_block_is_diagnosed_and_the_network_left_as_it_was(variant: str) -> None:
    validator = validator_of(variant=variant)
    backbone = validator.setup.build_backbone().eval()
    fill_zeros(backbone)
    before = validator.validate(backbone, 0)
    found = validator.diagnose(backbone)
    assert found is not None
    assert isinstance(backbone, Latte)
    assert len(found.frame_similarity) == len(backbone.frame_blocks)
    assert all(-1 <= similarity <= 1 for similarity in found.frame_similarity)
    assert len(set(found.frame_similarity)) == len(found.frame_similarity)
    assert validator.validate(backbone, 0) == before


def test_what_does_not_name_its_blocks_is_not_diagnosed() -> None:
    validator = validator_of()
    assert validator.diagnose(Answering("flow", lambda noisy, _: noisy)) is None


def test_frames_of_one_block_that_mixes_nothing_are_as_alike_as_their_noise() -> None:
    """At half of the way the noise, which every frame has of its own, leaves less in common than the clips have."""
    validator = validator_of("eval.validation_clips=1", "eval.validation_draws=10")
    backbone = Answering("flow", lambda noisy, _: noisy)
    passing = nn.Identity()

    def answer(noisy: Tensor, _: Tensor) -> Tensor:
        return passing(noisy.transpose(1, 2)).transpose(1, 2)

    backbone.answer, backbone.frame_blocks = answer, [passing]  # type: ignore[assignment]
    found = validator.diagnose(backbone)
    assert found is not None
    assert found.n_pairs == 10
    assert 0.1 < found.frame_similarity[0] < 0.9

"""Validation loss: what a backbone is trained to minimise, on held-out clips at fixed timesteps and noise.

Every network is asked the same, so that two of them differ by what they have learned and not by what was drawn for
them: the timesteps are those of `TimestepGrid`, and the noise is a function of `eval.seed`, clip and draw. Only the
mean squared error counts: the bound of `ddpm` trains the variance alone, and `flow` has none.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from statistics import mean
from typing import NamedTuple

import torch
from torch import Tensor, nn

from stbench.backbones.base import Conditioning
from stbench.data.clips import ClipDataset
from stbench.data.loading import evaluation_clips
from stbench.diffusion.grid import EDGES, NUM_BUCKETS, TimestepGrid
from stbench.diffusion.loss import Backbone, diffusion_loss, find_objective
from stbench.errors import StbenchError
from stbench.metrics.detectors.base import full_precision
from stbench.metrics.frame_similarity import watched_similarity
from stbench.metrics.protocol import ClipFacts, clip_facts
from stbench.progress import progress_bar
from stbench.records.sections import Diagnostics, Validation, ValidationPoint
from stbench.run.setup import Setup
from stbench.runtime.seeds import generator
from stbench.storage.hashing import sha256_of
from stbench.training.divergence import TrainingDiverged

DIAGNOSED = 64  # pairs of clip and draw, the first ones
CLIP_SEED = 0  # of the choice where more videos are held out than are asked for
# Raise it with every change of this package that changes a validation loss.
VALIDATION_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class ValidationProtocol:
    """Everything that moves the validation loss of given weights; losses of unequal ones are not compared."""

    objective: str
    precision: str
    clips: ClipFacts  # the held-out videos, and how clips are taken from them
    clip_seed: int = CLIP_SEED
    num_clips: int
    num_classes: int  # each clip is shown with its own
    autoencoder: str
    autoencoder_sha256: str | None
    draws: int
    noise_seed: int
    num_buckets: int = NUM_BUCKETS
    version: int = VALIDATION_VERSION


class HeldOut(NamedTuple):
    """Held-out clips as latents, and what a network is told of them.

    Attributes:
        latents: (n, C, F, H, W), the mean where they have a distribution.
        labels: (n,)
        context: (n, L, D)
        concat: (n, E, F, H, W)
    """

    latents: Tensor
    labels: Tensor | None
    context: Tensor | None
    concat: Tensor | None

    def told(self, clips: Tensor) -> Conditioning:
        """What is told of some of the clips."""
        labels, context, concat = (None if each is None else each[clips] for each in self[1:])
        return Conditioning(labels, context, concat=concat)


class Validator:
    """Measures the validation loss of a run's network, as often as one likes.

    Args:
        setup: of the run.
        dataset: the held-out clips.

    Attributes:
        grid: the timesteps.
        steps: how many steps of training it is measured after: none, all, and some between.
        protocol_hash: of all that moves the figure but the network.
    """

    def __init__(self, setup: Setup, dataset: ClipDataset) -> None:
        self.setup, self.dataset = setup, dataset
        settings = setup.config.settings.eval
        self.grid = TimestepGrid(min(settings.validation_clips, len(dataset)), settings.validation_draws)
        last = setup.config.settings.train.steps
        self.steps = frozenset((0, last, *range(0, last, settings.validation_every or max(1, last))))
        # Of a task that makes whole clips nothing is said, as it was before there were others.
        told: dict[str, object] = {"restoration": setup.restoration.describe()} if setup.restoration else {}
        told |= {"fps": setup.fps} if setup.fps else {}
        told |= {"context": setup.config.settings.context.name} if setup.frame_context else {}
        self.protocol_hash = sha256_of({**asdict(self._protocol()), **told})

    def validate(self, backbone: nn.Module, step: int) -> ValidationPoint:
        """The validation loss of a backbone in evaluation mode after so many steps.

        Raises:
            TrainingDiverged: it is not finite.
            StbenchError: too few held-out clips can be read.
        """
        losses: list[Tensor] = []
        with progress_bar(f"validation, step {step}", len(self.grid), log_lines=1) as advance:
            for part in torch.arange(len(self.grid)).split(self.setup.config.settings.eval.batch_size):
                losses.append(self._losses(backbone, part))
                advance(len(part), note=f"loss {torch.cat(losses).mean():.4f}")
        found, buckets = torch.cat(losses), self.grid.buckets
        if not math.isfinite(loss := found.mean().item()):
            raise TrainingDiverged(f"training diverged by step {step}: the validation loss is {loss:g}")
        means = tuple(found[buckets == bucket].mean().item() for bucket in range(NUM_BUCKETS))
        return ValidationPoint(step=step, loss=loss, buckets=means)

    def diagnose(self, backbone: nn.Module) -> Diagnostics | None:
        """What passes through a backbone in evaluation mode; None where it names no blocks, and for one frame."""
        blocks = getattr(backbone, "frame_blocks", [])
        if not blocks or self.setup.dataset.num_frames < 2:
            return None
        pairs = torch.arange(min(len(self.grid), DIAGNOSED))
        with watched_similarity(blocks) as by_block:
            for part in pairs.split(self.setup.config.settings.eval.batch_size):
                self._losses(backbone.forward, part)  # by itself: compiled code may pass hooks by
        return Diagnostics(n_pairs=len(pairs), frame_similarity=tuple(mean(found) for found in by_block))

    def section(self, curve: tuple[ValidationPoint, ...]) -> Validation:
        """The record's section; the last point of the curve is the figure."""
        return Validation(
            protocol_hash=self.protocol_hash,
            n_clips=self.grid.num_clips,
            draws=self.grid.draws,
            edges=EDGES,
            loss=curve[-1].loss,
            buckets=curve[-1].buckets,
            curve=curve,
        )

    @torch.no_grad()
    def _losses(self, backbone: Backbone, part: Tensor) -> Tensor:
        """The errors (B,) float64 of some of the pairs of clip and draw."""
        setup, settings = self.setup, self.setup.config.settings
        device, draws = setup.runtime.device, self.grid.draws
        held_out, clips = self._clips, part // draws
        chosen = held_out.latents[clips]  # (B, C, F, H, W)
        noise = torch.stack([self._noise(*divmod(pair, draws)) for pair in part.tolist()])
        timesteps = self.grid.timesteps[part]
        whole = find_objective(settings.diffusion.objective).whole_timesteps
        with full_precision(device.type), setup.runtime.autocast():
            terms = diffusion_loss(
                backbone,
                chosen.to(device),
                (timesteps.long() if whole else timesteps.float()).to(device),
                noise.to(device),
                held_out.told(clips).at_rate(setup.fps, len(part)).to(device),
                settings.diffusion.objective,
            )
        return terms.mse.double().cpu()

    def _noise(self, clip: int, draw: int) -> Tensor:
        """Standard normal, on the CPU: a GPU's generator draws other numbers from the same seed."""
        random = generator(torch.device("cpu"), self.setup.config.settings.eval.seed, "validation", clip, draw)
        return torch.randn(self.setup.latent_shape, generator=random)

    @cached_property
    def _clips(self) -> HeldOut:
        """The held-out clips."""
        parts = zip(*self._encoded(), strict=True)
        latents, *told = (None if part[0] is None else torch.cat(part) for part in parts)
        assert latents is not None
        if len(latents) < self.grid.num_clips:
            raise StbenchError(f"only {len(latents)} of {self.grid.num_clips} held-out clips can be read")
        return HeldOut(latents, *told)

    def _encoded(self) -> Iterator[HeldOut]:
        setup, settings, device = self.setup, self.setup.config.settings, self.setup.runtime.device
        wanted, workers = self.grid.num_clips, settings.train.num_workers
        for batch in evaluation_clips(self.dataset, wanted, CLIP_SEED, settings.eval.batch_size, workers):
            clips = batch.clips.to(device)
            with full_precision(device.type), torch.no_grad():
                latents = setup.autoencoder.encode(clips)
                context = setup.frame_context(clips).cpu() if setup.frame_context else None
                given = setup.restoration.of(clips, latents, setup.autoencoder.encode) if setup.restoration else None
            labels = batch.labels if setup.num_classes else None
            yield HeldOut(latents.cpu(), labels, context, None if given is None else given.cpu())

    def _protocol(self) -> ValidationProtocol:
        setup, settings = self.setup, self.setup.config.settings
        return ValidationProtocol(
            objective=settings.diffusion.objective,
            precision=setup.runtime.precision,
            clips=clip_facts(self.dataset, setup.config.dataset),
            num_clips=self.grid.num_clips,
            num_classes=setup.num_classes,
            autoencoder=setup.autoencoder.name,
            autoencoder_sha256=setup.autoencoder.weights_sha256,
            draws=self.grid.draws,
            noise_seed=settings.eval.seed,
        )

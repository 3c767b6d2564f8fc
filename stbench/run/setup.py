"""From a configuration to the things of a run: dataset, autoencoder, detector, protocol, and how to build the backbone.

Everything that can be refused is refused here, before a folder is made or a step is trained.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, ParamSpec, TypeVar, cast

import torch
from torch import Tensor, nn

from stbench.backbones.base import RUN_FACTS
from stbench.backbones.freezing import freeze
from stbench.backbones.layers import check_context_width, read_classes_as
from stbench.backbones.trial import Task
from stbench.data.autoencoders import Autoencoder, build_autoencoder
from stbench.data.clips import ClipDataset
from stbench.data.context import FrameContext, class_tokens, context_encoder
from stbench.data.scanning import FolderDataset
from stbench.data.strides import MixedStrides
from stbench.diffusion.grid import TimestepGrid
from stbench.diffusion.loss import find_objective
from stbench.diffusion.samplers import check_length, check_sampling, guided_channel_count, is_queue
from stbench.errors import StbenchError
from stbench.metrics.detectors import Detector, build_detector, try_detector
from stbench.metrics.lpips import find_lpips
from stbench.metrics.protocol import SamplingFacts, clip_facts, filled_in, get_protocol
from stbench.profiling.workbench import Conditions, Subject
from stbench.profiling.workload import Workload
from stbench.records.protocol import OPEN, Protocol
from stbench.run.contents import find_contents
from stbench.run.generation import SamplingSpec, describe_told
from stbench.runtime.attention.attend import set_attention_backend
from stbench.runtime.device import Runtime, choose_runtime
from stbench.runtime.seeds import derived_seed
from stbench.settings.components import Component, load_target
from stbench.settings.schema import FRAME_CONTEXTS, TEXT_CONTEXTS, EvalConfig, RunConfig, Settings
from stbench.tasks.concat import with_concat
from stbench.tasks.restorations import Restoration, restoration_of

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class Setup:
    """What a run works with.

    Attributes:
        config: the resolved configuration, with what the run is made of.
        runtime: device, precision and attention backend.
        dataset: clips such as are to be made.
        training_set: clips to train on: those of `dataset`, or of its videos at the strides of `train.frame_strides`.
        reference: the same videos as the protocol reads them, which generated clips are compared with.
        validation_set: held-out videos, read as those to train on; None without a validation loss.
        restoration: its task, where a part of every clip is given; None where clips are made whole.
        no_validation: why there is none, one line.
        autoencoder: clips to latents.
        detector: clips to features.
        protocol: how quality is measured, everything filled in.
        class_tokens: (num_classes + 1, L, D), what cross-attention reads of each class; None where it learns that.
        frame_context: what makes the context of clips that cross-attention reads instead; None where it reads classes.
    """

    config: RunConfig
    runtime: Runtime
    dataset: ClipDataset
    training_set: ClipDataset
    reference: ClipDataset
    validation_set: ClipDataset | None
    no_validation: str | None
    autoencoder: Autoencoder
    detector: Detector
    protocol: Protocol
    class_tokens: Tensor | None = None
    frame_context: FrameContext | None = None
    restoration: Restoration | None = None

    @property
    def latent_shape(self) -> tuple[int, int, int, int]:
        """(C, F, H, W) of one clip's latents."""
        return self.autoencoder.latent_shape(self.dataset.num_frames, self.dataset.image_size)

    @property
    def num_classes(self) -> int:
        """How many the backbone is told apart: none where it reads what clips show."""
        return 0 if self.frame_context else self.dataset.num_classes

    @property
    def fps(self) -> float | None:
        """Frames per second of the clips of `dataset`, where the backbone is told them; None where it is not."""
        return self.training_set.fps if isinstance(self.training_set, MixedStrides) else None

    @property
    def sampling(self) -> SamplingSpec:
        """How this run samples."""
        evaluation = self.config.settings.eval
        return SamplingSpec(
            objective=self.config.settings.diffusion.objective,
            sampler=self.config.sampler,
            num_sampling_steps=evaluation.num_sampling_steps,
            cfg_scale=evaluation.cfg_scale,
            guided_channels=evaluation.guided_channels,
            num_classes=self.num_classes,
            latent_shape=self.latent_shape,
            batch_size=evaluation.batch_size,
            window=self.latent_shape[1],
            shared_noise=self.restoration is not None and self.restoration.shared_noise,
            fps=self.fps,
        )

    @property
    def backbone_arguments(self) -> dict[str, Any]:
        """The facts of the run that a backbone's constructor may ask for."""
        channels, num_frames, side, _ = self.latent_shape
        learned_variance = find_objective(self.config.settings.diffusion.objective).learned_variance
        values = (channels, side, num_frames, self.num_classes, learned_variance)
        return dict(zip(RUN_FACTS, values, strict=True))

    @property
    def task(self) -> Task:
        """What the run asks of its backbone."""
        settings = self.config.settings
        objective = find_objective(settings.diffusion.objective)
        return Task(
            latent_shape=self.latent_shape,
            num_classes=self.num_classes,
            learned_variance=objective.learned_variance,
            whole_timesteps=objective.whole_timesteps,
            batch_size=settings.train.batch_size,
            joint_images=settings.train.joint_images,
            runtime=self.runtime,
            context_shape=self.frame_context.shape if self.frame_context else None,
            concat_channels=self.restoration.num_channels(self.autoencoder.channels) if self.restoration else 0,
            fps=self.fps,
        )

    @property
    def architecture(self) -> dict[str, Any]:
        """What the backbone is, whatever run it is built for: its class, and the arguments that no run fills in."""
        variant = self.config.variant
        arguments = {name: value for name, value in variant.settled.items() if name not in RUN_FACTS}
        task = {"task": self.config.settings.task} if self.restoration else {}
        return {"backbone": variant.target, "arguments": {**arguments, **task}}

    @property
    def workload(self) -> Workload:
        """The input that the costs of the run refer to."""
        task = self.task
        return Workload(
            task.latent_shape,
            task.num_classes,
            context_shape=task.context_shape,
            joint_images=task.joint_images,
            whole_timesteps=task.whole_timesteps,
            concat_channels=task.concat_channels,
        )

    @property
    def subject(self) -> Subject:
        """What is measured of the run's costs."""
        return Subject(self.construct_backbone, self.workload)

    @property
    def conditions(self) -> Conditions:
        """What the run's costs are measured under."""
        settings = self.config.settings
        return Conditions(self.runtime, settings.diffusion.objective, settings.train.batch_size, settings.compile)

    @property
    def during_training(self) -> Setup:
        """The same setup, judged by the cheaper protocol of the evaluations during training, with a hash of its own."""
        settings, evaluation = self.config.settings, self.config.settings.eval
        cheaper = replace(
            evaluation,
            num_clips=evaluation.curve_clips or evaluation.num_clips,
            num_sampling_steps=evaluation.curve_sampling_steps or evaluation.num_sampling_steps,
        )
        setup = replace(self, config=replace(self.config, settings=replace(settings, eval=cheaper)))
        return replace(setup, protocol=_filled_in(setup))

    def construct_unfrozen(self) -> nn.Module:
        """A fresh backbone on torch's current default device, its weights drawn from the run's seed."""
        torch.manual_seed(derived_seed(self.config.settings.seed, "weights"))
        backbone = with_concat(self.config.variant, self.backbone_arguments, self.task.concat_channels)
        if self.class_tokens is not None:
            read_classes_as(backbone, self.class_tokens.to(torch.get_default_device()))
        return backbone

    def construct_backbone(self) -> nn.Module:
        """The same, as the run trains it: without gradients for what `train.freeze` names."""
        return freeze(self.construct_unfrozen(), self.config.settings.train.freeze)

    def build_backbone(self) -> nn.Module:
        """A fresh backbone on the run's device with its attention backend."""
        backbone = self.construct_backbone().to(self.runtime.device)
        set_attention_backend(backbone, self.runtime.attention, self.runtime.attention_choices)
        return backbone


@dataclass(frozen=True)
class Parts:
    """What runs that are prepared one after the other may share: datasets, autoencoders, detectors; each built once."""

    _built: dict[str, Any] = field(default_factory=dict)

    def once(self, build: Callable[P, T], *made_of: P.args, **named: P.kwargs) -> T:
        """What `build` makes of these, or has made of such before."""
        key = repr((build, made_of, named))
        if key not in self._built:
            self._built[key] = build(*made_of, **named)
        return cast(T, self._built[key])


def prepare(config: RunConfig, parts: Parts | None = None) -> Setup:
    """Build everything but the backbone's weights.

    Args:
        config: of the run.
        parts: those that runs prepared before have built, and get what this one builds.

    Raises:
        StbenchError: for whatever is missing or does not fit together.
    """
    settings, once = config.settings, (parts or Parts()).once
    given = [name for name in RUN_FACTS if name in config.variant.arguments]
    if given:
        raise StbenchError(f"variant.{given[0]} follows from the dataset, the autoencoder and the objective of a run")
    load_target(config.variant)  # what cannot be imported is refused before videos are looked for
    runtime = choose_runtime(settings.device, settings.precision, settings.attention)
    autoencoder = once(build_autoencoder, settings.autoencoder.name, settings.autoencoder.weights)
    protocol, detector = once(_protocol_with_detector, settings.protocol, settings.eval.detector_weights)
    dataset = once(Component.construct, config.dataset)
    reference = once(_reference_dataset, config.dataset, dataset, protocol)
    _check_fit(config, dataset, autoencoder, protocol)
    detector.check_num_frames(dataset.num_frames, "dataset.num_frames")
    try_detector(detector, dataset.num_frames, dataset.image_size)
    validation_set, no_validation = _validation_set(dataset, settings.eval)
    encoder = once(context_encoder, settings.context.name, settings.context.weights)
    frame_context, texts = (encoder, None) if isinstance(encoder, FrameContext) else (None, encoder)
    contents = find_contents(config, dataset, validation_set, autoencoder, detector, encoder)
    setup = Setup(
        config=replace(config, contents=contents),
        runtime=runtime,
        dataset=dataset,
        training_set=_training_set(settings, dataset),
        reference=reference,
        validation_set=validation_set,
        no_validation=no_validation,
        autoencoder=autoencoder.to(runtime.device),
        detector=detector.to(runtime.device),
        protocol=protocol,
        class_tokens=class_tokens(texts, dataset.class_names) if texts else None,
        frame_context=frame_context.to(runtime.device) if frame_context else None,
        restoration=_restoration(settings, dataset),
    )
    with torch.device("meta"):  # figures that do not fit together are refused before any work
        backbone = setup.construct_backbone()
    if frame_context:
        check_context_width(backbone, frame_context.shape[-1])
    if setup.fps and not getattr(backbone, "reads_frame_rate", False):
        raise StbenchError(
            f"train.frame_strides: variant {config.variant.name!r} reads no frame rate: expected one that does, such "
            "as videocrafter_unet, or pseudo3d_unet with variant.frame_rate=true"
        )
    _check_sampling(setup, backbone)
    return replace(setup, protocol=_filled_in(setup))


def _training_set(settings: Settings, dataset: ClipDataset) -> ClipDataset:
    """The clips to train on; refused where the dataset cannot be read at the strides that are asked for."""
    strides = settings.train.frame_strides
    if strides is None:
        return dataset
    try:
        return MixedStrides(dataset, strides)
    except StbenchError as error:
        raise StbenchError(f"train.frame_strides={list(strides)}: {error}") from error


def _restoration(settings: Settings, dataset: ClipDataset) -> Restoration | None:
    """What the task gives of a clip; refused where the clips do not fit it."""
    restoration = restoration_of(settings)
    if restoration is None:
        return None
    restoration.check_fit(dataset.num_frames, dataset.image_size)
    find_lpips()  # a file that is none is refused before any work
    if settings.train.joint_images:
        raise StbenchError(f"train.joint_images={settings.train.joint_images}: task={settings.task} knows clips alone")
    if is_queue(settings.eval.sampler):
        raise StbenchError(
            f"eval.sampler={settings.eval.sampler} makes clips from nothing: not for task={settings.task}"
        )
    return restoration


def _check_sampling(setup: Setup, backbone: nn.Module) -> None:
    """Refuse what cannot be sampled, at the end or on the way, before a training."""
    check_length(backbone, setup.sampling, setup.latent_shape[1])
    for key, sampling in (
        ("num_sampling_steps", setup.sampling),
        ("curve_sampling_steps", setup.during_training.sampling),
    ):
        try:
            check_sampling(sampling)
        except StbenchError as error:
            raise StbenchError(f"eval.{key}={sampling.num_sampling_steps}: {error}") from error


def _protocol_with_detector(name: str, weights: str | None) -> tuple[Protocol, Detector]:
    """A protocol with its detector; "module:Class" is the builtin protocol with another package's detector."""
    protocol = get_protocol(name)
    preprocessing = None if protocol.preprocessing is OPEN else protocol.preprocessing
    detector = build_detector(protocol.detector, weights, preprocessing)
    if detector.per_frame:
        raise StbenchError(f"protocol={name}: the detector {detector.name} judges single frames, a run judges clips")
    return protocol, detector


def _check_fit(config: RunConfig, dataset: ClipDataset, autoencoder: Autoencoder, protocol: Protocol) -> None:
    """Refuse settings that a dataset's clips do not fit, and a dataset without any."""
    if not len(dataset):
        raise StbenchError(f"dataset {config.dataset.name!r} has no videos")
    if dataset.image_size % autoencoder.downsampling:
        raise StbenchError(
            f"dataset.image_size={dataset.image_size} is not a multiple of {autoencoder.downsampling}, "
            f"by which autoencoder.name={autoencoder.name} shrinks"
        )
    _check_context(config, dataset)
    _check_candidates(config.settings, autoencoder)
    scale = config.settings.eval.cfg_scale
    if scale != 1 and not dataset.num_classes and config.settings.context.name not in FRAME_CONTEXTS:
        raise StbenchError(
            f"eval.cfg_scale={scale} needs classes, and dataset {config.dataset.name!r} has none: expected 1"
        )
    for setting, own, judged, unit in (
        ("num_frames", dataset.num_frames, protocol.num_frames, "frames"),
        ("image_size", dataset.image_size, protocol.resolution, "pixels"),
    ):
        if judged not in (OPEN, own):
            raise StbenchError(f"the protocol judges clips of {judged} {unit}: dataset.{setting}={own} does not fit")


def _check_context(config: RunConfig, dataset: ClipDataset) -> None:
    """Refuse a context that the clips, or the images beside them, do not have."""
    context, joint_images = config.settings.context.name, config.settings.train.joint_images
    if context in TEXT_CONTEXTS and not dataset.num_classes:
        raise StbenchError(
            f"context.name={context} needs the names of classes, and dataset {config.dataset.name!r} has none"
        )
    if context in FRAME_CONTEXTS and joint_images:
        raise StbenchError(f"train.joint_images={joint_images}: context.name={context} is of clips alone")


def _check_candidates(settings: Settings, autoencoder: Autoencoder) -> None:
    """Refuse to choose among samples by their text where there is none, or no embedding to hold against it."""
    if settings.eval.candidates == 1:
        return
    if autoencoder.makes_clips:
        raise StbenchError(
            f"eval.candidates={settings.eval.candidates} chooses among embeddings: autoencoder.name={autoencoder.name} "
            "makes clips"
        )
    if settings.context.name not in TEXT_CONTEXTS:
        raise StbenchError(
            f"eval.candidates={settings.eval.candidates} chooses by the text, which context.name="
            f"{settings.context.name} has none of: expected toy-text"
        )


def _reference_dataset(component: Component, dataset: ClipDataset, protocol: Protocol) -> ClipDataset:
    """The dataset as the protocol reads real videos: its stride, its seed of clips, its rule for making frames square.

    A stride that the protocol leaves open is the run's own. Videos that are drawn are square, and the seed is theirs.
    Those of a folder that are held out of training are real all the same.
    """
    stride = dataset.frame_stride if protocol.frame_stride_real is OPEN else protocol.frame_stride_real
    wanted: dict[str, Any] = {"frame_stride": stride}
    if not dataset.seed_draws_videos:
        wanted["seed"] = protocol.clip_seed
    if hasattr(dataset, "spatial_rule"):
        wanted["spatial_rule"] = protocol.spatial_rule
    if hasattr(dataset, "held_out"):
        wanted["held_out"] = 0
    if all(getattr(dataset, name) == value for name, value in wanted.items()):
        return dataset
    if isinstance(dataset, FolderDataset):  # its folder need not be scanned again
        try:
            return dataset.with_reading(**wanted)
        except StbenchError as error:
            raise StbenchError(f"dataset {component.name!r}: {error}") from error
    return component.with_arguments(wanted).construct()


def _validation_set(dataset: ClipDataset, settings: EvalConfig) -> tuple[ClipDataset | None, str | None]:
    """The videos of the validation loss, or why there is none, which is no reason not to train."""
    if not settings.validation_clips:
        return None, "eval.validation_clips=0"
    try:
        found = dataset.validation_set(settings.validation_clips)
        TimestepGrid(min(len(found), settings.validation_clips), settings.validation_draws)
    except StbenchError as error:
        return None, str(error)
    return found, None


def _guided_channels(setup: Setup) -> int | None:
    """How many channels guidance changes, which the backbone may decide; None without guidance."""
    sampling = setup.sampling
    if sampling.cfg_scale == 1:
        return None
    with torch.device("meta"):
        backbone = setup.construct_backbone()
    return guided_channel_count(backbone, sampling.objective, sampling.guided_channels, setup.latent_shape[0])


def _filled_in(setup: Setup) -> Protocol:
    """The preset protocol with what only the run knows."""
    evaluation = setup.config.settings.eval
    return filled_in(
        setup.protocol,
        detector=setup.detector.facts,
        clips=clip_facts(setup.reference, setup.config.dataset),
        sampling=SamplingFacts(
            num_real=None if setup.protocol.num_real is None else evaluation.num_clips,
            num_fake=evaluation.num_clips,
            sampler=setup.config.sampler,
            num_sampling_steps=evaluation.num_sampling_steps,
            cfg_scale=evaluation.cfg_scale,
            guided_channels=_guided_channels(setup),
            class_labels=describe_told(
                setup.num_classes,
                setup.restoration,
                setup.config.settings.context.name,
                evaluation.candidates,
                setup.fps,
            ),
            sampling_precision=setup.runtime.precision,
            ema=True,
            autoencoder=setup.autoencoder.name,
            autoencoder_sha256=setup.autoencoder.weights_sha256,
            sampling_seed=evaluation.seed,
        ),
    )

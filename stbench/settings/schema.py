"""Every setting of a run: its type, its default, its range, one line of meaning, and whether it can move a result."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from dataclasses import dataclass, field
from typing import Any, get_type_hints

from stbench.settings.components import Component

_OF_SCHEDULES = ("ddpm", "ddim", "fifo-ddim", "fifo-ddim-disjoint")
# What each objective can be sampled with, its usual sampler first.
OBJECTIVE_SAMPLERS = {
    "ddpm": _OF_SCHEDULES,
    "x0": _OF_SCHEDULES,
    "flow": ("euler", "fifo-euler", "fifo-euler-disjoint"),
}
# What a network reads: the classes' names, or the clips' frames; "class" is neither.
TEXT_CONTEXTS, FRAME_CONTEXTS = ("clip-text", "toy-text"), ("clip-image", "toy-image")
TASKS = ("generate", "interpolate", "upscale", "animate")
TRACKERS = ("tensorboard", "wandb", "mlflow")
SAMPLERS = tuple(dict.fromkeys(name for names in OBJECTIVE_SAMPLERS.values() for name in names))


def setting(
    default: Any,
    about: str,
    *,
    at_least: float | None = None,
    more_than: float | None = None,
    at_most: float | None = None,
    choices: tuple[str, ...] | None = None,
    hashed: bool = True,
) -> Any:
    """Declare one setting: its default, one line of meaning, its range, and whether it can move a result."""
    limits = {"at_least": at_least, "more_than": more_than, "at_most": at_most, "choices": choices}
    return field(default=default, metadata={"about": about, **limits, "hashed": hashed})


@dataclass(frozen=True)
class AutoencoderConfig:
    """What turns clips into latents."""

    name: str = setting(
        "pixels",
        "pixels (none), a frozen image autoencoder, or embedding: of the last frame, for priors",
        choices=("pixels", "sd-vae", "taesd", "embedding"),
    )
    weights: str | None = setting(None, "folder of the autoencoder's weights, diffusers layout", hashed=False)


@dataclass(frozen=True)
class ContextConfig:
    """What cross-attention reads."""

    name: str = setting(
        "class",
        "class: a learned token each; clip-text, toy-text: its name, by CLIP or the built-in stand-in; "
        "clip-image, toy-image: the clip's last frame, by these",
        choices=("class", *TEXT_CONTEXTS, *FRAME_CONTEXTS),
    )
    weights: str | None = setting(None, "folder of CLIP's weights, transformers layout", hashed=False)


@dataclass(frozen=True)
class DiffusionConfig:
    """What the backbone is trained to predict."""

    objective: str = setting(
        "ddpm",
        "ddpm (noise and learned variance), x0 (clean latents, as priors do) or flow (rectified)",
        choices=tuple(OBJECTIVE_SAMPLERS),
    )
    timestep_density: str = setting(
        "uniform", "how training draws timesteps; logit_normal is for flow", choices=("uniform", "logit_normal")
    )
    timestep_shift: float = setting(
        1.0, "above 1 training draws timesteps nearer to noise; for flow, and 1 is none", more_than=0
    )


@dataclass(frozen=True)
class TrainConfig:
    """How the backbone is trained."""

    steps: int = setting(50_000, "optimizer steps", at_least=0)
    batch_size: int = setting(16, "clips per step", at_least=1)
    lr: float = setting(1e-4, "learning rate of AdamW, reached after the warm-up", at_least=0)
    lr_schedule: str = setting(
        "constant", "after the warm-up: constant, or a cosine to 0", choices=("constant", "cosine")
    )
    lr_warmup_steps: int = setting(0, "steps over which the learning rate rises linearly", at_least=0)
    weight_decay: float = setting(0.0, "of AdamW", at_least=0)
    ema_decay: float = setting(
        0.9999, "decay of the averaged weights, which are what is evaluated", at_least=0, at_most=1
    )
    gradient_clip_norm: float | None = setting(1.0, "largest gradient norm; null: no limit", more_than=0)
    gradient_clip_from_step: int = setting(0, "first step whose gradient is clipped", at_least=0)
    class_dropout: float = setting(0.1, "share of labels replaced by the null class", at_least=0, at_most=1)
    frame_strides: tuple[int, ...] | None = setting(
        None, "strides of which each clip is read at one, its frame rate being told; null: dataset.frame_stride, untold"
    )
    joint_images: int = setting(0, "random frames appended to each clip as images", at_least=0)
    init: str | None = setting(
        None, "weights to start from: a published file, a run, or safetensors; what is in them is hashed", hashed=False
    )
    freeze: str | None = setting(None, "regular expression: parameters with it in their name are not trained")
    checkpoint_every: int = setting(5_000, "steps between checkpoints", at_least=1, hashed=False)
    num_workers: int = setting(0, "processes that read clips; never changes the result", at_least=0, hashed=False)


@dataclass(frozen=True)
class EvalConfig:
    """How samples are drawn for the figures and the report."""

    num_clips: int = setting(2048, "generated and real clips that the distances compare", at_least=2)
    sampler: str = setting(
        "auto", "auto takes the objective's first: ddpm, or euler for flow", choices=("auto", *SAMPLERS)
    )
    num_sampling_steps: int = setting(250, "network evaluations per sample", at_least=1)
    cfg_scale: float = setting(1.0, "classifier-free guidance; 1 is none", at_least=0, at_most=100)
    guided_channels: str = setting(
        "published", "guide the channels that the backbone's authors guide, or all", choices=("published", "all")
    )
    seed: int = setting(
        0, "seed of the noise of samples and of the validation loss, the same for every training seed", at_least=0
    )
    batch_size: int = setting(32, "clips sampled at once; never changes the result", at_least=1, hashed=False)
    every: int = setting(0, "steps between evaluations during training, 0 for none", at_least=0)
    curve_clips: int | None = setting(None, "num_clips of the evaluations during training; null: the same", at_least=2)
    curve_sampling_steps: int | None = setting(
        None, "num_sampling_steps of the evaluations during training; null: the same", at_least=1
    )
    validation_clips: int = setting(512, "held-out clips of the validation loss, 0 for none", at_least=0)
    validation_draws: int = setting(5, "timesteps, with a noise each, at which it takes every clip", at_least=1)
    validation_every: int = setting(
        5_000, "steps between its points; 0: only before the first and after the last", at_least=0
    )
    untrained: bool = setting(
        True, "judge the network before its first step, too, as a reference for the final FVD", hashed=False
    )
    candidates: int = setting(1, "of so many embeddings that a prior makes the nearest to its text", at_least=1)
    report_clips: int = setting(16, "samples kept for the report", at_least=1, hashed=False)
    detector_weights: str | None = setting(None, "weights file of the protocol's detector", hashed=False)


@dataclass(frozen=True)
class InterpolateConfig:
    """What `task=interpolate` is given of a clip."""

    keep_every: int = setting(4, "of so many frames the first is given, and the clip's last", at_least=2)


@dataclass(frozen=True)
class UpscaleConfig:
    """What `task=upscale` is given of a clip."""

    factor: int = setting(4, "given is the clip at so much less height and width", at_least=2)
    shared_noise: bool = setting(False, "sample all frames of a clip from one noise, as a stage of images does")


@dataclass(frozen=True)
class Settings:
    """Everything about a run but the variant and the dataset."""

    autoencoder: AutoencoderConfig = field(default_factory=AutoencoderConfig)
    diffusion: DiffusionConfig = field(default_factory=DiffusionConfig)
    context: ContextConfig = field(default_factory=ContextConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    eval: EvalConfig = field(default_factory=EvalConfig)
    interpolate: InterpolateConfig = field(default_factory=InterpolateConfig)
    upscale: UpscaleConfig = field(default_factory=UpscaleConfig)
    task: str = setting("generate", "make clips from nothing, frames between, pixels, or a still move", choices=TASKS)
    protocol: str = setting("builtin", "how quality is measured; see `stbench list protocols`")
    precision: str = setting("auto", "auto takes bfloat16 where it is fast", choices=("auto", "float32", "bfloat16"))
    attention: str = setting(
        "auto",
        "how attention is computed; auto times what there is",
        choices=("auto", "math", "sdpa", "flash", "efficient", "cudnn", "xformers", "flex"),
    )
    compile: str = setting("off", "torch.compile", choices=("off", "default", "max-autotune"))
    device: str = setting("auto", "auto | cpu | cuda | cuda:N", hashed=False)
    track: str = setting(
        "off", "where a run is shown while it trains; see `stbench[track]`", choices=("off", *TRACKERS), hashed=False
    )
    seed: int = setting(0, "seed of the weights, the order of the clips and the noise of training", at_least=0)


@dataclass(frozen=True, kw_only=True)
class Contents:
    """SHA-256 of what a run is made of, wherever it lies; None of what it does without.

    The code is that of classes which do not come with stbench: their module, and what that imports from beside it.
    """

    videos: str  # the dataset's manifest
    detector: str  # weights of what judges the run
    held_out: str | None = None  # the manifest of the videos of the validation loss
    autoencoder: str | None = None  # weights and configuration
    context: str | None = None  # weights and configuration of what encodes the classes' names
    init: str | None = None  # the file that training starts from
    init_group: str | None = (
        None  # the `group_hash` of the finished run that it is of: each seed may start from its own
    )
    variant_code: str | None = None
    dataset_code: str | None = None
    detector_code: str | None = None


@dataclass(frozen=True)
class RunConfig:
    """A resolved run; `to_dict` is what the record keeps.

    Attributes:
        variant: the backbone and its arguments.
        dataset: the dataset and its arguments.
        settings: everything else.
        preset: the preset that was asked for.
        contents: what the run is made of; None until it was prepared, as words do not tell.
        trained_as: of a trained run that is evaluated under these settings instead of its own: the beginning of its
            `group_hash`. None for a run.
    """

    variant: Component
    dataset: Component
    settings: Settings
    preset: str
    contents: Contents | None = None
    trained_as: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as the record keeps them."""
        components = {"variant": self.variant.to_dict(), "dataset": self.dataset.to_dict()}
        contents = {"contents": dataclasses.asdict(self.contents)} if self.contents else {}
        return {**components, **dataclasses.asdict(self.settings), "preset": self.preset, **contents, **self._trained}

    @property
    def config_hash(self) -> str:
        """SHA-256 of everything that can move a result; where files lie and how work is split is left out."""
        return _sha256(self._hashed())

    @property
    def group_hash(self) -> str:
        """SHA-256 of what `config_hash` covers, but for seeds, that of a run which training starts from among them."""
        content = self._hashed()
        del content["seed"]
        if content["contents"]["init_group"]:
            del content["contents"]["init"]
        return _sha256(content)

    def _hashed(self) -> dict[str, Any]:
        """Everything that can move a result: the components, the settings declared as `hashed`, and the contents."""
        assert self.contents is not None, "a run is known by its contents, which `prepare` finds"
        components = {"variant": self.variant.to_dict(), "dataset": self.dataset.to_dict()}
        components["dataset"]["arguments"].pop("root", None)
        hashed = {key: lookup(self.settings, key) for key, each in dotted_settings().items() if each.metadata["hashed"]}
        return {**components, **hashed, "contents": dataclasses.asdict(self.contents), **self._trained}

    @property
    def _trained(self) -> dict[str, str]:
        return {"trained_as": self.trained_as} if self.trained_as else {}

    @property
    def run_id(self) -> str:
        """Name of the run's folder."""
        return f"{self.variant.name}-{self.dataset.name}-{self.preset}-s{self.settings.seed}-{self.config_hash[:8]}"

    @property
    def sampler(self) -> str:
        """The sampler that `auto` stands for under this objective, or the one that was named."""
        named = self.settings.eval.sampler
        return OBJECTIVE_SAMPLERS[self.settings.diffusion.objective][0] if named == "auto" else named


def dotted_settings() -> dict[str, dataclasses.Field[Any]]:
    """Every setting by its dotted name."""
    found: dict[str, dataclasses.Field[Any]] = {}
    for outer in dataclasses.fields(Settings):
        section = outer.default_factory
        if section is dataclasses.MISSING:
            found[outer.name] = outer
        else:
            found |= {f"{outer.name}.{inner.name}": inner for inner in dataclasses.fields(section())}
    return found


@functools.cache
def setting_types() -> dict[str, Any]:
    """The annotation of every setting by its dotted name."""
    found: dict[str, Any] = {}
    for name, annotation in get_type_hints(Settings).items():
        if dataclasses.is_dataclass(annotation):
            found |= {f"{name}.{inner}": each for inner, each in get_type_hints(annotation).items()}
        else:
            found[name] = annotation
    return found


def lookup(settings: Settings, key: str) -> Any:
    """The value of a setting by its dotted name."""
    value: Any = settings
    for part in key.split("."):
        value = getattr(value, part)
    return value


def _sha256(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

"""The configuration of a run: defaults <- variant YAML <- dataset YAML <- preset <- key=value.

`resolve(["variant=latte1", "dataset=shapes", "preset=demo", "train.steps=50"])` gives one frozen `RunConfig`. Every key
is known, every value has its type and its range, and everything that can move a result goes into `config_hash`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from stbench.components import TARGET_KEYS, Component, load_component
from stbench.errors import StbenchError, unknown_name
from stbench.presets import DEFAULT_PRESET, PRESETS

# What each objective can be sampled with, its usual sampler first.
OBJECTIVE_SAMPLERS = {"ddpm": ("ddpm", "ddim"), "flow": ("euler",)}
SAMPLERS = tuple(name for names in OBJECTIVE_SAMPLERS.values() for name in names)


def setting(
    default: Any,
    about: str,
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    choices: tuple[str, ...] | None = None,
    hashed: bool = True,
) -> Any:
    """Declare one setting: its default, one line of meaning, its range, and whether it can move a result."""
    metadata = {"about": about, "at_least": at_least, "at_most": at_most, "choices": choices, "hashed": hashed}
    return field(default=default, metadata=metadata)


@dataclass
class AutoencoderConfig:
    """What turns clips into latents."""

    name: str = setting("pixels", "pixels (none), or a frozen image autoencoder", choices=("pixels", "sd-vae", "taesd"))
    weights: str | None = setting(None, "folder of the autoencoder's weights, diffusers layout", hashed=False)


@dataclass
class DiffusionConfig:
    """What the backbone is trained to predict."""

    objective: str = setting(
        "ddpm", "ddpm (noise and learned variance) or flow (rectified)", choices=tuple(OBJECTIVE_SAMPLERS)
    )
    timestep_density: str = setting(
        "uniform", "how training draws timesteps; logit_normal is for flow", choices=("uniform", "logit_normal")
    )


@dataclass
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
    gradient_clip_norm: float = setting(1.0, "largest gradient norm", at_least=0)
    gradient_clip_from_step: int = setting(0, "first step whose gradient is clipped", at_least=0)
    class_dropout: float = setting(0.1, "share of labels replaced by the null class", at_least=0, at_most=1)
    joint_images: int = setting(0, "random frames appended to each clip as images", at_least=0)
    init: str | None = setting(None, "weights to start from: a published file, a run, or safetensors")
    checkpoint_every: int = setting(5_000, "steps between checkpoints", at_least=1, hashed=False)
    num_workers: int = setting(0, "processes that read clips; never changes the result", at_least=0, hashed=False)


@dataclass
class EvalConfig:
    """How samples are drawn for the figures and the report."""

    num_clips: int = setting(2048, "generated and real clips that the distances compare", at_least=2)
    sampler: str = setting(
        "auto", "auto takes the objective's first: ddpm, or euler for flow", choices=("auto", *SAMPLERS)
    )
    num_sampling_steps: int = setting(250, "network evaluations per sample", at_least=1)
    cfg_scale: float = setting(1.0, "classifier-free guidance; 1 is none", at_least=0)
    guided_channels: str = setting("published", "guide the noise channels only, or all", choices=("published", "all"))
    seed: int = setting(0, "seed of the noise that sampling starts from, the same for every training seed", at_least=0)
    batch_size: int = setting(32, "clips sampled at once; never changes the result", at_least=1, hashed=False)
    every: int = setting(0, "steps between evaluations during training, 0 for none", at_least=0)
    curve_clips: int | None = setting(None, "num_clips of the evaluations during training; null: the same", at_least=2)
    curve_sampling_steps: int | None = setting(
        None, "num_sampling_steps of the evaluations during training; null: the same", at_least=1
    )
    report_clips: int = setting(16, "samples kept for the report", at_least=1, hashed=False)
    detector_weights: str | None = setting(None, "weights file of the protocol's detector", hashed=False)


@dataclass
class Settings:
    """Everything about a run but the variant and the dataset."""

    autoencoder: AutoencoderConfig = field(default_factory=AutoencoderConfig)
    diffusion: DiffusionConfig = field(default_factory=DiffusionConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    eval: EvalConfig = field(default_factory=EvalConfig)
    protocol: str = setting("builtin", "how quality is measured; see `stbench list protocols`")
    precision: str = setting("auto", "auto takes bfloat16 where it is fast", choices=("auto", "float32", "bfloat16"))
    attention: str = setting(
        "auto",
        "how attention is computed; auto times what there is",
        choices=("auto", "math", "sdpa", "flash", "efficient", "cudnn", "xformers", "flex"),
    )
    compile: str = setting("off", "torch.compile", choices=("off", "default", "max-autotune"))
    device: str = setting("auto", "auto | cpu | cuda | cuda:N", hashed=False)
    seed: int = setting(0, "seed of weights, data order, noise and samples", at_least=0)


@dataclass(frozen=True)
class RunConfig:
    """A resolved run. Treat as read-only; `to_dict` is what the record keeps.

    Attributes:
        variant: the backbone and its arguments.
        dataset: the dataset and its arguments.
        settings: everything else.
        preset: the preset that was asked for.
    """

    variant: Component
    dataset: Component
    settings: Settings
    preset: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as the record keeps them."""
        components = {"variant": self.variant.to_dict(), "dataset": self.dataset.to_dict()}
        return {**components, **dataclasses.asdict(self.settings), "preset": self.preset}

    @property
    def config_hash(self) -> str:
        """SHA-256 of everything that can move a result; where files lie and how work is split is left out."""
        content = {
            "variant": self.variant.to_dict(),
            "dataset": self.dataset.to_dict(),
            **_hashed_values(self.settings),
        }
        content["dataset"]["arguments"].pop("root", None)
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    @property
    def run_id(self) -> str:
        """Name of the run's folder."""
        return f"{self.variant.name}-{self.dataset.name}-{self.preset}-s{self.settings.seed}-{self.config_hash[:8]}"

    @property
    def sampler(self) -> str:
        """The sampler that `auto` stands for under this objective, or the one that was named."""
        named = self.settings.eval.sampler
        return OBJECTIVE_SAMPLERS[self.settings.diffusion.objective][0] if named == "auto" else named


def resolve(overrides: Iterable[str]) -> RunConfig:
    """Resolve `key=value` words into a run.

    Args:
        overrides: words such as "variant=latte1", "variant.size=XL", "dataset=shapes", "preset=demo", "train.lr=1e-3".

    Raises:
        StbenchError: for an unknown key or name, a value of the wrong type or out of range.
    """
    given = parse_overrides(overrides)
    preset = given.pop("preset", DEFAULT_PRESET)
    if preset not in PRESETS:
        raise unknown_name("preset", str(preset), PRESETS)
    variant, variant_settings = _resolve_component("variant", given, preset)
    dataset, dataset_settings = _resolve_component("dataset", given, preset)
    layers = (PRESETS[preset], variant_settings, dataset_settings, given)
    settings = _settings_from([layer for layer in layers if layer])
    if settings.eval.sampler not in ("auto", *OBJECTIVE_SAMPLERS[settings.diffusion.objective]):
        raise StbenchError(f"eval.sampler={settings.eval.sampler} does not sample diffusion.objective="
                           f"{settings.diffusion.objective}: expected one of "
                           f"{', '.join(OBJECTIVE_SAMPLERS[settings.diffusion.objective])}")  # fmt: skip
    if settings.diffusion.timestep_density != "uniform" and settings.diffusion.objective != "flow":
        raise StbenchError(f"diffusion.timestep_density={settings.diffusion.timestep_density} is for "
                           f"diffusion.objective=flow, not {settings.diffusion.objective}")  # fmt: skip
    return RunConfig(variant, dataset, settings, preset)


def resolve_settings(given: Mapping[str, Any]) -> Settings:
    """The defaults with some dotted keys changed, for commands that need no dataset."""
    return _settings_from([given])


def override(config: RunConfig, words: Iterable[str], allowed: tuple[str, ...]) -> RunConfig:
    """The same run with some keys changed, of which only those that begin with an `allowed` word may be.

    Raises:
        StbenchError: for a key that would make it another run.
    """
    given = parse_overrides(words)
    for key in given:
        if not key.startswith(allowed):
            raise StbenchError(f"{key} cannot be changed for a finished run: expected {', '.join(allowed)}")
    content = config.to_dict()
    if "dataset.root" in given:
        content["dataset"]["arguments"]["root"] = given.pop("dataset.root")
    return _from_flat({**_flatten(content), **given}, config.preset)


def from_dict(content: Mapping[str, Any]) -> RunConfig:
    """Rebuild a run from what `RunConfig.to_dict` gave, checking it as strictly as `resolve` does."""
    return _from_flat(_flatten(content), content["preset"])


def parse_overrides(words: Iterable[str]) -> dict[str, Any]:
    """Parse `key=value` words; values are read as YAML scalars, lists or null.

    Raises:
        StbenchError: for a word without "=", a key given twice, or a value that cannot be read.
    """
    parsed: dict[str, Any] = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not equals or not key:
            raise StbenchError(f"expected key=value, got {word!r}")
        if key in parsed:
            raise StbenchError(f"{key} is given twice")
        try:
            parsed[key] = OmegaConf.to_container(OmegaConf.from_dotlist([f"value={text}"]))["value"]  # type: ignore[index,call-overload]
        except Exception as error:  # the YAML and grammar errors of the parser share no base class
            raise StbenchError(f"cannot read the value of {word!r}: {' '.join(str(error).split())}") from error
    return parsed


def _from_flat(flat: Mapping[str, Any], preset: str) -> RunConfig:
    """A run from dotted keys, those of the components included."""
    components = [
        Component(kind, flat[f"{kind}.name"], flat[f"{kind}.{target_key}"], {}).with_arguments(
            flat[f"{kind}.arguments"]
        )
        for kind, target_key in TARGET_KEYS.items()
    ]
    rest = {
        key: value for key, value in flat.items() if not key.startswith(("variant.", "dataset.")) and key != "preset"
    }
    return RunConfig(components[0], components[1], _settings_from([rest]), preset)


def _resolve_component(kind: str, given: dict[str, Any], preset: str) -> tuple[Component, dict[str, Any]]:
    """Take the keys of one component out of `given` and resolve them."""
    name = given.pop(kind, None)
    if name is None:
        raise StbenchError(f"{kind}=NAME is missing; `stbench list {kind}s` shows what there is")
    own = {key.partition(".")[2]: given.pop(key) for key in list(given) if key.startswith(f"{kind}.")}
    component, settings = load_component(kind, name).with_preset(preset)
    return component.with_arguments(own), settings


def _settings_from(layers: list[Mapping[str, Any]]) -> Settings:
    """Merge layers of dotted keys over the defaults, later ones first in rank; check types and ranges."""
    merged = OmegaConf.structured(Settings)
    known = _dotted_settings()
    for layer in layers:
        for key, value in layer.items():
            if key not in known:
                raise unknown_name("key", key, [*known, "variant", "dataset", "preset"])
            if value is False and "off" in (known[key].metadata["choices"] or ()):
                value = "off"  # which YAML reads as a truth value
            _assign(merged, key, value)
    settings = OmegaConf.to_object(merged)
    assert isinstance(settings, Settings)
    for key, declared in known.items():
        _check_range(key, _lookup(settings, key), declared.metadata)
    return settings


def _assign(merged: DictConfig, key: str, value: Any) -> None:
    try:
        OmegaConf.update(merged, key, value)
    except OmegaConfBaseException as error:
        reason = str(error).strip().splitlines()[0]
        raise StbenchError(f"{key}={value!r}: {reason}") from error


def _check_range(key: str, value: Any, declared: Mapping[str, Any]) -> None:
    if value is None:
        return
    if declared["choices"] and value not in declared["choices"]:
        raise unknown_name(f"value of {key}", str(value), declared["choices"])
    if declared["at_least"] is not None and not value >= declared["at_least"]:
        raise StbenchError(f"{key}={value}: expected at least {declared['at_least']}")
    if declared["at_most"] is not None and not value <= declared["at_most"]:
        raise StbenchError(f"{key}={value}: expected at most {declared['at_most']}")


def _dotted_settings() -> dict[str, dataclasses.Field[Any]]:
    """Every setting by its dotted name."""
    found: dict[str, dataclasses.Field[Any]] = {}
    for outer in dataclasses.fields(Settings):
        section = outer.default_factory
        if section is dataclasses.MISSING:
            found[outer.name] = outer
        else:
            found |= {f"{outer.name}.{inner.name}": inner for inner in dataclasses.fields(section())}
    return found


def _lookup(settings: Settings, key: str) -> Any:
    value: Any = settings
    for part in key.split("."):
        value = getattr(value, part)
    return value


def _hashed_values(settings: Settings) -> dict[str, Any]:
    known = _dotted_settings()
    return {key: _lookup(settings, key) for key, declared in known.items() if declared.metadata["hashed"]}


def _flatten(nested: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        flat |= (
            {f"{key}.{inner}": each for inner, each in value.items()} if isinstance(value, Mapping) else {key: value}
        )
    return flat

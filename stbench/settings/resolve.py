"""The configuration of a run: defaults <- variant YAML <- dataset YAML <- preset <- key=value.

`resolve(["variant=latte1", "dataset=shapes", "preset=demo", "train.steps=50"])` gives one frozen `RunConfig`. Every key
is known, every value has its type and its range. What lies in the files that they name is found by `run/contents.py`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from stbench.errors import StbenchError, first_line, unknown_name
from stbench.settings.components import TARGET_KEYS, Component, load_component
from stbench.settings.presets import DEFAULT_PRESET, PRESETS
from stbench.settings.schema import OBJECTIVE_SAMPLERS, Contents, RunConfig, Settings, dotted_settings, lookup


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
    settings = resolve_settings(PRESETS[preset], variant_settings, dataset_settings, given)
    return RunConfig(variant, dataset, settings, preset)


def resolve_settings(*layers: Mapping[str, Any]) -> Settings:
    """Put layers of dotted keys over the defaults, each over those before it.

    Raises:
        StbenchError: for an unknown key, a value of the wrong type or out of range, or two that exclude each other.
    """
    merged = OmegaConf.structured(Settings)
    for node in (merged, *filter(OmegaConf.is_config, merged.values())):
        OmegaConf.set_readonly(node, False)  # as frozen dataclasses they begin as read-only
    known = dotted_settings()
    for key, value in ((key, value) for layer in layers for key, value in layer.items()):
        if key not in known:
            raise unknown_name("key", key, [*known, "variant", "dataset", "preset"])
        if value is False and "off" in (known[key].metadata["choices"] or ()):
            value = "off"  # which YAML reads as a truth value
        try:
            OmegaConf.update(merged, key, value)
        except OmegaConfBaseException as error:
            raise StbenchError(f"{key}={value!r}: {first_line(error)}") from error
    settings = OmegaConf.to_object(merged)
    assert isinstance(settings, Settings)
    for key, declared in known.items():
        _check_range(key, lookup(settings, key), declared.metadata)
    objective, sampler = settings.diffusion.objective, settings.eval.sampler
    if sampler not in ("auto", *OBJECTIVE_SAMPLERS[objective]):
        raise StbenchError(
            f"eval.sampler={sampler} does not sample diffusion.objective={objective}: expected one of "
            f"{', '.join(OBJECTIVE_SAMPLERS[objective])}"
        )
    density = settings.diffusion.timestep_density
    if density != "uniform" and objective != "flow":
        raise StbenchError(f"diffusion.timestep_density={density} is for diffusion.objective=flow, not {objective}")
    return settings


def override(config: RunConfig, words: Iterable[str], allowed: tuple[str, ...]) -> RunConfig:
    """The same run with some keys changed, of which only those that begin with an `allowed` word may be.

    Raises:
        StbenchError: for a key that would make it another run.
    """
    given = parse_overrides(words)
    for key in given:
        if not key.startswith(allowed):
            raise StbenchError(f"{key} cannot be changed for a finished run: expected {', '.join(allowed)}")
    dataset = config.dataset.with_arguments(take_arguments(given, "dataset"))
    settings = resolve_settings(_flatten(dataclasses.asdict(config.settings)), given)
    return dataclasses.replace(config, dataset=dataset, settings=settings)


def from_dict(content: Mapping[str, Any], code: Path | None = None) -> RunConfig:
    """Rebuild a run from what `RunConfig.to_dict` gave, checking it as strictly as `resolve` does.

    Args:
        content: the plain values.
        code: folder with a copy of the code of each kind of component, where its module is looked for first.
    """
    flat = _flatten(content)
    preset, contents, components = flat.pop("preset"), take_arguments(flat, "contents"), {}
    for kind, target_key in TARGET_KEYS.items():
        name, target = flat.pop(f"{kind}.name"), flat.pop(f"{kind}.{target_key}")
        component = Component(kind, name, target, {}, folder=code and code / kind)
        components[kind] = component.with_arguments(flat.pop(f"{kind}.arguments"))
    known = [f"contents.{declared.name}" for declared in dataclasses.fields(Contents)]
    for name in contents:
        if f"contents.{name}" not in known:
            raise unknown_name("key", f"contents.{name}", known)
    found = Contents(**contents) if contents else None
    return RunConfig(**components, settings=resolve_settings(flat), preset=preset, contents=found)


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


def take_arguments(given: dict[str, Any], kind: str) -> dict[str, Any]:
    """Take a component's arguments out of parsed words: of kind "variant" those that begin with "variant."."""
    return {key.partition(".")[2]: given.pop(key) for key in list(given) if key.startswith(f"{kind}.")}


def _resolve_component(kind: str, given: dict[str, Any], preset: str) -> tuple[Component, dict[str, Any]]:
    """Take the keys of one component out of `given` and resolve them."""
    name = given.pop(kind, None)
    if name is None:
        raise StbenchError(f"{kind}=NAME is missing; `stbench list {kind}s` shows what there is")
    own = take_arguments(given, kind)
    component, settings = load_component(kind, name).with_preset(preset)
    return component.with_arguments(own), settings


def _check_range(key: str, value: Any, declared: Mapping[str, Any]) -> None:
    if value is None:
        return
    if declared["choices"] and value not in declared["choices"]:
        raise unknown_name(f"value of {key}", str(value), declared["choices"])
    if declared["at_least"] is not None and not value >= declared["at_least"]:
        raise StbenchError(f"{key}={value}: expected at least {declared['at_least']}")
    if declared["at_most"] is not None and not value <= declared["at_most"]:
        raise StbenchError(f"{key}={value}: expected at most {declared['at_most']}")


def _flatten(nested: Mapping[str, Any]) -> dict[str, Any]:
    """One level of sections as dotted keys; what lies deeper stays as it is."""
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        flat |= {f"{key}.{each}": value[each] for each in value} if isinstance(value, Mapping) else {key: value}
    return flat

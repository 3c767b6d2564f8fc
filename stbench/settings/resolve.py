"""The configuration of a run: defaults <- preset <- variant YAML <- dataset YAML <- key=value.

`resolve(["variant=latte1", "dataset=shapes", "preset=demo", "train.steps=50"])` gives one frozen `RunConfig`. Every key
is known, every value has its type and its range. What lies in the files that they name is found by `run/contents.py`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, get_type_hints

from stbench.errors import StbenchError, brief, unknown_name
from stbench.settings.components import TARGET_KEYS, Component, load_component
from stbench.settings.presets import DEFAULT_PRESET, PRESETS, check_preset
from stbench.settings.schema import OBJECTIVE_SAMPLERS, Contents, RunConfig, Settings, dotted_settings, setting_types
from stbench.settings.values import checked, parse_value

Words = Iterable[str] | Mapping[str, Any]  # "key=value" each, or values by their keys
# What `stbench fvd` says of generated videos, and what a run says that makes them.
_OF_PROTOCOL = {
    "protocol.num_real": "eval.num_clips",
    "protocol.num_fake": "eval.num_clips",
    "protocol.sampling_seed": "eval.seed",
    **{
        f"protocol.{name}": f"eval.{name}" for name in ("sampler", "num_sampling_steps", "cfg_scale", "guided_channels")
    },
    "protocol.num_frames": "dataset.num_frames",
    "protocol.resolution": "dataset.image_size",
    "protocol.detector": "protocol=module:Class",
}
COMPONENTS_AND_PRESET = ("variant", "dataset", "preset")


def resolve(overrides: Words) -> RunConfig:
    """Resolve `key=value` words into a run.

    Args:
        overrides: words such as "variant=latte1", "variant.size=XL", "dataset=shapes", "preset=demo", "train.lr=1e-3";
            or the same as a mapping, `{"variant": "latte1", "variant.size": "XL"}`.

    Raises:
        StbenchError: for an unknown key or name, a value of the wrong type or out of range.
    """
    given = parse_overrides(overrides)
    for key in given:
        if key not in (*dotted_settings(), *COMPONENTS_AND_PRESET) and not key.startswith(("variant.", "dataset.")):
            raise _unknown_key(key)
    preset = check_preset(given.pop("preset", DEFAULT_PRESET))
    variant, variant_settings = _resolve_component("variant", given, preset)
    dataset, dataset_settings = _resolve_component("dataset", given, preset)
    settings = resolve_settings(PRESETS[preset], variant_settings, dataset_settings, given)
    return RunConfig(variant, dataset, settings, preset)


def resolve_settings(*layers: Mapping[str, Any]) -> Settings:
    """Put layers of dotted keys over the defaults, each over those before it.

    Raises:
        StbenchError: for an unknown key, a value of the wrong type or out of range, or two that exclude each other.
    """
    known, values = dotted_settings(), {}
    for key, value in ((key, value) for layer in layers for key, value in layer.items()):
        if key not in known:
            raise _unknown_key(key)
        values[key] = _checked_setting(key, value, known[key])
    settings = Settings()
    for section in {key.partition(".")[0] for key in values if "." in key}:
        own = take_arguments(values, section)
        settings = dataclasses.replace(settings, **{section: dataclasses.replace(getattr(settings, section), **own)})
    settings = dataclasses.replace(settings, **values)
    objective, sampler = settings.diffusion.objective, settings.eval.sampler
    if sampler not in ("auto", *OBJECTIVE_SAMPLERS[objective]):
        raise StbenchError(
            f"eval.sampler={sampler} does not sample diffusion.objective={objective}: expected one of "
            f"{', '.join(OBJECTIVE_SAMPLERS[objective])}"
        )
    for key in ("timestep_density", "timestep_shift"):
        value = getattr(settings.diffusion, key)
        if value != getattr(Settings().diffusion, key) and objective != "flow":
            raise StbenchError(f"diffusion.{key}={value} is for diffusion.objective=flow, not {objective}")
    return settings


def override(config: RunConfig, words: Words, allowed: tuple[str, ...]) -> RunConfig:
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

    Raises:
        StbenchError: something else than `to_dict` gives.
    """
    if not isinstance(content, Mapping):
        raise StbenchError(f"expected a mapping of keys to values, got {type(content).__name__}")
    flat = _flatten(content)
    preset, components = _take(flat, "preset", str), {}
    for kind, target_key in TARGET_KEYS.items():
        name, target = _take(flat, f"{kind}.name", str), _take(flat, f"{kind}.{target_key}", str)
        component = Component(kind, name, target, {}, folder=code and code / kind)
        components[kind] = component.with_arguments(_take(flat, f"{kind}.arguments", dict[str, Any]))
    contents = _rebuilt_contents(take_arguments(flat, "contents"))
    variant, dataset = components["variant"], components["dataset"]
    return RunConfig(variant, dataset, resolve_settings(flat), preset, contents)


def parse_overrides(words: Words) -> dict[str, Any]:
    """Parse `key=value` words; values are read as YAML scalars, lists or null. A mapping's are taken as they are.

    Raises:
        StbenchError: for a word without "=", a key given twice, or a value that cannot be read.
    """
    if isinstance(words, Mapping):
        return {str(key): str(value) if isinstance(value, Path) else value for key, value in words.items()}
    if isinstance(words, str):
        raise StbenchError(f"expected a list of key=value words or a mapping, got {brief(words)!r}")
    parsed: dict[str, Any] = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not equals or not key:
            raise StbenchError(f"expected key=value, got {brief(word)!r}")
        if key in parsed:
            raise StbenchError(f"{brief(key)} is given twice")
        try:
            parsed[key] = parse_value(text)
        except StbenchError as error:
            raise StbenchError(f"{brief(word)}: {error}") from error
    return parsed


def take_arguments(given: dict[str, Any], kind: str) -> dict[str, Any]:
    """Take a component's arguments out of parsed words: of kind "variant" those that begin with "variant."."""
    return {key.partition(".")[2]: given.pop(key) for key in list(given) if key.startswith(f"{kind}.")}


def _resolve_component(kind: str, given: dict[str, Any], preset: str) -> tuple[Component, dict[str, Any]]:
    """Take the keys of one component out of `given` and resolve them."""
    name = given.pop(kind, None)
    if name is None:
        raise StbenchError(f"{kind}=NAME is missing; `stbench list {kind}s` shows what there is")
    if not isinstance(name, str) or "," in name:
        raise StbenchError(f"{kind}={brief(name)}: expected one name; `stbench profile` takes several variants")
    own = take_arguments(given, kind)
    component, settings = load_component(kind, name).with_preset(preset)
    return component.with_arguments(own), settings


def _checked_setting(key: str, value: Any, declared: dataclasses.Field[Any]) -> Any:
    """A setting's value as it is declared: type, then choices and range."""
    about = declared.metadata
    if value is False and "off" in (about["choices"] or ()):
        value = "off"  # which YAML reads as a truth value
    value = checked(key, value, setting_types()[key])
    if value is None:
        return None
    if about["choices"] and value not in about["choices"]:
        raise unknown_name(f"value of {key}", brief(value), about["choices"])
    if about["more_than"] is not None and value <= about["more_than"]:
        raise StbenchError(f"{key}={value}: expected more than {about['more_than']} ({about['about']})")
    if about["at_least"] is not None and value < about["at_least"]:
        raise StbenchError(f"{key}={value}: expected at least {about['at_least']}")
    if about["at_most"] is not None and value > about["at_most"]:
        raise StbenchError(f"{key}={value}: expected at most {about['at_most']}")
    return value


def _unknown_key(key: str) -> StbenchError:
    if key in _OF_PROTOCOL:
        return StbenchError(f"{key} is for videos that are there already: a run says {_OF_PROTOCOL[key]}")
    return unknown_name("key", key, [*dotted_settings(), *COMPONENTS_AND_PRESET], see="stbench list settings")


def _take(values: dict[str, Any], key: str, declared: Any) -> Any:
    """Take out of a rebuilt run's values what must be there."""
    if key not in values:
        raise StbenchError(f"{key}: missing")
    return checked(key, values.pop(key), declared)


def _rebuilt_contents(values: dict[str, Any]) -> Contents | None:
    if not values:
        return None
    types = get_type_hints(Contents)
    for name in values:
        if name not in types:
            raise unknown_name("key", f"contents.{name}", [f"contents.{known}" for known in types])
    required = [each.name for each in dataclasses.fields(Contents) if each.default is dataclasses.MISSING]
    for name in required:
        if name not in values:
            raise StbenchError(f"contents.{name}: missing")
    return Contents(**{name: checked(f"contents.{name}", value, types[name]) for name, value in values.items()})


def _flatten(nested: Mapping[str, Any]) -> dict[str, Any]:
    """One level of sections as dotted keys; what lies deeper stays as it is."""
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        flat |= {f"{key}.{each}": value[each] for each in value} if isinstance(value, Mapping) else {key: value}
    return flat

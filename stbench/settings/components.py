"""Variants and datasets as YAML files: an import path, and constructor arguments checked against its signature.

backbone: stbench.backbones.latte:Latte     # or `dataset: module:Class`; any module beside this file, or importable
size: S                                     # every other key is a constructor argument
source: "arXiv 2401.03048, section 3.2"     # where it comes from
expect: {params_m: 32.48, gmacs: 93.63}     # what `stbench check` compares
published: {latents: 4x16x32x32, learned_variance: false}  # the input that published figures are of, what was predicted
presets:
  demo: {size: tiny}                        # arguments under a preset; a key with a dot is a setting of the run
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stbench import paths
from stbench.errors import StbenchError, error_with_place, unknown_name
from stbench.settings.presets import check_preset
from stbench.settings.targets import BASES, load_class
from stbench.settings.values import annotations_of, checked
from stbench.yaml_files import read_mapping

if TYPE_CHECKING:
    from torch import nn

TARGET_KEYS = {"variant": "backbone", "dataset": "dataset"}
PUBLISHED_KEYS = ("latents", "learned_variance")
DEFAULT_LATENTS = "4x16x32x32"  # 16 frames of 256x256 under the SD VAE, what most published figures refer to


class CannotBuild(StbenchError):
    """What a YAML file of some kind, "variant" or "dataset", names cannot be imported, or refuses its arguments."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True)
class Component:
    """One YAML file: what to build, and with which arguments.

    Attributes:
        kind: "variant" or "dataset".
        name: the file's name without its ending.
        target: import path "module:Class".
        arguments: constructor arguments.
        presets: per preset, arguments that differ there and (dotted) settings of the run.
        source: where the thing is described.
        expect: figures that `stbench check` compares with the network's.
        published: facts of the run that the published figures are of, by the names of `RUN_FACTS`.
        folder: where the target's module is looked for first: that of the file, or of a run's copy of the code.
    """

    kind: str
    name: str
    target: str
    arguments: Mapping[str, Any]
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    source: str = ""
    expect: Mapping[str, Any] = field(default_factory=dict)
    published: Mapping[str, Any] = field(default_factory=dict)
    folder: Path | None = None

    def with_arguments(self, overrides: Mapping[str, Any]) -> Component:
        """The same component with some arguments changed, each checked against the constructor.

        Raises:
            StbenchError: for an argument that the constructor does not have, or of another type than it declares.
        """
        if not overrides:
            return self
        known, annotations = signature_parameters(self), annotations_of(load_target(self))
        for key in overrides:
            if key not in known:
                raise unknown_name(f"key of {self.kind} {self.name!r}", str(key), known)
        own = {key: checked(f"{self.kind}.{key}", each, annotations.get(key, Any)) for key, each in overrides.items()}
        return replace(self, arguments={**self.arguments, **own})

    def with_preset(self, preset: str) -> tuple[Component, dict[str, Any]]:
        """Apply the file's block for `preset`; returns the component and the block's settings of the run."""
        block = self.presets.get(preset, {})
        arguments = {key: value for key, value in block.items() if "." not in key}
        settings = {key: value for key, value in block.items() if "." in key}
        return self.with_arguments(arguments), settings

    def construct(self, facts: Mapping[str, Any] | None = None) -> Any:
        """Build the thing.

        Args:
            facts: of the run, such as the latents' size; those that the constructor does not list are left out.

        Raises:
            CannotBuild: when the arguments do not fit together, with the constructor's reason.
        """
        known = signature_parameters(self)
        arguments = {**self.arguments, **{key: value for key, value in (facts or {}).items() if key in known}}
        required = [name for name, each in known.items() if each.default is each.empty]
        if missing := [name for name in required if name not in arguments]:
            raise StbenchError(f"{self.kind} {self.name!r} lacks {', '.join(missing)}, which {self.target} needs")
        try:
            return load_target(self)(**arguments)
        except StbenchError as error:
            raise CannotBuild(self.kind, f"{self.kind} {self.name!r}: {error}") from error
        except (Exception, SystemExit) as error:  # a constructor of the user's may do anything
            where = f"{self.kind} {self.name!r}: {self.target} cannot be built"
            raise CannotBuild(self.kind, f"{where}: {error_with_place(error)}") from error

    @property
    def settled(self) -> dict[str, Any]:
        """Every argument of the constructor that has a value, be it its default."""
        known = signature_parameters(self)
        defaults = {name: each.default for name, each in known.items() if each.default is not each.empty}
        return {**defaults, **self.arguments}

    def to_dict(self) -> dict[str, Any]:
        """The part that decides what is built, for the record."""
        return {"name": self.name, TARGET_KEYS[self.kind]: self.target, "arguments": dict(self.arguments)}


def load_component(kind: str, name_or_path: str) -> Component:
    """Read a component's YAML file.

    Args:
        kind: "variant" or "dataset".
        name_or_path: the name of a file in the configuration folders, or a path ending in .yaml.

    Raises:
        StbenchError: for an unknown name, a missing or malformed file, an unknown key.
    """
    path = _find(kind, str(name_or_path))
    content = read_mapping(path)
    target_key = TARGET_KEYS[kind]
    if not isinstance(content.get(target_key), str) or ":" not in content[target_key]:
        raise StbenchError(f"{path}: a {kind} needs the key `{target_key}: module:Class`")
    presets, expect, published = (content.pop(key, None) or {} for key in ("presets", "expect", "published"))
    if not isinstance(presets, dict) or not all(isinstance(block, dict) for block in presets.values()):
        raise StbenchError(f"{path}: presets must map a preset's name to a mapping of keys")
    if not isinstance(expect, dict):
        raise StbenchError(f"{path}: expect must map a figure's name to its value")
    component = Component(
        kind=kind,
        name=path.stem,
        target=content.pop(target_key),
        arguments={},
        presets=presets,
        source=str(content.pop("source", "")),
        expect=expect,
        folder=path.parent.resolve(),
    )
    try:
        component = replace(component, published=_published_facts(published))
        for preset in presets:
            check_preset(preset)
        load_target(component)
        return component.with_arguments(content)  # every other key
    except CannotBuild as error:
        raise CannotBuild(kind, f"{path}: {error}") from error
    except StbenchError as error:
        raise StbenchError(f"{path}: {error}") from error


def latent_facts(latents: str) -> dict[str, Any]:
    """What latents "CxFxHxW" say of a run, by the names of `RUN_FACTS`; their size is (H, W) where it is no square.

    Raises:
        StbenchError: for other words.
    """
    sizes = latents.lower().split("x")
    if len(sizes) != 4 or not all(size.isdecimal() and int(size) > 0 for size in sizes):
        raise StbenchError(f"latents {latents}: expected CxFxHxW, e.g. 4x16x32x32")
    channels, num_frames, height, width = map(int, sizes)
    return {
        "in_channels": channels,
        "num_frames": num_frames,
        "sample_size": height if height == width else (height, width),
    }


def _published_facts(block: Any) -> dict[str, Any]:
    """The facts of a run that a file's `published:` names."""
    if not isinstance(block, dict):
        raise StbenchError(f"published must map {' and '.join(PUBLISHED_KEYS)} to their values")
    if unknown := [key for key in block if key not in PUBLISHED_KEYS]:
        raise unknown_name("key of published", str(unknown[0]), PUBLISHED_KEYS)
    facts = latent_facts(str(block["latents"])) if "latents" in block else {}
    if "learned_variance" in block:
        facts["learned_variance"] = checked("published.learned_variance", block["learned_variance"], bool)
    return facts


def load_target(component: Component) -> type:
    """Import the class that a component's `target` names.

    Raises:
        CannotBuild: it cannot be imported, or is no backbone (an `nn.Module`) or dataset (a `ClipDataset`).
    """
    try:
        return load_class(component.target, BASES[component.kind], component.folder)
    except StbenchError as error:
        where = f"{component.kind} {component.name!r}: {TARGET_KEYS[component.kind]}: {component.target}"
        raise CannotBuild(component.kind, f"{where}: {error}") from error


def signature_parameters(component: Component) -> dict[str, inspect.Parameter]:
    """The keyword arguments of a component's constructor."""
    parameters = inspect.signature(load_target(component)).parameters
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {name: parameter for name, parameter in parameters.items() if parameter.kind in named}


def build_backbone(variant: str, **overrides: Any) -> nn.Module:
    """Build the backbone of a variant.

    Args:
        variant: the name of a file in `variants/`, or the path of a YAML file.
        overrides: constructor arguments that differ from the file's.

    Returns:
        The network, in train mode, with the weights that its constructor drew.

    Raises:
        StbenchError: for an unknown variant or argument, or figures that do not fit together.
    """
    return load_component("variant", variant).with_arguments(overrides).construct()


@dataclass(frozen=True)
class About:
    """What a YAML file says as it stands, without importing what it names.

    Attributes:
        target: "module:Class".
        source: where the thing is described.
        expect: its figures by their names, as they are spelled.
        latents: that a variant's figures are of.
    """

    target: str
    source: str
    expect: Mapping[str, str]
    latents: str


def describe_file(kind: str, path: Path) -> About:
    """Read what a YAML file says of itself."""
    content = read_mapping(path)
    expect, published = (each if isinstance(each, dict) else {} for each in map(content.get, ("expect", "published")))
    return About(
        target=str(content.get(TARGET_KEYS[kind], "?")),
        source=str(content.get("source", "")),
        expect={str(key): str(value) for key, value in expect.items()},
        latents=str(published.get("latents", DEFAULT_LATENTS)),
    )


def _find(kind: str, name_or_path: str) -> Path:
    if name_or_path.endswith((".yaml", ".yml")):
        return Path(name_or_path).expanduser()
    files = paths.config_files(f"{kind}s")
    if name_or_path not in files:
        raise unknown_name(kind, name_or_path, files)
    return files[name_or_path]

"""Labels of configurations: the variant's name, and shortly what sets its configuration apart from the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from stbench.records.schema import flatten
from stbench.reports.text import one_line
from stbench.settings.schema import dotted_settings

# What tells configurations apart best comes first; what is not named comes last, in alphabetical order.
IMPORTANCE = (
    *("train.steps", "dataset.name", "variant.arguments", "train.lr", "train.batch_size", "train.joint_images"),
    *(
        "contents.init_group",
        "contents.init",
        "train",
        "diffusion",
        "autoencoder",
        "dataset.arguments",
        "eval",
        "protocol",
        "precision",
    ),
)
SPELLED_OUT = 3  # where at most so many settings differ, all are in the label, else as few as tell it apart
LONGEST_NAME, LONGEST_VALUE = 40, 20  # characters
# These may differ between seeds of one configuration, or follow from what differs.
UNLABELLED = {"seed", "preset", "dataset.arguments.root"}

Config = Mapping[str, Any]  # nested, as in a record


def label_configurations(configs: Mapping[str, Config]) -> dict[str, str]:
    """Return a label for each configuration, none for two.

    The number of training steps is in every label where any two differ in it, everything else only where it tells a
    variant from itself.

    Args:
        configs: a configuration by what it is known by, e.g. `Record.group_hash`.
    """
    settings = {key: labelled_settings(config) for key, config in configs.items()}
    names = {
        key: _cut(str(flat.get("variant.name") or "unnamed variant"), LONGEST_NAME) for key, flat in settings.items()
    }
    common = ["train.steps"] if len({flat.get("train.steps") for flat in settings.values()}) > 1 else []
    telling = {
        name: _telling([settings[key] for key, own in names.items() if own == name]) for name in set(names.values())
    }
    labels = {}
    for key, name in names.items():
        chosen = dict.fromkeys([*common, *telling[name]])
        given = [
            each for each in chosen if settings[key].get(each) is not None
        ]  # others say what this one goes without
        words = [f"{_short(each)}={_value(settings[key][each])}" for each in given]
        labels[key] = " ".join([name, *words])
    # Where one label stands for two, what sets them apart is not in their configurations, or is cut from it.
    counts = Counter(labels.values())
    return {key: f"{label} #{key[:6]}" if counts[label] > 1 else label for key, label in labels.items()}


def distinctions(configs: Mapping[str, Config]) -> dict[str, str]:
    """Return for each configuration all settings in which any of these differ, as words; nothing where none do."""
    settings = {key: labelled_settings(config) for key, config in configs.items()}
    keys = [key for key in _differing(list(settings.values())) if key != "variant.backbone"]
    return {
        key: ", ".join(f"{each}={_value(flat[each])}" for each in keys if each in flat)
        for key, flat in settings.items()
    }


def labelled_settings(config: Config) -> dict[str, Any]:
    """The settings that may stand in a label, by their dotted names: those that can move a result."""
    unhashed = {key for key, declared in dotted_settings().items() if not declared.metadata["hashed"]}
    flat = flatten(config)
    of_seeds = UNLABELLED | ({"contents.init"} if flat.get("contents.init_group") else set())
    return {key: value for key, value in flat.items() if key not in of_seeds | unhashed}


def _telling(siblings: list[dict[str, Any]]) -> list[str]:
    """The settings by which configurations of one variant are told apart, the most telling first."""
    differing = _differing(siblings)
    if len(differing) <= SPELLED_OUT:
        return differing
    chosen: list[str] = []
    for key in differing:
        if _kinds(siblings, [*chosen, key]) > _kinds(siblings, chosen):
            chosen.append(key)
    return chosen


def _differing(settings: list[dict[str, Any]]) -> list[str]:
    keys = {key for flat in settings for key in flat if key != "variant.name"}
    return sorted((key for key in keys if _kinds(settings, [key]) > 1), key=_rank)


def _kinds(settings: list[dict[str, Any]], keys: list[str]) -> int:
    """How many of these settings are unlike in these keys."""
    return len({tuple(repr(flat.get(key)) for key in keys) for flat in settings})


def _rank(key: str) -> tuple[int, str]:
    places = (place for place, name in enumerate(IMPORTANCE) if key == name or key.startswith(f"{name}."))
    return (next(places, len(IMPORTANCE)), key)


def _short(key: str) -> str:
    for prefix in ("variant.arguments.", "train.", "diffusion."):
        key = key.removeprefix(prefix)
    return key.replace(".arguments.", ".").removesuffix(".name")


def _value(value: Any) -> str:
    return _cut(",".join(map(str, value)) if isinstance(value, list) else str(value), LONGEST_VALUE)


def _cut(text: str, longest: int) -> str:
    text = one_line(text)
    return text if len(text) <= longest else f"{text[: longest - 1]}…"

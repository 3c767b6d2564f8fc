"""The settings: declared with meaning and range, the same names as in the code they choose from, frozen, and hashed."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping
from typing import Any

import pytest
import torch

from stbench.data.autoencoders import AUTOENCODERS
from stbench.diffusion.loss import OBJECTIVES
from stbench.diffusion.samplers import GUIDED_CHANNELS
from stbench.diffusion.samplers import SAMPLERS as SOLVERS
from stbench.runtime.attention.backends import AUTO, BACKENDS
from stbench.runtime.device import PRECISIONS
from stbench.settings.components import Component
from stbench.settings.resolve import resolve_settings
from stbench.settings.schema import OBJECTIVE_SAMPLERS, Contents, RunConfig, Settings, dotted_settings, lookup, setting

KNOWN = dotted_settings()
VARIANT = Component("variant", "mine", "my:Backbone", {"width": 3})
DATASET = Component("dataset", "clips", "my:Clips", {"root": "/data", "length": 9})
CONTENTS = Contents(videos="1" * 64, detector="2" * 64)

# What the code has under each name; the settings repeat the names, to be read without torch.
TABLES: dict[str, Iterable[str]] = {
    "attention": (AUTO, *BACKENDS),
    "precision": ("auto", *PRECISIONS),
    "autoencoder.name": AUTOENCODERS,
    "diffusion.objective": OBJECTIVES,
    "diffusion.timestep_density": {name for each in OBJECTIVES.values() for name in each.timestep_densities},
    "eval.sampler": ("auto", *SOLVERS),
    "eval.guided_channels": GUIDED_CHANNELS,
}


def run_config(changes: Mapping[str, Any] | None = None) -> RunConfig:
    return RunConfig(VARIANT, DATASET, resolve_settings(changes or {}), "demo", CONTENTS)


@pytest.mark.parametrize("key", TABLES)
def test_choices_are_the_names_that_the_code_has(key: str) -> None:
    assert sorted(KNOWN[key].metadata["choices"]) == sorted(TABLES[key])


def test_every_compile_mode_is_one_of_torch() -> None:
    off, *modes = KNOWN["compile"].metadata["choices"]
    assert off == "off"
    assert set(modes) <= set(torch._inductor.list_mode_options())


def test_samplers_belong_to_the_objectives_that_train_for_them() -> None:
    assert set(OBJECTIVE_SAMPLERS) == set(OBJECTIVES)
    for objective, names in OBJECTIVE_SAMPLERS.items():
        assert set(names) == {name for name, (needed, _) in SOLVERS.items() if objective in needed}


@pytest.mark.parametrize("key", KNOWN)
def test_a_setting_says_what_it_means_and_its_default_lies_in_its_range(key: str) -> None:
    declared, default = KNOWN[key].metadata, lookup(Settings(), key)
    assert len(declared["about"]) > 5
    assert set(declared) == {"about", "at_least", "more_than", "at_most", "choices", "hashed"}
    if declared["choices"]:
        assert default in declared["choices"]
    if default is not None and declared["at_least"] is not None:
        assert default >= declared["at_least"]
    if default is not None and declared["more_than"] is not None:
        assert default > declared["more_than"]
    if default is not None and declared["at_most"] is not None:
        assert default <= declared["at_most"]


def test_a_setting_is_a_field_with_its_declaration_beside_it() -> None:
    field = setting(3, "of a thing", at_least=1, hashed=False)
    assert field.default == 3
    assert dict(field.metadata) == {
        "about": "of a thing",
        "at_least": 1,
        "more_than": None,
        "at_most": None,
        "choices": None,
        "hashed": False,
    }


def test_dotted_names() -> None:
    assert list(KNOWN)[:3] == ["autoencoder.name", "autoencoder.weights", "diffusion.objective"]
    assert {"seed", "protocol", "device", "train.lr", "eval.seed"} <= set(KNOWN)
    assert lookup(resolve_settings({"train.lr": 3e-3}), "train.lr") == 3e-3
    assert lookup(Settings(), "seed") == 0
    with pytest.raises(AttributeError):
        lookup(Settings(), "train.stepz")


def test_settings_cannot_be_changed_afterwards() -> None:
    settings = resolve_settings({"train.steps": 5, "seed": 3})
    for section, name in ((settings, "seed"), (settings.train, "steps"), (settings.eval, "seed"), (settings, "train")):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(section, name, 1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        run_config().preset = "small"  # type: ignore[misc]
    assert (settings.train.steps, settings.seed) == (5, 3)
    assert settings == resolve_settings({"train.steps": 5, "seed": 3})
    assert resolve_settings() == Settings()


def test_what_can_not_move_a_result_is_not_hashed() -> None:
    assert [key for key, declared in KNOWN.items() if not declared.metadata["hashed"]] == [
        "autoencoder.weights",
        "context.weights",
        "train.init",
        "train.checkpoint_every",
        "train.num_workers",
        "eval.batch_size",
        "eval.untrained",
        "eval.report_clips",
        "eval.detector_weights",
        "device",
        "track",
    ]


def other_value(key: str) -> Any:
    """A value of the right type and range that is not the default."""
    choices, default = KNOWN[key].metadata["choices"], lookup(Settings(), key)
    if key == "train.frame_strides":
        return [1, 2]
    if choices:
        return next(each for each in choices if each != default)
    if isinstance(default, str) or key.endswith(("weights", "init", "freeze")):
        return "another"
    if isinstance(default, bool):
        return not default
    return 7 if default in (None, 1) else 1 if default == 0 else type(default)(default / 2)


@pytest.mark.parametrize("key", KNOWN)
def test_a_setting_moves_the_hashes_if_it_can_move_a_result(key: str) -> None:
    changes = {key: other_value(key)}
    if key.startswith("diffusion.timestep"):
        changes["diffusion.objective"] = "flow"
    base, changed = run_config({k: v for k, v in changes.items() if k != key}), run_config(changes)
    hashed = KNOWN[key].metadata["hashed"]
    assert (changed.config_hash != base.config_hash) is hashed
    assert (changed.group_hash != base.group_hash) is (hashed and key != "seed")


def test_components_move_the_hashes_but_for_where_the_data_lies() -> None:
    base = run_config()
    moved = dataclasses.replace(base, dataset=dataclasses.replace(DATASET, arguments={"root": "/other", "length": 9}))
    longer = dataclasses.replace(base, dataset=dataclasses.replace(DATASET, arguments={"root": "/data", "length": 8}))
    wider = dataclasses.replace(base, variant=dataclasses.replace(VARIANT, arguments={"width": 4}))
    other = dataclasses.replace(base, variant=dataclasses.replace(VARIANT, target="my:Other"))
    assert moved.config_hash == base.config_hash
    assert moved.group_hash == base.group_hash
    assert len({each.config_hash for each in (base, longer, wider, other)}) == 4
    assert len({each.group_hash for each in (base, longer, wider, other)}) == 4
    assert dataclasses.replace(base, preset="paper").config_hash == base.config_hash  # its settings count, not its name
    assert DATASET.arguments["root"] == "/data"  # hashing changed nothing


@pytest.mark.parametrize("name", [declared.name for declared in dataclasses.fields(Contents)])
def test_other_content_is_another_run_of_another_group(name: str) -> None:
    base = run_config()
    other = dataclasses.replace(base, contents=dataclasses.replace(CONTENTS, **{name: "3" * 64}))
    assert other.config_hash != base.config_hash
    assert other.group_hash != base.group_hash


def test_seeds_may_start_from_seeds() -> None:
    started = [
        dataclasses.replace(run_config(), contents=dataclasses.replace(CONTENTS, init=init * 64, init_group=group * 64))
        for init, group in (("3", "5"), ("4", "5"), ("3", "6"))
    ]
    assert len({each.config_hash for each in started}) == 3
    assert started[0].group_hash == started[1].group_hash != started[2].group_hash


def test_a_run_whose_contents_were_not_found_has_no_hash() -> None:
    with pytest.raises(AssertionError, match="a run is known by its contents"):
        _ = dataclasses.replace(run_config(), contents=None).config_hash


def test_names_and_hashes_look_as_they_should() -> None:
    config = run_config({"seed": 4})
    assert re.fullmatch("[0-9a-f]{64}", config.config_hash)
    assert re.fullmatch("[0-9a-f]{64}", config.group_hash)
    assert config.run_id == f"mine-clips-demo-s4-{config.config_hash[:8]}"


@pytest.mark.parametrize(
    ("objective", "named", "sampler"),
    [("ddpm", "auto", "ddpm"), ("flow", "auto", "euler"), ("ddpm", "ddim", "ddim"), ("flow", "euler", "euler")],
)
def test_auto_takes_the_usual_sampler_of_the_objective(objective: str, named: str, sampler: str) -> None:
    assert run_config({"diffusion.objective": objective, "eval.sampler": named}).sampler == sampler


def test_a_run_as_plain_values() -> None:
    content = run_config({"train.steps": 5}).to_dict()
    assert list(content) == [
        "variant",
        "dataset",
        "autoencoder",
        "diffusion",
        "context",
        "train",
        "eval",
        "interpolate",
        "upscale",
        "task",
        "protocol",
        "precision",
        "attention",
        "compile",
        "device",
        "track",
        "seed",
        "preset",
        "contents",
    ]
    assert content["variant"] == {"name": "mine", "backbone": "my:Backbone", "arguments": {"width": 3}}
    assert content["dataset"] == {"name": "clips", "dataset": "my:Clips", "arguments": {"root": "/data", "length": 9}}
    assert content["train"]["steps"] == 5
    assert content["preset"] == "demo"
    assert content["contents"] == dataclasses.asdict(CONTENTS)

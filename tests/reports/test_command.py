"""The command to repeat a run gives the run's configuration again."""

from __future__ import annotations

import shlex

import pytest

from stbench.reports.command import command_of
from stbench.settings.resolve import resolve


@pytest.mark.parametrize(
    "words",
    [
        "variant=latte1 dataset=shapes preset=demo seed=3",
        "variant=latte2 variant.size=S dataset=clouds preset=smoke train.lr=1e-5 train.steps=7 compile=default",
        "variant=dit dataset=shapes dataset.motions=[left,right] preset=paper precision=float32 eval.curve_clips=null",
    ],
)
def test_the_command_resolves_to_the_configuration(words: str) -> None:
    config = resolve(words.split()).to_dict()
    _, run, *again = shlex.split(command_of(config))
    assert run == "run"
    assert resolve(again).to_dict() == config


def test_only_what_the_preset_lacks_is_said() -> None:
    config = resolve(["variant=latte1", "dataset=shapes", "preset=demo", "train.steps=5"]).to_dict()
    settings = [word for word in shlex.split(command_of(config)) if not word.startswith(("variant", "dataset"))]
    assert settings == ["stbench", "run", "preset=demo", "train.steps=5"]


def test_a_hostile_value_is_one_word() -> None:
    config = {"variant": {"name": "a; rm -rf /"}, "dataset": {}, "preset": ["x"]}
    assert command_of(config) == "stbench run 'variant=a; rm -rf /' dataset=null"

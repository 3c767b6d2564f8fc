"""Labels that tell configurations apart by what differs most, and never stand for two."""

from __future__ import annotations

from typing import Any

import pytest

from stbench.reports.labels import distinctions, label_configurations


def config(variant: str = "latte1", **changes: Any) -> dict[str, Any]:
    """A configuration as a record holds it; a change `train__lr` is that of `train.lr`."""
    content: dict[str, Any] = {
        "variant": {"name": variant, "arguments": {"size": "S"}},
        "dataset": {"name": "shapes", "arguments": {"image_size": 16, "root": "/a"}},
        "train": {"steps": 200, "lr": 1e-3, "batch_size": 4},
        "diffusion": {"objective": "flow"},
        "eval": {"batch_size": 8, "num_clips": 64},
        "preset": "demo",
        "seed": 0,
    }
    for path, value in changes.items():
        *parents, last = path.split("__")
        target = content
        for name in parents:
            target = target[name]
        target[last] = value
    return content


def labels(*configs: dict[str, Any]) -> list[str]:
    return list(label_configurations({f"{i:06d}": each for i, each in enumerate(configs)}).values())


def test_a_configuration_alone_has_its_variant_s_name() -> None:
    assert labels(config(), config("latte2")) == ["latte1", "latte2"]


def test_the_number_of_training_steps_is_in_every_label_where_it_differs() -> None:
    runs = (config(train__steps=1200), config(), config("uvit"))
    assert labels(*runs) == ["latte1 steps=1200", "latte1 steps=200", "uvit steps=200"]


def test_what_a_configuration_goes_without_is_not_in_its_label() -> None:
    started = config(contents={"init": "ab" * 32, "init_group": "cd" * 32})
    without, other = labels(config(contents={"init": None, "init_group": None}), started)
    assert without == "latte1"
    assert other.startswith("latte1 contents.init_group=cdcd")


def test_up_to_three_settings_that_differ_within_a_variant_are_spelled_out_in_a_fixed_order() -> None:
    other = config(dataset__arguments__image_size=32, variant__arguments__size="XL", train__lr=0.1)
    assert labels(config(), other, config("latte2")) == [
        "latte1 size=S lr=0.001 dataset.image_size=16",
        "latte1 size=XL lr=0.1 dataset.image_size=32",
        "latte2",
    ]


def test_of_many_settings_that_differ_the_most_telling_are_named() -> None:
    """The first keys of the alphabet hid the training steps of two runs of 200 and 1200 steps behind "+10"."""
    many: dict[str, Any] = {
        "diffusion__objective": "ddpm",
        "eval__num_clips": 8,
        "train__lr": 0.1,
        "train__batch_size": 2,
    }
    assert labels(config(train__steps=6, **many), config(), config(train__steps=1200)) == [
        "latte1 steps=6",
        "latte1 steps=200",
        "latte1 steps=1200",
    ]


@pytest.mark.parametrize(
    "change", [{"seed": 1}, {"preset": "small"}, {"eval__batch_size": 2}, {"dataset__arguments__root": "/b"}]
)
def test_what_moves_no_result_is_in_no_label(change: dict[str, Any]) -> None:
    assert labels(config(), config(**change)) == ["latte1 #000000", "latte1 #000001"]


def test_values_that_are_cut_alike_still_have_labels_of_their_own() -> None:
    both = labels(*(config(variant__arguments__size="x" * 30 + end) for end in "ab"))
    assert both == [f"latte1 size={'x' * 19}… #00000{i}" for i in (0, 1)]


@pytest.mark.parametrize("damaged", [{}, {"variant": "text", "train": [1], "dataset": None}])
def test_a_configuration_that_lacks_its_parts_has_a_label(damaged: dict[str, Any]) -> None:
    assert labels(damaged) == ["unnamed variant"]


def test_a_name_of_many_lines_is_one_short_line() -> None:
    assert labels(config("a\nb\ud800" + "c" * 90)) == ["a b " + "c" * 35 + "…"]


def test_everything_that_differs_is_listed_even_between_variants() -> None:
    configs = {"a": config(train__lr=0.1), "b": config("uvit", variant__arguments={"depth": 3}, seed=4)}
    assert distinctions(configs) == {
        "a": "variant.arguments.size=S, train.lr=0.1",
        "b": "variant.arguments.depth=3, train.lr=0.001",
    }
    assert distinctions({"a": config(), "b": config(seed=1)}) == {"a": "", "b": ""}

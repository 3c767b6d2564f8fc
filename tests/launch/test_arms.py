"""Words become arms: every list a factor of the product, every arm once."""

from __future__ import annotations

import re

import pytest

from stbench.errors import StbenchError
from stbench.launch.arms import Arm, listed_values, read_arms


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("latte1", ["latte1"]),
        ("0,1, 2", ["0", "1", "2"]),
        ("{0,1}", ["0", "1"]),
        ("[left,up]", ["[left,up]"]),
        ("[left,up],[right,down]", ["[left,up]", "[right,down]"]),
        ("{[left,up],[right,down]}", ["[left,up]", "[right,down]"]),
        ("{[left,up]}", ["[left,up]"]),
        ("{{a: 1, b: 2}}", ["{a: 1, b: 2}"]),
        ("{a: 1},{b: 2}", ["{a: 1}", "{b: 2}"]),
        ("'/videos/a,b',/videos/c", ["'/videos/a,b'", "/videos/c"]),
        ("['a,b',c],d", ["['a,b',c]", "d"]),
        ("it's,that's", ["it's", "that's"]),
    ],
)
def test_commas_separate_values_but_inside_brackets_and_quotes(text: str, values: list[str]) -> None:
    assert listed_values(text) == values


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "the list is empty"),
        ("{}", "the list is empty"),
        ("0,,1", "nothing stands between two commas"),
        ("0,", "nothing stands between two commas"),
        ("[left,up", r"expected \] at the end"),
        ("'a,b", "expected ' at the end"),
    ],
)
def test_a_list_that_is_none_is_refused(text: str, told: str) -> None:
    with pytest.raises(StbenchError, match=f"^seed={re.escape(text)}: {told}"):
        read_arms([f"seed={text}"])


def test_the_words_of_all_make_a_product() -> None:
    words = ["variant=latte1,path/to/own.yaml", "train.lr=1e-4,3e-4", "preset=smoke", "seed=0,1,2"]
    assert read_arms(words) == [
        Arm(f"{name} train.lr={lr}", (f"variant={variant}", f"train.lr={lr}", "preset=smoke"), (0, 1, 2))
        for name, variant in (("latte1", "latte1"), ("own", "path/to/own.yaml"))
        for lr in ("1e-4", "3e-4")
    ]


def test_arms_that_are_no_product_get_the_words_of_all() -> None:
    arms = read_arms(
        ["dataset=shapes", "train.steps=6,8"], ["variant=latte1 variant.patch_size=4 seed=3,4", "variant=dit"]
    )
    assert [(arm.label, arm.seeds) for arm in arms] == [
        ("latte1 variant.patch_size=4 train.steps=6", (3, 4)),
        ("latte1 variant.patch_size=4 train.steps=8", (3, 4)),
        ("dit train.steps=6", (0,)),
        ("dit train.steps=8", (0,)),
    ]
    assert arms[0].words == ("variant=latte1", "variant.patch_size=4", "dataset=shapes", "train.steps=6")


def test_what_is_given_twice_is_one() -> None:
    assert read_arms(["variant=dit,dit", "seed=0,1,0"]) == [Arm("dit", ("variant=dit",), (0, 1))]
    own = ["variant=dit seed=0,1", "seed=1,2 variant=dit"]
    assert read_arms([], own) == [Arm("dit", ("variant=dit",), (0, 1, 2))]


def test_variants_of_one_name_are_told_apart_by_their_paths() -> None:
    arms = read_arms(["variant=a/own.yaml,b/own.yaml,dit"])
    assert [arm.label for arm in arms] == ["a/own.yaml", "b/own.yaml", "dit"]


@pytest.mark.parametrize(
    ("words", "own", "told"),
    [
        (["variant"], [], "expected key=value, got 'variant'"),
        (["variant=a", "variant=b"], [], "variant is given twice: expected variant=a,b"),
        (["variant=a"], ["variant=b"], "--arm 'variant=b': variant is given for all arms as well"),
        ([], ["variant='a"], "--arm .*: No closing quotation"),
        (["seed=one"], [], "seed=one: expected a whole number"),
        (["seed=-1"], [], "seed=-1: expected at least 0"),
    ],
)
def test_wrong_words_are_named(words: list[str], own: list[str], told: str) -> None:
    with pytest.raises(StbenchError, match=told):
        read_arms(words, own)


def test_an_arm_takes_other_words_in_their_place() -> None:
    arm = Arm("latte1", ("variant=latte1", "train.lr=1e-4"), (5,))
    changed = arm.with_words("train.lr=3e-4", "train.steps=10")
    assert changed == Arm("latte1", ("variant=latte1", "train.lr=3e-4", "train.steps=10"), (5,))
    assert changed.values["train.steps"] == "10"

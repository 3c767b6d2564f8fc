"""The configuration: layers in order, types and ranges, a hash of what can move a result."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from random import Random

import pytest

from stbench.errors import StbenchError
from stbench.settings.presets import PRESETS
from stbench.settings.resolve import from_dict, override, parse_overrides, resolve, resolve_settings, take_arguments
from stbench.settings.schema import Contents, RunConfig, dotted_settings

BASE = ["variant=latte1", "dataset=shapes"]
DEMO = [*BASE, "preset=demo"]
CONTENTS = Contents(videos="1" * 64, detector="2" * 64)


def known(*words: str) -> RunConfig:
    """A run whose contents were found."""
    return dataclasses.replace(resolve(words), contents=CONTENTS)


def test_layers_in_order() -> None:
    """Defaults <- YAML <- preset <- key=value."""
    plain, demo = resolve(BASE), resolve(DEMO)
    assert plain.variant.arguments["size"] == "S"  # the variant's YAML
    assert demo.variant.arguments["size"] == "tiny"  # its block for the preset
    assert resolve([*DEMO, "variant.size=XL"]).variant.arguments["size"] == "XL"
    assert demo.dataset.arguments["image_size"] == 16
    assert demo.settings.train.lr == PRESETS["demo"]["train.lr"]
    assert resolve([*DEMO, "train.lr=1e-5"]).settings.train.lr == 1e-5
    assert demo.settings.train.weight_decay == 0  # the dataclass


def test_a_preset_block_may_change_settings_of_the_run() -> None:
    assert resolve(["variant=latte1", "dataset=ucf101", "preset=paper"]).settings.eval.cfg_scale == 7
    assert resolve(["variant=latte1", "dataset=skytimelapse", "preset=paper"]).settings.eval.cfg_scale == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["variant=latte9", "dataset=shapes"], "unknown variant 'latte9': did you mean 'latte"),
        (["variant=latte1", "dataset=shape"], "unknown dataset 'shape': did you mean 'shapes'"),
        (["varient=latte1", "dataset=shapes"], "unknown key 'varient': did you mean 'variant'"),
        (["dataset=shapes"], "variant=NAME is missing"),
        (["variant=latte1"], "dataset=NAME is missing"),
        ([*BASE, "preset=demmo"], "unknown preset 'demmo': did you mean 'demo'"),
        ([*BASE, "train.stepz=1"], "unknown key 'train.stepz': did you mean 'train.steps'"),
        ([*BASE, "hydra.run=1"], "unknown key 'hydra.run'"),
        ([*BASE, "variant.sizee=S"], "unknown key of variant 'latte1' 'sizee': did you mean 'size'"),
        ([*BASE, "dataset.image=8"], "unknown key of dataset 'shapes' 'image'"),
        ([*BASE, "train.steps=many"], r"train\.steps=many: expected a whole number$"),
        ([*BASE, "train.steps=1.5"], r"train\.steps=1\.5: expected a whole number$"),
        ([*BASE, "train.steps=true"], r"train\.steps=True: expected a whole number$"),
        ([*BASE, "train.lr="], r"train\.lr=: has no value$"),
        ([*BASE, "train.lr=null"], r"train\.lr=None: expected a number$"),
        ([*BASE, "train.lr=inf"], r"train\.lr=inf: expected a number$"),
        ([*BASE, "train.lr=.inf"], r"train\.lr=inf: expected a finite number$"),
        ([*BASE, "train.weight_decay=.nan"], r"train\.weight_decay=nan: expected a finite number$"),
        ([*BASE, "train.lr=${oc.env:HOME}"], r"train\.lr=\$\{oc\.env:HOME\}: expected a number$"),
        ([*BASE, "eval.every=???"], r"eval\.every=\?\?\?: expected a whole number$"),
        ([*BASE, "train.init=5"], "train.init=5: expected text or null: put it in quotes"),
        ([*BASE, "eval.cfg_scale=1e30"], r"eval\.cfg_scale=1e\+30: expected at most 100$"),
        ([*BASE, f"seed={10**40}"], r"seed=10+\.\.\.: expected a whole number below 2\^63$"),
        ([*BASE, "seed=0,1,2"], r"seed=0,1,2: expected a whole number; one value, not several$"),
        (
            ["variant=latte1,latte2", "dataset=shapes"],
            "variant=latte1,latte2: expected one name; `stbench profile` takes",
        ),
        ([*BASE, "preset=[]"], r"unknown preset '\[\]': known"),
        ([*BASE, f"variant={'x' * 5000}"], "given twice"),
        ([*BASE, "a\nb=1", "a\nb=1"], "is given twice$"),
        ([*BASE, f"variant.size={'S' * 5000}=1", "variant=x"], "given twice"),
        ([*BASE, "variant.depth=abc"], r"variant\.depth=abc: expected a whole number or null$"),
        ([*BASE, "variant.mlp_ratio=[1]"], r"variant\.mlp_ratio=\[1\]: expected a number or null$"),
        ([*BASE, "dataset.motions=sideways"], r"dataset\.motions=sideways: expected a list such as \[sideways\]$"),
        ([*BASE, "dataset.seed=null"], r"dataset\.seed=None: expected a whole number$"),
        (["variant=latte1", "dataset=ucf101", "dataset.root=7"], "expected text or null: put it in quotes"),
        ([*BASE, "train.steps=-1"], "train.steps=-1: expected at least 0"),
        ([*BASE, "train.ema_decay=1.5"], "train.ema_decay=1.5: expected at most 1"),
        ([*BASE, "train.batch_size=0"], "train.batch_size=0: expected at least 1"),
        ([*BASE, "train.gradient_clip_norm=0"], r"norm=0.0: expected more than 0 \(largest .*; null: no limit\)"),
        ([*BASE, "train.gradient_clip_norm=.inf"], r"norm=inf: expected a finite number"),
        ([*BASE, "train.lr=.inf"], r"train\.lr=inf: expected a finite number"),
        ([*BASE, "eval.cfg_scale=.nan"], r"eval\.cfg_scale=nan: expected a finite number"),
        ([*BASE, "precision=fp8"], "unknown value of precision 'fp8': known: auto, bfloat16, float32"),
        ([*BASE, "eval.sampler=euler"], "eval.sampler=euler does not sample diffusion.objective=ddpm"),
        ([*BASE, "diffusion.timestep_density=logit_normal"], "is for diffusion.objective=flow, not ddpm"),
        ([*BASE, "diffusion.timestep_shift=3"], "timestep_shift=3.0 is for diffusion.objective=flow, not ddpm"),
        ([*BASE, "seed"], "expected key=value, got 'seed'"),
        ([*BASE, "seed=1", "seed=2"], "seed is given twice"),
        ([*BASE, "seed=[1"], r"^seed=\[1: cannot be read: "),
    ],
)
def test_wrong_use_is_one_line_that_names_it(words: list[str], message: str) -> None:
    with pytest.raises(StbenchError, match=message) as caught:
        resolve(words)
    assert "\n" not in str(caught.value)


def test_no_limit_of_the_gradient_is_null() -> None:
    assert resolve([*BASE, "train.gradient_clip_norm=null"]).settings.train.gradient_clip_norm is None


def test_off_is_a_word_here_though_yaml_reads_it_as_false() -> None:
    assert resolve(["variant=latte1", "dataset=shapes", "compile=off"]).settings.compile == "off"


def test_hash_covers_what_moves_a_result_and_nothing_else() -> None:
    base = known(*DEMO)
    same = [
        "device=cpu",
        "train.num_workers=2",
        "train.checkpoint_every=7",
        "train.init=a.pt",  # its content counts
        "eval.batch_size=3",
        "eval.report_clips=2",
        f"train.steps={PRESETS['demo']['train.steps']}",  # its value already
    ]
    for word in same:
        assert known(*DEMO, word).config_hash == base.config_hash, word
    other = ["seed=1", "train.lr=1e-3", "variant.depth=6", "dataset.seed=1", "precision=float32"]
    hashes = {known(*DEMO, word).config_hash for word in other}
    assert len(hashes | {base.config_hash}) == len(other) + 1
    roots = [known("variant=latte1", "dataset=ucf101", f"dataset.root={root}") for root in ("/a", "/b")]
    assert roots[0].config_hash == roots[1].config_hash
    assert base.dataset.arguments["image_size"] == 16  # hashing changed nothing


def test_runs_of_one_group_differ_in_the_seed_alone() -> None:
    base = known(*DEMO)
    apart = ["device=cpu", "train.num_workers=2", "eval.batch_size=3", "autoencoder.weights=a"]  # cannot move a result
    for word in ("seed=1", *apart):
        assert known(*DEMO, word).group_hash == base.group_hash, word
    roots = [known("variant=latte1", "dataset=ucf101", f"dataset.root={root}") for root in ("/a", "/b")]
    assert roots[0].group_hash == roots[1].group_hash
    other = ["eval.seed=1", "train.lr=1e-3", "variant.depth=6", "dataset.seed=1", "precision=float32"]
    hashes = {known(*DEMO, word).group_hash for word in other}
    assert len(hashes | {base.group_hash, base.config_hash}) == len(other) + 2


def test_round_trip_through_the_record() -> None:
    config = known(*DEMO, "variant.depth=6", "train.init=a.pt")
    again = from_dict(config.to_dict())
    assert again.to_dict() == config.to_dict()
    assert again.config_hash == config.config_hash
    assert from_dict(resolve(DEMO).to_dict()).contents is None
    broken = config.to_dict()
    broken["train"]["stepz"] = 1
    with pytest.raises(StbenchError, match=r"unknown key 'train\.stepz'"):
        from_dict(broken)
    broken = config.to_dict()
    broken["contents"]["video"] = "1" * 64
    with pytest.raises(StbenchError, match=r"^unknown key 'contents\.video': did you mean 'contents\.videos'"):
        from_dict(broken)


def test_a_rebuilt_run_has_the_code_that_was_kept(tmp_path: Path) -> None:
    (tmp_path / "code" / "variant").mkdir(parents=True)
    kept = tmp_path / "code" / "variant" / "kept_net.py"
    kept.write_text("from torch.nn import Module\nclass Net(Module):\n    pass\n")
    content = resolve(DEMO).to_dict()
    content["variant"] = {"name": "mine", "backbone": "kept_net:Net", "arguments": {}}
    config = from_dict(content, tmp_path / "code")
    assert Path(sys.modules[type(config.variant.construct()).__module__].__file__ or "") == kept
    assert config.dataset.folder == tmp_path / "code" / "dataset"


def test_override_of_a_finished_run() -> None:
    config = known("variant=latte1", "dataset=ucf101", "preset=smoke", "dataset.root=/a")
    changed = override(config, ["eval.cfg_scale=3", "dataset.root=/b"], ("eval.", "dataset.root"))
    assert changed.settings.eval.cfg_scale == 3
    assert changed.dataset.arguments == {**config.dataset.arguments, "root": "/b"}
    assert (changed.contents, changed.dataset.folder) == (CONTENTS, config.dataset.folder)
    with pytest.raises(StbenchError, match="unknown key of dataset 'shapes' 'root'"):
        override(resolve(DEMO), ["dataset.root=/b"], ("dataset.root",))
    with pytest.raises(StbenchError, match=r"train\.steps cannot be changed for a finished run"):
        override(config, ["train.steps=3"], ("eval.",))


@pytest.mark.parametrize(
    ("text", "value"),
    [("3", 3), ("1e-4", 1e-4), ("true", True), ("null", None), ("[disc, ring]", ["disc", "ring"]), ("a=b", "a=b")],
)
def test_values(text: str, value: object) -> None:
    assert parse_overrides([f"key={text}"]) == {"key": value}


def test_arguments_of_a_component_are_taken_out_of_the_words() -> None:
    given = {"variant": "latte1", "variant.size": "S", "dataset.a.b": 1, "variants": 2, "seed": 0}
    assert take_arguments(given, "variant") == {"size": "S"}
    assert take_arguments(given, "dataset") == {"a.b": 1}
    assert given == {"variant": "latte1", "variants": 2, "seed": 0}


def test_later_layers_go_over_earlier_ones() -> None:
    settings = resolve_settings({"train.lr": 1, "seed": 2}, {}, {"train.lr": 0.5})
    assert (settings.train.lr, settings.seed) == (0.5, 2)
    assert isinstance(settings.train.lr, float)
    assert resolve_settings({"train.lr": 1}).train.lr == 1.0


def test_a_rebuilt_run_is_checked_as_strictly_as_a_new_one() -> None:
    config = resolve([*DEMO, "diffusion.objective=ddpm", "diffusion.timestep_shift=1"])
    with pytest.raises(
        StbenchError,
        match=r"^eval\.sampler=euler does not sample .* expected one of ddpm, ddim, fifo-ddim, fifo-ddim-disjoint$",
    ):
        override(config, ["eval.sampler=euler"], ("eval.",))
    with pytest.raises(StbenchError, match=r"^unknown key of dataset 'shapes' 'rooot'"):
        override(config, ["dataset.rooot=/b"], ("dataset.roo",))
    broken = config.to_dict()
    broken["variant"]["arguments"]["sizes"] = "S"
    with pytest.raises(StbenchError, match=r"^unknown key of variant 'latte1' 'sizes': did you mean 'size'"):
        from_dict(broken)
    broken = config.to_dict()
    broken["train"]["lr"] = "fast"
    with pytest.raises(StbenchError, match=r"^train\.lr=fast: expected a number$"):
        from_dict(broken)


ODD_VALUES = [
    *(
        "",
        "0",
        "-1",
        "1e3",
        "1e400",
        ".inf",
        ".nan",
        "null",
        "true",
        "off",
        "[]",
        "[1]",
        "{a: 1}",
        "???",
        "${oc.env:HOME}",
    ),
    *(
        "2020-13-45",
        "!!binary aGk=",
        "!!python/object:os.system a",
        "1" * 30,
        "\udce9",
        "a\nb",
        "\x00",
        "*a",
        "&a b",
        "[[",
    ),
    *("12:30:45", "tiny", "pixels", "../..", "x" * 3000),
]


@pytest.mark.parametrize("seed", range(5))
def test_odd_words_are_a_plain_run_or_one_short_line(seed: int) -> None:
    random = Random(seed)
    arguments = [
        f"{kind}.{name}" for kind in ("variant", "dataset") for name in ("size", "depth", "seed", "motions", "x")
    ]
    keys = [*dotted_settings(), *arguments, "variant", "dataset", "preset", "", "train", "a.b"]
    refused = 0
    for _ in range(60):
        words = [*BASE, "preset=smoke", *(f"{random.choice(keys)}={random.choice(ODD_VALUES)}" for _ in range(2))]
        try:
            json.dumps(resolve(words).to_dict(), allow_nan=False).encode()
        except StbenchError as error:
            refused += 1
            assert len(str(error)) < 400
            assert "\n" not in str(error)
            str(error).encode()  # nothing that a terminal cannot show
    assert refused > 30


@pytest.mark.parametrize(
    ("key", "said"),
    [("num_fake", "eval.num_clips"), ("cfg_scale", "eval.cfg_scale"), ("num_frames", "dataset.num_frames")],
)
def test_a_word_of_fvd_is_answered_with_that_of_a_run(key: str, said: str) -> None:
    with pytest.raises(
        StbenchError, match=rf"^protocol\.{key} is for videos that are there already: a run says {said}$"
    ):
        resolve(["variant=latte1", "dataset=shapes", f"protocol.{key}=8"])


def test_a_mapping_is_the_same_run_as_words() -> None:
    words = ["variant=latte1", "variant.depth=2", "dataset=video_folder", "dataset.root=/videos", "train.lr=1e-3"]
    settings = {"variant": "latte1", "variant.depth": 2, "dataset": "video_folder", "dataset.root": Path("/videos")}
    assert resolve({**settings, "train.lr": 0.001}) == resolve(words)
    with pytest.raises(StbenchError, match="expected a list of key=value words or a mapping, got 'variant=latte1'"):
        resolve("variant=latte1")

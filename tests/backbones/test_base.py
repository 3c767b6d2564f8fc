"""The contract of a backbone: what its `forward` receives, and which facts of a run its constructor may list."""

from __future__ import annotations

import dataclasses
import inspect
import re
from pathlib import Path

import pytest
import torch
from torch import nn

import stbench.backbones
from stbench.backbones.base import RUN_FACTS, UNCONDITIONAL, Conditioning
from stbench.backbones.latte import Latte
from stbench.backbones.pseudo3d_unet import Pseudo3DUNet
from stbench.errors import StbenchError


def test_nothing_is_given_by_default() -> None:
    assert Conditioning() == UNCONDITIONAL
    assert vars(UNCONDITIONAL) == {
        "class_labels": None,
        "context": None,
        "fps": None,
        "num_images": 0,
        "image_labels": None,
        "concat": None,
        "first_frame": None,
        "motion_mask": None,
        "motion_strength": None,
    }


def test_a_conditioning_moves_with_all_its_tensors() -> None:
    labels, images = torch.tensor([1, 2]), torch.zeros(2, 3, dtype=torch.long)
    conditioning = Conditioning(labels, torch.randn(2, 5, 4), torch.tensor([8.0, 24.0]), 3, images)
    moved = conditioning.to(torch.device("meta"))
    tensors = {name: value for name, value in vars(moved).items() if isinstance(value, torch.Tensor)}
    assert {name: (tuple(value.shape), value.dtype, value.device.type) for name, value in tensors.items()} == {
        "class_labels": ((2,), torch.int64, "meta"),
        "context": ((2, 5, 4), torch.float32, "meta"),
        "fps": ((2,), torch.float32, "meta"),
        "image_labels": ((2, 3), torch.int64, "meta"),
    }
    assert moved.num_images == 3
    assert conditioning.class_labels is labels  # the old one stays where it is


def test_what_is_missing_stays_missing_on_another_device() -> None:
    assert UNCONDITIONAL.to(torch.device("meta")) == UNCONDITIONAL
    assert Conditioning(num_images=2).to(torch.device("cpu")) == Conditioning(num_images=2)


def test_a_conditioning_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        UNCONDITIONAL.num_images = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("backbone", "listed"),
    [
        (Latte, ["in_channels", "sample_size", "num_frames", "num_classes", "learned_variance"]),
        (Pseudo3DUNet, ["in_channels", "num_classes", "learned_variance"]),  # convolutional: of any size
    ],
)
def test_facts_of_a_run_that_a_family_lists(backbone: type[nn.Module], listed: list[str]) -> None:
    parameters = inspect.signature(backbone).parameters
    assert [name for name in RUN_FACTS if name in parameters] == listed
    assert all(parameter.kind is parameter.KEYWORD_ONLY for parameter in parameters.values())
    assert not any(parameter.default is parameter.empty for parameter in parameters.values())


WHOLE = [
    (family, name)
    for family in (Latte, Pseudo3DUNet)
    for name, parameter in inspect.signature(family).parameters.items()
    if parameter.annotation in ("int", "int | None")
]


@pytest.mark.parametrize(("family", "name"), WHOLE)
@pytest.mark.parametrize("value", [0, -1, -2, 1.5, "two", True])
def test_a_size_of_zero_or_less_is_refused(family: type[nn.Module], name: str, value: object) -> None:
    """0 used to stand for "the default": the record said depth 0 of a network of 4 blocks."""
    if value == 0 and name in ("num_classes", "text_dim"):
        return  # there, it means none
    with (
        torch.device("meta"),
        pytest.raises(StbenchError, match=rf"^{name}={value}: expected a whole number, at least"),
    ):
        family(**{name: value})


@pytest.mark.parametrize("ratio", [0, -4, 0.001, float("inf"), float("nan")])
def test_an_mlp_has_a_hidden_layer(ratio: float) -> None:
    with (
        torch.device("meta"),
        pytest.raises(StbenchError, match=rf"^mlp_ratio={ratio} gives hidden_size=192 an MLP of"),
    ):
        Latte(size="tiny", mlp_ratio=ratio)


def test_families_do_not_know_each_other() -> None:
    """A family imports what all share and its own folder; what all share imports no family."""
    root = Path(stbench.backbones.__file__).parent
    families = {path.name for path in root.iterdir() if (path / "__init__.py").exists()}
    assert families >= {"latte", "pseudo3d_unet"}
    for path in root.rglob("*.py"):
        imported = set(re.findall(r"stbench\.backbones\.(\w+)", path.read_text(encoding="utf-8")))
        assert imported & families <= {path.relative_to(root).parts[0]}, path


def test_all_clips_have_one_rate_or_none() -> None:
    told = Conditioning(class_labels=torch.tensor([1, 2]), fps=torch.tensor([3.0, 4.0]))
    assert torch.equal(torch.tensor([7.5, 7.5]), told.at_rate(7.5, 2).fps)  # type: ignore[arg-type]
    assert told.at_rate(None, 2).fps is None
    assert told.at_rate(None, 2).class_labels is told.class_labels

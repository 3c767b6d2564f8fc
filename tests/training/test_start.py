"""Where training starts (`train.init`): a run, its checkpoint, a published file, an image model; what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from stbench.backbones.latte import Latte
from stbench.backbones.published import to_published
from stbench.errors import StbenchError
from stbench.settings.schema import TrainConfig
from stbench.training.checkpoint import save_checkpoint
from stbench.training.loop import new_state
from stbench.training.start import initialise_from, read_any_weights

TINY: dict[str, Any] = {"hidden_size": 16, "depth": 4, "num_heads": 2, "sample_size": 8, "num_frames": 4}
NETWORK: dict[str, Any] = {
    "backbone": "stbench.backbones.latte:Latte",
    "arguments": {"num_heads": 2, "depth": 4, "sizes": (1, 2)},
}


def latte(seed: int, **options: Any) -> Latte:
    """A tiny Latte whose every weight is noise: a fresh one has zeros, which would hide what was not loaded."""
    backbone, random = Latte(**{**TINY, **options}), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=random))
    return backbone


def saved_run(backbone: nn.Module, folder: Path, steps: int = 1) -> Path:
    """A run's folder with a checkpoint of `steps` steps, whose averaged weights are those of `backbone`."""
    state = new_state(backbone, TrainConfig())
    with torch.no_grad():
        for parameter in state.backbone.parameters():
            parameter.add_(1)  # the trained weights, which nobody starts from
    state.step = steps
    return save_checkpoint(state, folder / "checkpoints", "hash", NETWORK)


def same(backbone: nn.Module, expected: dict[str, Tensor]) -> bool:
    state = backbone.state_dict()
    return state.keys() == expected.keys() and all(torch.equal(state[name], expected[name]) for name in state)


def copied(backbone: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in backbone.state_dict().items()}


# What can be loaded


def test_a_run_gives_the_averaged_weights_of_its_newest_checkpoint(tmp_path: Path) -> None:
    older, newer = nn.Linear(2, 3), nn.Linear(2, 3)
    expected = copied(newer)
    saved_run(older, tmp_path, steps=9)
    saved_run(newer, tmp_path, steps=10)
    backbone = nn.Linear(2, 3)
    assert initialise_from(backbone, str(tmp_path), NETWORK) == f"averaged weights of {tmp_path}"
    assert same(backbone, expected)


def test_a_checkpoint_of_a_run_can_be_named_itself(tmp_path: Path) -> None:
    older, newer = nn.Linear(2, 3), nn.Linear(2, 3)
    expected = copied(older)
    path = saved_run(older, tmp_path, steps=9)
    saved_run(newer, tmp_path, steps=10)
    backbone = nn.Linear(2, 3)
    assert initialise_from(backbone, str(path), NETWORK) == f"averaged weights of {path}"
    assert same(backbone, expected)


def test_a_run_of_the_same_backbone_is_not_mistaken_for_a_published_file(tmp_path: Path) -> None:
    source = latte(1)
    expected = copied(source)
    saved_run(source, tmp_path)
    backbone = latte(2)
    assert initialise_from(backbone, str(tmp_path), NETWORK) == f"averaged weights of {tmp_path}"
    assert same(backbone, expected)


@pytest.mark.parametrize("ending", ["pt", "safetensors"])
def test_a_file_of_a_networks_own_names(ending: str, tmp_path: Path) -> None:
    """Under another name than a checkpoint's, a safetensors file is read as it is."""
    source, path = nn.Linear(2, 3), tmp_path / f"weights.{ending}"
    save: Callable[[Any, Path], Any] = torch.save if ending == "pt" else save_file
    save(source.state_dict(), path)
    backbone = nn.Linear(2, 3)
    initialise_from(backbone, str(path), NETWORK)
    assert same(backbone, source.state_dict())


def test_a_published_file_gives_its_averaged_weights(tmp_path: Path) -> None:
    path, ema, model = tmp_path / "latte.pt", latte(1), latte(2)
    torch.save({"model": to_published(model), "ema": to_published(ema)}, path)
    backbone = latte(3)
    assert initialise_from(backbone, str(path), NETWORK) == f"published weights {path}"
    assert same(backbone, ema.state_dict())


@pytest.mark.parametrize("published", [True, False], ids=["the authors' names", "a run of our own"])
def test_an_image_model_goes_into_the_spatial_blocks(published: bool, tmp_path: Path) -> None:
    image = latte(1, arrangement="spatial", depth=2)
    weights = copied(image)
    if published:
        path = tmp_path / "dit.pt"
        torch.save(to_published(image), path)
    else:
        path = tmp_path
        saved_run(image, tmp_path)
    backbone = latte(2)
    before = copied(backbone)
    assert initialise_from(backbone, str(path), NETWORK) == f"image model {path} into the spatial blocks"
    after = backbone.state_dict()
    for block, source in ((0, 0), (2, 1)):  # an interleaved Latte alternates: spatial, temporal
        for name in backbone.blocks[block].state_dict():
            assert torch.equal(after[f"blocks.{block}.{name}"], weights[f"blocks.{source}.{name}"])
    for block in (1, 3):
        for name in backbone.blocks[block].state_dict():
            assert torch.equal(after[f"blocks.{block}.{name}"], before[f"blocks.{block}.{name}"])
    assert torch.equal(after["final.linear.weight"], weights["final.linear.weight"])


def test_the_home_folder_may_be_abbreviated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    source = nn.Linear(2, 3)
    torch.save(source.state_dict(), tmp_path / "weights.pt")
    backbone = nn.Linear(2, 3)
    assert initialise_from(backbone, "~/weights.pt", NETWORK) == f"averaged weights of {tmp_path / 'weights.pt'}"
    assert same(backbone, source.state_dict())


def test_reading_alone_changes_no_network(tmp_path: Path) -> None:
    source = nn.Linear(2, 3)
    expected = copied(source)
    path = saved_run(source, tmp_path)
    for place in (tmp_path, path):
        weights, architecture = read_any_weights(place)
        assert architecture == {**NETWORK, "arguments": {**NETWORK["arguments"], "sizes": [1, 2]}}
        assert weights.keys() == expected.keys()
        assert all(torch.equal(weights[name], expected[name]) for name in weights)


def test_the_parameters_stay_the_ones_that_an_optimizer_holds(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save(nn.Linear(2, 3).state_dict(), path)
    backbone = nn.Linear(2, 3)
    weight = backbone.weight
    initialise_from(backbone, str(path), NETWORK)
    assert backbone.weight is weight
    assert weight.requires_grad


# What is refused


def message_of(backbone: nn.Module, source: Path) -> str:
    before = copied(backbone)
    with pytest.raises(StbenchError) as caught:
        initialise_from(backbone, str(source), NETWORK)
    assert same(backbone, before)  # nothing was half loaded
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_an_empty_folder(tmp_path: Path) -> None:
    assert message_of(nn.Linear(2, 3), tmp_path) == f"{tmp_path} holds no checkpoints: expected a run's folder"


def test_a_half_written_checkpoint_is_none(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "step-00000001.partial").write_bytes(b"half")
    assert message_of(nn.Linear(2, 3), tmp_path) == f"{tmp_path} holds no checkpoints: expected a run's folder"


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    assert message_of(nn.Linear(2, 3), path) == f"weights file {path} does not exist"


def test_a_file_that_is_only_called_like_a_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "step-00000001.safetensors"
    save_file(nn.Linear(2, 3).state_dict(), path)
    expected = f"{path} is not a checkpoint of a run: it has no SHA-256 of what it holds"
    assert message_of(nn.Linear(2, 3), path) == expected


def test_a_truncated_checkpoint_says_its_size(tmp_path: Path) -> None:
    path = saved_run(nn.Linear(2, 3), tmp_path)
    path.write_bytes(path.read_bytes()[:50])
    message = message_of(nn.Linear(2, 3), tmp_path)
    assert message.startswith(f"checkpoint {path} (50 bytes) is damaged: ")
    assert message.endswith("; delete it, and the one before is taken")


def test_a_run_of_another_network(tmp_path: Path) -> None:
    saved_run(nn.Linear(2, 3), tmp_path)
    expected = f"{tmp_path}: weights of another network: 1 of another shape (weight (3, 2) instead of (3, 4))"
    assert message_of(nn.Linear(4, 3), tmp_path) == expected
    expected = f"{tmp_path}: weights of another network: 1 left over (bias)"
    assert message_of(nn.Linear(2, 3, bias=False), tmp_path) == expected


def test_a_file_with_two_sets_but_no_averaged_one(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save({"model": nn.Linear(2, 3).state_dict(), "optimizer": {}}, path)
    assert message_of(nn.Linear(2, 3), path) == f"{path}: holds no weights 'ema', but model, optimizer"


def test_a_file_that_holds_more_than_tensors(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save({**nn.Linear(2, 3).state_dict(), "epoch": 7}, path)
    assert message_of(nn.Linear(2, 3), path) == f"{path}: expected names and tensors, got int under 'epoch'"


def test_an_image_model_for_a_network_without_spatial_blocks(tmp_path: Path) -> None:
    path = tmp_path / "dit.pt"
    torch.save(to_published(latte(1, arrangement="spatial", depth=2)), path)
    assert message_of(latte(2, arrangement="parallel"), path) == (
        f"arrangement=parallel has no purely spatial blocks to load {path} into: image pretraining needs interleaved "
        "or late_fusion"
    )


def test_a_published_file_for_a_family_without_any(tmp_path: Path) -> None:
    """The authors' names mean nothing to it: they are another network's."""
    path = tmp_path / "latte.pt"
    torch.save({"pos_embed": torch.zeros(2)}, path)
    assert message_of(nn.Linear(2, 3), path) == (
        f"{path}: weights of another network: 2 missing (weight, bias); 1 left over (pos_embed)"
    )


@pytest.mark.parametrize(
    ("changes", "differences"),
    [
        ({"num_heads": 4}, "num_heads=2 instead of 4"),
        ({"num_heads": 1, "depth": 2}, "depth=4 instead of 2, num_heads=2 instead of 1"),
        ({"sizes": [1, 3]}, "sizes=[1, 2] instead of [1, 3]"),
        ({"window": 8}, "window=None instead of 8"),
        ({"backbone": "my:Latte"}, "backbone=stbench.backbones.latte:Latte instead of my:Latte"),
    ],
)
def test_weights_of_another_network_of_equal_shapes_are_refused(
    changes: dict[str, Any], differences: str, tmp_path: Path
) -> None:
    """They used to be taken without a word."""
    path, backbone = saved_run(latte(0), tmp_path), latte(1)
    before = copied(backbone)
    other = {"backbone": changes.pop("backbone", NETWORK["backbone"]), "arguments": {**NETWORK["arguments"], **changes}}
    with pytest.raises(StbenchError) as caught:
        initialise_from(backbone, str(path), other)
    assert str(caught.value) == f"{path}: weights of another network: {differences}"
    assert same(backbone, before)


def test_what_matters_in_training_alone_may_differ(tmp_path: Path) -> None:
    changes = {"dropout": 0.1, "drop_path_rate": 0.2, "gradient_checkpointing": True}
    other = {**NETWORK, "arguments": {**NETWORK["arguments"], **changes}}
    initialise_from(latte(1), str(saved_run(latte(0), tmp_path)), other)


def test_an_argument_that_there_was_not_yet_had_its_default(tmp_path: Path) -> None:
    path, arguments = saved_run(latte(0), tmp_path), NETWORK["arguments"]
    initialise_from(latte(1), str(path), {**NETWORK, "arguments": {**arguments, "gate_start": 0.0}})
    with pytest.raises(StbenchError, match=r"weights of another network: gate_start=0\.0 instead of 5\.0$"):
        initialise_from(latte(1), str(path), {**NETWORK, "arguments": {**arguments, "gate_start": 5.0}})


def test_an_image_model_has_the_heads_of_the_video_model(tmp_path: Path) -> None:
    """The number of heads shows in no shape; arrangement and depth of the two differ of course."""
    path = saved_run(latte(0, arrangement="spatial", depth=2), tmp_path)
    video = {"backbone": NETWORK["backbone"], "arguments": {**NETWORK["arguments"], "depth": 8, "arrangement": "x"}}
    assert "into the spatial blocks" in initialise_from(latte(1), str(path), video)
    video["arguments"]["num_heads"] = 4
    with pytest.raises(StbenchError, match=r"weights of another network: num_heads=2 instead of 4$"):
        initialise_from(latte(1), str(path), video)

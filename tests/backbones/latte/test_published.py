"""The authors' names and shapes of Latte and DiT, and image models in video models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from stbench.backbones.latte.network import Latte
from stbench.backbones.latte.published import LatteLayout
from stbench.backbones.published import from_published, load_published, published_layout, to_published
from stbench.errors import StbenchError
from stbench.training.start import initialise_from

TINY: dict[str, Any] = {"hidden_size": 16, "depth": 4, "num_heads": 2, "sample_size": 8, "num_frames": 4}


def build(seed: int = 0, **options: Any) -> Latte:
    latte = Latte(**{**TINY, **options})
    with torch.no_grad():
        for index, parameter in enumerate(latte.parameters()):
            parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1000 * seed + index)))
    return latte


def equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_names_and_shapes_of_the_published_xl() -> None:
    """All 293 tensors of Latte-XL/2 with 101 classes, from the list of the authors' file."""
    d = 1152
    expected: dict[str, tuple[int, ...]] = {
        "pos_embed": (1, 256, d),
        "temp_embed": (1, 16, d),
        "x_embedder.proj.weight": (d, 4, 2, 2),
        "x_embedder.proj.bias": (d,),
        "t_embedder.mlp.0.weight": (d, 256),
        "t_embedder.mlp.0.bias": (d,),
        "t_embedder.mlp.2.weight": (d, d),
        "t_embedder.mlp.2.bias": (d,),
        "y_embedder.embedding_table.weight": (102, d),
        "final_layer.linear.weight": (32, d),
        "final_layer.linear.bias": (32,),
        "final_layer.adaLN_modulation.1.weight": (2 * d, d),
        "final_layer.adaLN_modulation.1.bias": (2 * d,),
    }
    for i in range(28):
        for name, rows, columns in (
            ("attn.qkv", 3 * d, d),
            ("attn.proj", d, d),
            ("mlp.fc1", 4 * d, d),
            ("mlp.fc2", d, 4 * d),
            ("adaLN_modulation.1", 6 * d, d),
        ):
            expected |= {f"blocks.{i}.{name}.weight": (rows, columns), f"blocks.{i}.{name}.bias": (rows,)}
    with torch.device("meta"):
        published = to_published(Latte(size="XL", num_classes=101))
    assert {name: tuple(tensor.shape) for name, tensor in published.items()} == expected
    assert len(expected) == 293
    assert sum(tensor.numel() for tensor in published.values()) == 674_112_416


@pytest.mark.parametrize("options", [{}, {"num_classes": 3}, {"text_dim": 12}, {"arrangement": "spatial"}], ids=str)
def test_round_trip(options: dict[str, Any]) -> None:
    first, second = build(1, **options), build(2, **options)
    second.load_state_dict(from_published(second, to_published(first)))
    assert equal(first.state_dict(), second.state_dict())
    names = published_layout(first).names(first)
    assert len(set(names.values())) == len(names)


def test_what_is_missing_or_left_over_is_named() -> None:
    latte = build()
    state = to_published(latte)
    gone = dict(state)
    del gone["blocks.1.mlp.fc1.bias"]
    with pytest.raises(StbenchError, match=r"1 missing \(blocks\.1\.mlp\.fc1\.bias\)"):
        load_published(latte, gone)
    with pytest.raises(StbenchError, match=r"1 left over \(y_embedder\.embedding_table\.weight\)"):
        load_published(latte, {**state, "y_embedder.embedding_table.weight": torch.zeros(6, 16)})
    with pytest.raises(StbenchError, match=r"of another shape \(patch_embed\.weight"):
        load_published(latte, {**state, "x_embedder.proj.weight": torch.zeros(16, 4, 4, 4)})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"arrangement": arrangement},
            f"no weights of {arrangement} were published: there are those of Latte's interleaved arrangement and of "
            "DiT (arrangement=spatial)",
        )
        for arrangement in ("late_fusion", "sequential", "parallel")
    ]
    + [
        (
            options,
            "the published Latte has conditioning=adaln and patch_embedding=uniform: other networks have no published "
            "weights",
        )
        for options in ({"conditioning": "tokens"}, {"patch_embedding": "compression"})
    ],
    ids=str,
)
def test_networks_without_published_weights_say_so(options: dict[str, Any], message: str) -> None:
    with pytest.raises(StbenchError) as caught:
        to_published(Latte(**{**TINY, **options}))
    assert str(caught.value) == message


def test_the_patch_embedding_is_a_2d_convolution_in_the_authors_files() -> None:
    layout, kernel = LatteLayout(), torch.randn(16, 4, 1, 2, 2)
    published = layout.to_authors("patch_embed.weight", kernel)
    assert published.shape == (16, 4, 2, 2)
    assert torch.equal(layout.to_ours("patch_embed.weight", published), kernel)
    assert torch.equal(layout.to_ours("patch_embed.weight", kernel), kernel)  # Some files hold the axis already.
    bias = torch.randn(16)
    assert layout.to_ours("patch_embed.bias", bias) is layout.to_authors("patch_embed.bias", bias) is bias


def test_dit_has_no_time_in_the_authors_names() -> None:
    names = LatteLayout().names(build(arrangement="spatial"))
    assert names.keys() == build(arrangement="spatial").state_dict().keys() - {"temporal_table"}
    assert "temp_embed" not in names.values()


def test_published_weights_are_known_by_the_name_of_the_position_table() -> None:
    layout, latte = LatteLayout(), build()
    assert layout.is_published(to_published(latte))
    assert not layout.is_published(latte.state_dict())


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        ({"arrangement": "spatial", "depth": 2}, {}, True),
        ({"arrangement": "spatial", "depth": 2}, {"arrangement": "late_fusion"}, True),
        ({"arrangement": "spatial", "depth": 4}, {"arrangement": "spatial"}, False),  # An image model is its own kind.
        ({"arrangement": "spatial", "depth": 2}, {"arrangement": "spatial"}, False),
        ({}, {}, False),
    ],
)
def test_image_models_are_known_by_their_number_of_blocks(
    source: dict[str, Any], target: dict[str, Any], expected: bool
) -> None:
    weights, video = build(**source), build(**target)
    assert LatteLayout().is_image_model(to_published(weights), video) is expected
    assert LatteLayout().is_image_model(weights.state_dict(), video) is expected


@pytest.mark.parametrize("names", ["ours", "authors"])
@pytest.mark.parametrize(("arrangement", "spatial"), [("interleaved", [0, 2]), ("late_fusion", [0, 1])])
def test_image_weights_go_into_the_spatial_blocks_only(names: str, arrangement: str, spatial: list[int]) -> None:
    image = build(1, arrangement="spatial", depth=2, num_frames=1, num_classes=3)
    video = build(2, arrangement=arrangement, num_classes=3)
    before = {name: tensor.clone() for name, tensor in video.state_dict().items()}
    LatteLayout().load_image_model(
        video, to_published(image) if names == "authors" else image.state_dict(), "an image model"
    )
    source = image.state_dict()
    for name, tensor in video.state_dict().items():
        number = int(name.split(".")[1]) if name.startswith("blocks.") else None
        if name == "temporal_table" or (number is not None and number not in spatial):
            assert torch.equal(tensor, before[name]), name
        else:
            ours = name if number is None else name.replace(f"blocks.{number}.", f"blocks.{spatial.index(number)}.")
            assert torch.equal(tensor, source[ours]), name


def test_image_weights_that_do_not_fit_are_refused() -> None:
    layout, image = LatteLayout(), build(1, arrangement="spatial", depth=4, num_frames=1)
    video = build(2)
    before = {name: tensor.clone() for name, tensor in video.state_dict().items()}
    with pytest.raises(StbenchError, match=r"^dit\.pt: weights of another network: 20 left over \(blocks\.2\."):
        layout.load_image_model(video, image.state_dict(), "dit.pt")
    with pytest.raises(StbenchError, match=r"^dit\.pt: not the published weights of this network: 20 left over"):
        layout.load_image_model(video, to_published(image), "dit.pt")
    assert equal(video.state_dict(), before)
    for arrangement in ("parallel", "sequential"):
        with pytest.raises(StbenchError) as caught:
            layout.load_image_model(build(arrangement=arrangement), image.state_dict(), "dit.pt")
        assert str(caught.value) == (
            f"arrangement={arrangement} has no purely spatial blocks to load dit.pt into: image pretraining needs "
            "interleaved or late_fusion"
        )


def test_loading_an_image_model_leaves_the_video_model_what_it_is() -> None:
    image, video = build(1, arrangement="spatial", depth=2), build(2)
    blocks, kept = video.blocks, list(video.parameters())
    state = torch.get_rng_state()
    LatteLayout().load_image_model(video, to_published(image), "an image model")
    assert torch.equal(torch.get_rng_state(), state)
    assert video.arrangement == "interleaved"
    assert video.blocks is blocks
    assert len(blocks) == 4
    assert all(a is b for a, b in zip(video.parameters(), kept, strict=True))


def test_initialise_from_recognises_what_it_gets(tmp_path: Path) -> None:
    published, image = build(1), build(2, arrangement="spatial", depth=2)
    torch.save({"model": {}, "ema": to_published(published)}, tmp_path / "latte.pt")
    torch.save(to_published(image), tmp_path / "dit.pt")
    save_file(published.state_dict(), tmp_path / "own.safetensors")
    video = build(3)
    assert "published weights" in initialise_from(video, str(tmp_path / "latte.pt"), {})
    assert equal(video.state_dict(), published.state_dict())
    assert "into the spatial blocks" in initialise_from(video, str(tmp_path / "dit.pt"), {})
    assert torch.equal(video.state_dict()["blocks.2.mlp.0.weight"], image.state_dict()["blocks.1.mlp.0.weight"])
    assert torch.equal(video.state_dict()["blocks.1.mlp.0.weight"], published.state_dict()["blocks.1.mlp.0.weight"])
    initialise_from(video, str(tmp_path / "own.safetensors"), {})
    assert equal(video.state_dict(), published.state_dict())
    with pytest.raises(StbenchError, match="holds no checkpoints"):
        initialise_from(video, str(tmp_path), {})

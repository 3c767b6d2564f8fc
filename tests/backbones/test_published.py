"""Published weights of any family, on a small one made for this: names in both directions, strictness, safe reading."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from stbench.backbones.pseudo3d_unet import Pseudo3DUNet
from stbench.backbones.published import (
    PublishedLayout,
    choose_weights,
    from_published,
    load_published,
    published_layout,
    to_published,
)
from stbench.errors import StbenchError


class TransposedLayout(PublishedLayout):
    """The authors call the layer `fc`, and keep its matrix the other way round."""

    def names(self, backbone: Any) -> dict[str, str]:
        return {"linear.weight": "fc.kernel", "linear.bias": "fc.bias"}

    def is_published(self, state: Mapping[str, Tensor]) -> bool:
        return "fc.kernel" in state

    def to_authors(self, name: str, tensor: Tensor) -> Tensor:
        return tensor.T if name == "linear.weight" else tensor

    to_ours = to_authors


class Family(nn.Module):
    """A backbone with published weights, and a table that the authors do not publish."""

    published_layout = TransposedLayout()
    table: Tensor

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.linear = nn.Linear(64, 48)
        self.register_buffer("table", torch.full((3,), float(seed)))
        generator = torch.Generator().manual_seed(seed)
        for parameter in self.parameters():
            parameter.data.copy_(torch.randn(parameter.shape, generator=generator))


def equal(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_names_and_shapes_of_the_authors() -> None:
    published = to_published(Family())
    assert {name: tuple(tensor.shape) for name, tensor in published.items()} == {
        "fc.kernel": (64, 48),
        "fc.bias": (48,),
    }


def test_round_trip_keeps_what_is_not_published() -> None:
    first, second = Family(1), Family(2)
    state = from_published(second, to_published(first))
    assert equal(state, {**first.state_dict(), "table": second.table})
    second.load_state_dict(state)
    assert equal(to_published(second), to_published(first))


def test_missing_and_left_over_names_are_counted_and_the_first_three_named() -> None:
    zero = torch.zeros(1)
    with pytest.raises(StbenchError) as caught:
        from_published(Family(), {"fc.bias": zero, "d": zero, "c": zero, "b": zero, "a": zero}, "some.pt")
    assert str(caught.value) == (
        "some.pt: not the published weights of this network: 1 missing (fc.kernel); 4 left over (a, b, c)"
    )


def test_weights_of_another_shape_are_refused_and_change_nothing() -> None:
    family = Family(1)
    before = {name: tensor.clone() for name, tensor in family.state_dict().items()}
    with pytest.raises(StbenchError) as caught:
        load_published(family, {**to_published(Family(2)), "fc.kernel": torch.zeros(64, 47)})
    assert str(caught.value) == (
        "state dict: weights of another network: 1 of another shape (linear.weight (47, 64) instead of (48, 64))"
    )
    assert equal(family.state_dict(), before)


@pytest.mark.parametrize("ending", ["pt", "safetensors"])
@pytest.mark.parametrize("which", ["ema", "model", None])
def test_files(tmp_path: Path, ending: str, which: str | None) -> None:
    ema, model, loaded = to_published(Family(1)), to_published(Family(2)), Family(3)
    path = tmp_path / f"family.{ending}"
    if ending == "safetensors":
        state = ema if which != "model" else model
        save_file({name: tensor.contiguous() for name, tensor in state.items()}, path)
    else:
        torch.save({"model": model, "ema": ema} if which else ema, path)
    assert load_published(loaded, path, *([which] if which else [])) is loaded
    assert equal(to_published(loaded), model if which == "model" else ema)


class Code:
    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("this must not run",)


def test_files_that_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    family, path = Family(), tmp_path / "weights.pt"
    with pytest.raises(StbenchError, match=r"weights\.pt does not exist"):
        load_published(family, path)
    path.write_text("<!DOCTYPE html><html>quota exceeded</html>")
    with pytest.raises(StbenchError, match="web page"):
        load_published(family, path)
    torch.save({"ema": Code()}, path)
    with pytest.raises(StbenchError, match="cannot be read as weights"):
        load_published(family, path)
    assert "must not run" not in capsys.readouterr().out
    torch.save(to_published(family), path)
    path.write_bytes(path.read_bytes()[:-4000])
    with pytest.raises(StbenchError, match="cannot be read as weights"):
        load_published(family, path)
    torch.save({"generator": to_published(family)}, path)
    with pytest.raises(StbenchError, match="holds no weights 'ema', but generator"):
        load_published(family, path)


def test_sets_of_weights_in_one_file() -> None:
    a, b = torch.zeros(1), torch.ones(1)
    assert choose_weights({"w": a}, "ema", "f.pt") == {"w": a}  # the only set needs no name
    content = {"ema": {"w": a}, "model": {"w": b}, "step": 7}
    assert choose_weights(content, "model", "f.pt") == {"w": b}
    with pytest.raises(StbenchError) as caught:
        choose_weights(content, "teacher", "f.pt")
    assert str(caught.value) == "f.pt: holds no weights 'teacher', but ema, model"
    with pytest.raises(StbenchError, match=r"^f\.pt: holds no weights 'step', but ema, model$"):
        choose_weights(content, "step", "f.pt")


def test_a_family_without_published_weights_says_so() -> None:
    with torch.device("meta"):
        unpublished = Pseudo3DUNet(size="tiny")
    for ask in (published_layout, to_published, lambda network: load_published(network, {})):
        with pytest.raises(StbenchError) as caught:
            ask(unpublished)
        assert str(caught.value) == (
            "no weights of Pseudo3DUNet were published: there are those of Latte's interleaved arrangement and of DiT "
            "(arrangement=spatial)"
        )


class SameShapes(PublishedLayout):
    """The least that a family must say."""

    def names(self, backbone: Any) -> dict[str, str]:
        return {name: f"net.{name}" for name in backbone.state_dict()}

    def is_published(self, state: Mapping[str, Tensor]) -> bool:
        return all(name.startswith("net.") for name in state)


def test_what_a_layout_says_unless_a_family_says_more() -> None:
    layout, tensor = SameShapes(), torch.zeros(2, 3)
    assert layout.to_authors("w", tensor) is tensor
    assert layout.to_ours("w", tensor) is tensor
    assert layout.is_image_model({"net.w": tensor}, Family()) is False
    with pytest.raises(StbenchError, match=r"^Family cannot start from an image model such as dit\.pt$"):
        layout.load_image_model(Family(), {}, "dit.pt")


def test_a_layout_must_name_and_recognise_its_weights() -> None:
    with pytest.raises(TypeError, match="abstract"):
        PublishedLayout()  # type: ignore[abstract]


class InAPipeline(TransposedLayout):
    prefix = "model.network."


def test_files_that_hold_more_than_the_network() -> None:
    first, second = Family(1), Family(2)
    second.published_layout = InAPipeline()
    state = {f"model.network.{name}": tensor for name, tensor in to_published(first).items()}
    load_published(second, {"state_dict": {**state, "text_encoder.w": torch.zeros(1)}, "epoch": {}})
    assert equal(to_published(second), to_published(first))
    load_published(second, to_published(first))  # alone it needs no prefix
    with pytest.raises(StbenchError, match=r"1 missing \(fc\.bias\); 1 left over \(fc\.scale\)"):
        load_published(
            second, {"model.network.fc.kernel": torch.zeros(64, 48), "model.network.fc.scale": torch.ones(1)}
        )

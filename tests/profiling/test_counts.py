"""The counters agree on every variant, and where they do not the record says so."""

from __future__ import annotations

from typing import Any

import pytest
import torch.nn.functional as F
from torch import Tensor, nn

from stbench import paths
from stbench.backbones.base import RUN_FACTS, Conditioning
from stbench.backbones.latte import Latte
from stbench.profiling import counts as counts_module
from stbench.profiling.counts import count
from stbench.profiling.flops import OperationCounts, count_operations
from stbench.profiling.fvcore_counter import FvcoreCount, count_with_fvcore
from stbench.profiling.workload import Workload
from stbench.settings.components import load_component

VARIANTS = sorted(paths.config_files("variants"))
# Networks of other packages attend in their own way, of which the closed form, a lower bound, knows nothing.
FOREIGN = [name for name in VARIANTS if "diffusers_adapter" in load_component("variant", name).target]
OWN = [name for name in VARIANTS if name not in FOREIGN]
EMBEDDING = (64, 1, 1, 1)  # what a prior makes; all others make clips
# Large ones of Stable Diffusion's kind, whose layers are those of `videocrafter_unet` and `videocrafter1_unet`.
ALIKE = ("animate_anything", "animatediff_unet", "dynamicrafter", "stylecrafter", "tuneavideo")


@pytest.mark.parametrize("name", [name for name in OWN if name not in ALIKE])
@pytest.mark.parametrize("training", [False, True], ids=["forward", "training"])
def test_closed_form_and_torch_agree_at_full_size(name: str, training: bool) -> None:
    component = load_component("variant", name)
    C, F, H, _ = latents = EMBEDDING if name == "prior" else (4, 16, 32, 32)
    facts = dict(zip(RUN_FACTS, (C, H, F, 0, True), strict=True))
    counted = count_operations(lambda: component.construct(facts), lambda: Workload(latents).inputs(1), training)
    assert counted.incomplete == []
    assert counted.gmacs_by_counter["closed_form"] == pytest.approx(counted.gmacs, rel=1e-3)
    assert sum(counted.gmacs_by_part.values()) == pytest.approx(counted.gmacs)


@pytest.mark.parametrize("name", OWN)
def test_all_three_agree_in_the_smoke_preset(name: str) -> None:
    component, _ = load_component("variant", name).with_preset("smoke")
    C, F, H, _ = latents = EMBEDDING if name == "prior" else (4, 4, 16, 16)
    facts = dict(zip(RUN_FACTS, (C, H, F, 3, True), strict=True))
    workload = Workload(latents, num_classes=3)
    counted = count(lambda: component.construct(facts), workload)
    assert counted.incomplete == ()
    assert set(counted.gmacs_by_counter) == {"closed_form", "torch", "fvcore"}
    for gmacs in counted.gmacs_by_counter.values():
        assert gmacs == pytest.approx(counted.gmacs, rel=1e-3)
    fused = count_with_fvcore(lambda: component.construct(facts), lambda: workload.inputs(1), "sdpa")
    assert fused.gmacs == pytest.approx(counted.gmacs, rel=1e-3)
    assert counted.gmacs_train_step is not None
    assert 2.9 * counted.gmacs < counted.gmacs_train_step <= 3 * counted.gmacs


@pytest.mark.parametrize("name", FOREIGN)
def test_of_foreign_networks_the_closed_form_is_a_lower_bound(name: str) -> None:
    component, _ = load_component("variant", name).with_preset("smoke")
    facts = dict(zip(RUN_FACTS, (4, 16, 4, 3, True), strict=True))
    counted = count(lambda: component.construct(facts), Workload((4, 4, 16, 16), num_classes=3))
    # fvcore traces networks, and not all of them let it.
    assert all(each.startswith("fvcore cannot trace") for each in counted.incomplete)
    assert 0 < counted.gmacs_by_counter["closed_form"] <= counted.gmacs
    assert counted.gmacs_by_counter.get("fvcore", counted.gmacs) == pytest.approx(counted.gmacs, rel=1e-3)


def test_a_training_step_counts_the_images_of_joint_training() -> None:
    """Latte-S with 8 images a clip executes 349.268 GMACs; an evaluation of the network sees no images."""
    counted = count(Latte, Workload((4, 16, 32, 32), joint_images=8), with_fvcore=False)
    assert counted.gmacs_train_step == pytest.approx(349.268, abs=5e-4)
    assert counted.gmacs == count_operations(Latte, lambda: Workload((4, 16, 32, 32)).inputs(1)).gmacs
    assert counted.incomplete == ()  # the closed form agrees


def test_all_three_counters_see_the_images_of_joint_training() -> None:
    def build() -> Latte:
        return Latte(size="tiny", sample_size=8, num_frames=4)

    workload = Workload((4, 4, 8, 8), joint_images=3)
    counted = count_operations(build, lambda: workload.inputs(1, training=True))
    by_fvcore = count_with_fvcore(build, lambda: workload.inputs(1, training=True))
    assert counted.gmacs > count_operations(build, lambda: workload.inputs(1)).gmacs
    assert counted.incomplete == by_fvcore.unknown == []
    assert by_fvcore.gmacs == pytest.approx(counted.gmacs, rel=1e-3)


class Mixer(nn.Module):
    """A network with a product outside of its layers."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 8)

    def forward(self, x: Tensor, timesteps: Tensor, conditioning: Conditioning) -> Tensor:
        x = self.linear(x)
        return x @ x


def test_products_outside_of_layers_are_nothing_to_complain_of() -> None:
    counted = count(Mixer, Workload((1, 1, 8, 8)))
    linear, product = 8 * 8 * 8, 8 * 8 * 8
    assert counted.gmacs * 1e9 == pytest.approx(linear + product)
    assert counted.gmacs_by_counter == {"torch": counted.gmacs, "fvcore": counted.gmacs, "closed_form": linear / 1e9}
    assert counted.incomplete == ()


class SelfAttention(nn.Module):
    """Attention as a foreign network calls it: torch's own module, or its function."""

    def __init__(self, function: bool) -> None:
        super().__init__()
        self.function = function
        self.linear = nn.Linear(8, 8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x: Tensor, timesteps: Tensor, conditioning: Conditioning) -> Tensor:
        x = self.linear(x.flatten(1, 3))
        return F.scaled_dot_product_attention(x, x, x) if self.function else self.attention(x, x, x)[0]


@pytest.mark.parametrize("function", [True, False])
def test_attention_of_torch_itself_is_counted(function: bool) -> None:
    counted = count(lambda: SelfAttention(function), Workload((2, 1, 8, 8)))
    attention = 2 * 16 * 16 * 8 + (0 if function else 4 * 16 * 8 * 8)
    assert counted.gmacs * 1e9 == pytest.approx(16 * 8 * 8 + attention)
    assert counted.incomplete == ()


@pytest.mark.parametrize(
    ("fvcore", "complaint"),
    [
        (FvcoreCount(1.0, []), []),
        (FvcoreCount(1.0005, ["aten::mv"]), []),
        (FvcoreCount(0.5, []), ["fvcore counts 0.5 GMACs, torch 1: nothing to do, gmacs is torch's"]),
        (
            FvcoreCount(0.5, ["aten::mv", "mine::scan"]),
            [
                "fvcore counts 0.5 GMACs without aten::mv, mine::scan, which it does not know, torch 1: nothing to do, "
                "gmacs is torch's"
            ],
        ),
        (FvcoreCount(1.5, []), ["fvcore counts 1.5 GMACs, torch 1: gmacs is torch's, which may miss a product"]),
    ],
)
def test_what_a_disagreement_with_fvcore_means(fvcore: FvcoreCount, complaint: list[str]) -> None:
    by_torch = OperationCounts(1_000_000_000, {}, {}, {}, {}, [])
    assert counts_module._disagreement(fvcore, by_torch) == complaint


def test_what_fvcore_cannot_trace_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any) -> None:
        raise RuntimeError("no trace of this\nand a second line")

    monkeypatch.setattr(counts_module, "count_with_fvcore", refuse)
    counted = count(lambda: load_component("variant", "latte1").construct(), Workload((4, 16, 32, 32)))
    assert counted.incomplete == ("fvcore cannot trace the network, gmacs is torch's: no trace of this",)
    assert "fvcore" not in counted.gmacs_by_counter


def test_large_networks_are_not_traced() -> None:
    counted = count(
        lambda: load_component("variant", "latte1").with_arguments({"size": "B"}).construct(),
        Workload((4, 16, 32, 32)),
    )
    assert set(counted.gmacs_by_counter) == {"closed_form", "torch"}


class ForwardOnly(nn.Module):
    """A network whose output depends on no parameter, so that it has no backward pass."""

    def forward(self, x: Tensor, timesteps: Tensor, conditioning: Conditioning) -> Tensor:
        return x @ x


def test_a_network_that_cannot_be_trained_is_still_counted() -> None:
    counted = count(ForwardOnly, Workload((1, 1, 8, 8)), with_fvcore=False)
    assert counted.gmacs * 1e9 == pytest.approx(8 * 8 * 8)
    assert counted.gmacs_train_step is None
    [complaint] = counted.incomplete
    assert complaint.startswith("training step: operations cannot be counted: the network fails: RuntimeError: ")


class Sorting(nn.Module):
    """A network with an operator that no formula counts, in both directions."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 8)

    def forward(self, x: Tensor, timesteps: Tensor, conditioning: Conditioning) -> Tensor:
        return self.linear(x).sort(dim=-1).values


def test_what_is_missing_in_both_directions_is_said_once() -> None:
    counted = count(Sorting, Workload((1, 1, 8, 8)), with_fvcore=False)
    [complaint] = counted.incomplete
    assert complaint.startswith("no formula counts aten.sort: ")

"""One test for all: every YAML in `variants/` and `datasets/`, and every backbone they name."""

from __future__ import annotations

import inspect
from math import floor
from typing import Any

import pytest
import torch

import stbench
from stbench import paths
from stbench.backbones.base import RUN_FACTS, Conditioning
from stbench.settings.components import load_component, load_target
from stbench.settings.presets import PRESETS
from stbench.settings.resolve import resolve

VARIANTS = sorted(paths.config_files("variants"))
DATASETS = sorted(paths.config_files("datasets"))
every_variant = pytest.mark.parametrize("name", VARIANTS)


def small_network(name: str, **task: Any) -> torch.nn.Module:
    """The variant under its smoke preset, its zero-initialised weights filled with noise."""
    component, _ = load_component("variant", name).with_preset("smoke")
    facts = dict(zip(RUN_FACTS, (3, 16, 4, 5, True), strict=True)) | task
    backbone = component.construct(facts)
    for index, parameter in enumerate(backbone.parameters()):
        if not parameter.count_nonzero():
            parameter.data = 0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(index))
    return backbone.eval()


@every_variant
def test_expected_parameters(name: str) -> None:
    component = load_component("variant", name)
    with torch.device("meta"):
        backbone = component.construct()
    trainable = sum(p.numel() for p in backbone.parameters() if p.requires_grad)
    assert floor(trainable / 1e4) / 100 == component.expect["params_m"]


@every_variant
@pytest.mark.parametrize("learned_variance", [True, False])
def test_contract(name: str, learned_variance: bool) -> None:
    """Shapes, determinism, clips that do not see each other, and output that depends on every input."""
    backbone = small_network(name, learned_variance=learned_variance)
    x = torch.randn(2, 3, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    timesteps, labels = torch.tensor([10.0, 900.0]), Conditioning(class_labels=torch.tensor([0, 5]))
    with torch.no_grad():
        out = backbone(x, timesteps, labels)
        assert out.shape == (2, 6 if learned_variance else 3, 4, 16, 16)
        assert torch.equal(out, backbone(x, timesteps, labels))
        swapped = backbone(x.flip(0), timesteps.flip(0), Conditioning(class_labels=labels.class_labels.flip(0)))
        torch.testing.assert_close(swapped.flip(0), out, rtol=1e-4, atol=1e-5)
        for changed in (
            backbone(x + 0.1, timesteps, labels),
            backbone(x, timesteps - 5, labels),
            backbone(x, timesteps, Conditioning(class_labels=torch.tensor([1, 4]))),
        ):
            assert (changed - out).abs().amax(dim=(1, 2, 3, 4)).min() > 1e-6


@every_variant
def test_gradients_reach_every_parameter(name: str) -> None:
    backbone = small_network(name).train()
    out = backbone(torch.randn(2, 3, 4, 16, 16), torch.tensor([10, 900]), Conditioning(torch.tensor([0, 5])))
    (out * torch.randn(out.shape)).sum().backward()
    assert [n for n, p in backbone.named_parameters() if p.grad is None or not p.grad.count_nonzero()] == []


@pytest.mark.parametrize("kind", ["variant", "dataset"])
def test_every_file_says_where_it_comes_from(kind: str) -> None:
    for name in paths.config_files(f"{kind}s"):
        component = load_component(kind, name)
        assert component.source, name
        assert set(component.presets) <= set(PRESETS), name
        assert inspect.isclass(load_target(component))


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("dataset", DATASETS)
@every_variant
def test_every_combination_resolves(name: str, dataset: str, preset: str) -> None:
    config = resolve([f"variant={name}", f"dataset={dataset}", f"preset={preset}"])
    assert (config.variant.name, config.dataset.name, config.preset) == (name, dataset, preset)


def test_build_backbone_from_python() -> None:
    with torch.device("meta"):
        backbone = stbench.build_backbone("latte1", size="XL", num_classes=101)
    assert backbone.training
    assert sum(p.numel() for p in backbone.parameters()) == 673_681_568 + 102 * 1152
    with pytest.raises(stbench.StbenchError, match="unknown variant 'late1': did you mean 'latte1'"):
        stbench.build_backbone("late1")
    with pytest.raises(stbench.StbenchError, match=r"unknown key of variant 'latte1' 'sizee': did you mean 'size'"):
        stbench.build_backbone("latte1", sizee="XL")

"""One test for all: every YAML in `variants/` and `datasets/`, and every backbone they name."""

from __future__ import annotations

import inspect
from math import floor

import pytest
import torch

import stbench
from stbench import paths
from stbench.backbones.base import RUN_FACTS
from stbench.backbones.contract import RULES, examine
from stbench.backbones.trial import Task
from stbench.checks.backbone import published_gmacs
from stbench.runtime.device import Runtime
from stbench.settings.components import Component, load_component, load_target
from stbench.settings.presets import PRESETS
from stbench.settings.resolve import resolve

VARIANTS = sorted(paths.config_files("variants"))
WITHOUT_IMAGES = (  # and say so
    "animate_anything",
    "animatediff_unet",
    "dynamicrafter",
    "lvdm_unet",
    "prior",
    "pseudo3d_unet",
    "stylecrafter",
    "tuneavideo",
    "videocrafter1_unet",
    "videocrafter_unet",
)
LATENTS = {"prior": (8, 1, 1, 1)}  # one embedding; all others take clips
ONE_TOKEN = {"gradients": "exactly zero in encoder.3.1.block.norm2.weight"}  # a class is all there is to look at
NOTES = {
    "animate_anything": ONE_TOKEN,
    "animatediff_unet": ONE_TOKEN,
    "dit": {"every frame": "counts; but frames do not see each other: each is predicted by itself"},
    "dynamicrafter": ONE_TOKEN,
    "stylecrafter": ONE_TOKEN,
    "tuneavideo": ONE_TOKEN,
    "videocrafter1_unet": ONE_TOKEN,
    "videocrafter_unet": ONE_TOKEN,
    "prior": {"gradients": "exactly zero in null_text, null_image"},  # all have a text, none is without its image
    "mochi": {"gradients": "exactly zero in model.time_embed.pooler.to_q.weight"},  # for the same reason
    "hunyuanvideo": {"gradients": "exactly zero in model.time_text_embed.text_embedder.linear_1.weight"},  # fed zeros
}
DATASETS = sorted(paths.config_files("datasets"))
every_variant = pytest.mark.parametrize("name", VARIANTS)
DIFFUSERS = "stbench.backbones.diffusers_adapter:DiffusersAdapter"


def load(name: str) -> Component:
    """A variant; without the optional package that builds it, the test is skipped."""
    component = load_component("variant", name)
    if component.target == DIFFUSERS:
        pytest.importorskip("diffusers", reason="pip install 'stbench[diffusers]'")
    return component


@every_variant
def test_expected_parameters(name: str) -> None:
    component = load(name)
    with torch.device("meta"):
        backbone = component.construct(component.published)
    trainable = sum(p.numel() for p in backbone.parameters() if p.requires_grad)
    assert floor(trainable / 1e4) / 100 == component.expect["params_m"]


@every_variant
def test_expected_operations(name: str) -> None:
    component = load(name)
    assert floor(published_gmacs(component) * 100) / 100 == component.expect["gmacs"]


@every_variant
@pytest.mark.parametrize("objective", ["ddpm", "flow"])
def test_contract(name: str, objective: str) -> None:
    component, _ = load(name).with_preset("smoke")
    ddpm, latent_shape = objective == "ddpm", LATENTS.get(name, (3, 4, 16, 16))
    task = Task(
        latent_shape=latent_shape,
        num_classes=5,
        learned_variance=ddpm,
        whole_timesteps=ddpm,
        batch_size=3,
        joint_images=0 if name in WITHOUT_IMAGES or component.target == DIFFUSERS else 2,
        runtime=Runtime(torch.device("cpu"), "float32", "math"),
    )
    channels, num_frames, side, _ = latent_shape
    facts = dict(zip(RUN_FACTS, (channels, side, num_frames, 5, ddpm), strict=True))
    verdicts = examine(lambda: component.construct(facts), task, RULES if ddpm else RULES[:4])
    expected = NOTES.get(name, {}) if ddpm else {}
    broken = [verdict for verdict in verdicts if verdict.status in ("failed", "note")]
    assert [(verdict.name, verdict.status) for verdict in broken] == [(rule, "note") for rule in expected]
    assert all(verdict.reason.startswith(expected[verdict.name]) for verdict in broken)


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

"""The presets: known settings with possible values, and no block of a YAML file for a preset that is not there."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from stbench.metrics.protocol import PROTOCOLS
from stbench.settings import presets
from stbench.settings.presets import DEFAULT_PRESET, PRESETS
from stbench.settings.resolve import resolve_settings
from stbench.settings.schema import Settings, dotted_settings, lookup


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_sets_known_settings_to_possible_values(name: str) -> None:
    settings = resolve_settings(PRESETS[name])
    for key in dotted_settings():
        assert lookup(settings, key) == PRESETS[name].get(key, lookup(Settings(), key)), key
    assert settings.protocol in PROTOCOLS


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_leaves_to_a_run_what_is_a_run_s_own(name: str) -> None:
    assert not {"seed", "eval.seed", "device", "train.init"} & set(PRESETS[name])


def test_every_preset_has_its_line_in_the_table() -> None:
    rows = [line.split("|")[1].strip() for line in (presets.__doc__ or "").splitlines() if line.startswith("| ")]
    assert rows == ["preset", *PRESETS]
    assert DEFAULT_PRESET in PRESETS


def test_work_grows_from_preset_to_preset() -> None:
    steps = [PRESETS[name]["train.steps"] for name in PRESETS]
    assert steps == sorted(steps)
    for name in PRESETS:
        settings = resolve_settings(PRESETS[name])
        assert settings.train.checkpoint_every <= settings.train.steps
        assert settings.train.steps % settings.train.checkpoint_every == 0
        assert settings.eval.every <= settings.train.steps


def test_paper_is_what_latte_published() -> None:
    """Latte's paper (arXiv 2401.03048, section 4), and the authors' training files for the steps and the clipping."""
    paper = resolve_settings(PRESETS["paper"])
    assert (paper.autoencoder.name, paper.diffusion.objective, paper.protocol) == ("sd-vae", "ddpm", "latte-2048-16f")
    assert (paper.train.lr, paper.train.ema_decay, paper.train.weight_decay) == (1e-4, 0.9999, 0.0)
    assert (paper.train.steps, paper.train.batch_size) == (1_000_000, 5 * 8)
    assert (paper.train.gradient_clip_norm, paper.train.gradient_clip_from_step) == (0.1, 100_000)
    assert (paper.eval.num_clips, paper.eval.num_sampling_steps, paper.eval.cfg_scale) == (2048, 250, 1.0)


def test_blocks_of_the_yaml_files_are_for_presets_that_there_are(repository: Path) -> None:
    files = [*repository.glob("variants/*.yaml"), *repository.glob("datasets/*.yaml")]
    assert len(files) >= 11
    for file in files:
        blocks = yaml.safe_load(file.read_text(encoding="utf-8")).get("presets", {})
        assert set(blocks) <= set(PRESETS), file.name
        dotted = {key for block in blocks.values() for key in block if "." in key}
        assert dotted <= set(dotted_settings()), file.name

"""What a run is made of: videos, weights and code by what is in them, never by where they lie."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from stbench.errors import StbenchError
from stbench.run.contents import copy_code
from stbench.run.setup import prepare
from stbench.runtime.code import code_of
from stbench.settings.components import load_component
from stbench.settings.resolve import from_dict, override, resolve
from stbench.settings.schema import RunConfig

NET = """
from torch import nn
from {name}_parts import Mixer

class Net(nn.Module):
    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.mixer = Mixer(in_channels, in_channels, 1)
"""


def project(folder: Path, name: str = "own_net") -> Path:
    """A YAML file beside a module, which imports another one; returns the YAML file."""
    folder.mkdir(parents=True)
    (folder / f"{name}.py").write_text(NET.format(name=name))
    (folder / f"{name}_parts.py").write_text("from torch.nn import Conv3d as Mixer\n")
    (folder / "never_imported.py").write_text("1 / 0\n")
    (folder / "mine.yaml").write_text(f"backbone: {name}:Net\n")
    return folder / "mine.yaml"


def folders_of_images(root: Path, count: int = 3) -> Path:
    for video in range(count):
        (root / f"{video}").mkdir(parents=True)
        for index in range(8):
            image = Image.fromarray(np.full((16, 16, 3), 10 * index, dtype=np.uint8))
            image.save(root / f"{video}" / f"{index}.png")
    return root


def made_of(*words: str) -> RunConfig:
    """A run of these words, prepared."""
    given = {word.split("=")[0] for word in words}
    base = ["variant=latte1", "dataset=shapes", "preset=smoke", "device=cpu", "precision=float32", "attention=math"]
    return prepare(resolve([*(word for word in base if word.split("=")[0] not in given), *words])).config


def test_other_videos_below_the_root_are_another_run(tmp_path: Path) -> None:
    first, other = folders_of_images(tmp_path / "first"), folders_of_images(tmp_path / "other", count=4)
    moved = shutil.copytree(first, tmp_path / "moved")
    runs = {root: made_of("dataset=video_folder", f"dataset.root={root}") for root in (first, moved, other)}
    assert runs[first].run_id == runs[moved].run_id
    assert runs[first].run_id != runs[other].run_id
    assert runs[first].group_hash != runs[other].group_hash


@pytest.mark.parametrize("changed", ["own_net.py", "own_net_parts.py"])
def test_other_code_is_another_run(changed: str, tmp_path: Path) -> None:
    files = [project(tmp_path / name) for name in ("first", "same", "other")]
    with (tmp_path / "other" / changed).open("a") as file:
        file.write("# another line\n")
    (tmp_path / "same" / "never_imported.py").write_text("# another file\n")
    first, same, other = (made_of(f"variant={path}") for path in files)
    assert first.run_id == same.run_id
    assert first.run_id != other.run_id
    assert first.group_hash != other.group_hash


def test_other_weights_to_start_from_are_another_run(tmp_path: Path) -> None:
    weights = [tmp_path / name for name in ("a.safetensors", "b.safetensors", "copy.safetensors")]
    for path, value in zip(weights, (1.0, 2.0, 1.0), strict=True):
        save_file({"weight": torch.tensor([value])}, path)
    first, other, copy = (made_of(f"train.init={path}") for path in weights)
    assert first.run_id == copy.run_id
    assert len({each.config_hash for each in (first, other, made_of())}) == 3
    with pytest.raises(StbenchError, match="weights file nowhere does not exist"):
        made_of("train.init=nowhere")


def test_another_configuration_of_the_autoencoder_is_another_run(tmp_path: Path) -> None:
    diffusers = pytest.importorskip("diffusers")
    torch.manual_seed(0)
    sizes = {"encoder_block_out_channels": (8, 8), "decoder_block_out_channels": (8, 8)}
    blocks = {"num_encoder_blocks": (1, 1), "num_decoder_blocks": (1, 1)}
    network = diffusers.AutoencoderTiny(**sizes, **blocks, latent_channels=4)
    runs = []
    for folder, scale in (("a", 1.0), ("b", 1.0), ("c", 0.5)):
        network.register_to_config(scaling_factor=scale)
        network.save_pretrained(tmp_path / folder)
        runs.append(made_of("autoencoder.name=taesd", f"autoencoder.weights={tmp_path / folder}"))
    assert runs[0].run_id == runs[1].run_id != runs[2].run_id


def test_of_an_installed_package_the_code_counts_and_is_not_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site-packages"
    path = project(site, name="installed_net")
    monkeypatch.syspath_prepend(str(site))
    path = path.rename(tmp_path / "mine.yaml")
    config = made_of(f"variant={path}")
    assert config.contents is not None and config.contents.variant_code
    assert list(code_of("installed_net:Net", tmp_path).files) == ["installed_net.py"]  # others' packages have versions
    copy_code(config, tmp_path / "code")
    assert not (tmp_path / "code").exists()


def test_a_trained_run_is_used_again_with_what_it_was_made_of(tmp_path: Path) -> None:
    first, other = folders_of_images(tmp_path / "first"), folders_of_images(tmp_path / "other", count=4)
    config = made_of(f"variant={project(tmp_path / 'mine')}", "dataset=video_folder", f"dataset.root={first}")
    copy_code(config, tmp_path / "code")
    assert sorted(path.name for path in (tmp_path / "code" / "variant").iterdir()) == ["own_net.py", "own_net_parts.py"]
    (tmp_path / "mine" / "own_net.py").unlink()
    again = from_dict(config.to_dict(), tmp_path / "code")
    assert prepare(again).config.run_id == config.run_id
    with pytest.raises(
        StbenchError, match=r"^the videos of dataset\.root: not what the run was made of \(contents\.vi"
    ):
        prepare(override(again, [f"dataset.root={other}"], ("dataset.root",)))
    kept = tmp_path / "edited" / "variant"
    shutil.copytree(tmp_path / "code" / "variant", kept)
    (kept / "own_net_parts.py").write_text("from torch.nn import Conv3d as Mixer  # edited\n")
    with pytest.raises(StbenchError, match=r"^the code of the backbone: not what the run was made of"):
        prepare(from_dict(config.to_dict(), tmp_path / "edited"))


def test_who_judges_may_change_and_what_it_started_from_is_not_looked_for(tmp_path: Path) -> None:
    weights = tmp_path / "a.safetensors"
    save_file({"weight": torch.ones(1)}, weights)
    config = made_of(f"train.init={weights}")
    weights.unlink()
    assert config.contents is not None
    judged_before = replace(config, contents=replace(config.contents, detector="of another detector"))
    assert prepare(judged_before).config.contents == config.contents


def test_code_is_read_as_it_was_imported(tmp_path: Path) -> None:
    """Python imports a module once: what is written into its file later is not what runs."""
    path = project(tmp_path / "mine")
    before = made_of(f"variant={path}")
    (path.parent / "own_net.py").write_text("changed = True\n")
    assert made_of(f"variant={path}").run_id == before.run_id
    component = load_component("variant", str(path))
    assert "changed" not in vars(sys.modules[type(component.construct({"in_channels": 1})).__module__])

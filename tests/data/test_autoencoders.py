"""Autoencoders: the identity on pixels, and diffusers' networks with random weights, frame by frame."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from stbench.data.autoencoders import AUTOENCODERS, FRAMES_AT_ONCE, build_autoencoder
from stbench.data.embeddings import DIM, FrameEmbedding
from stbench.errors import StbenchError
from stbench.settings.schema import AutoencoderConfig

diffusers = pytest.importorskip("diffusers")


def clips(frames: int = 3) -> Tensor:
    return torch.rand(2, 3, frames, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.fixture(scope="module")
def sd_vae(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A KL autoencoder of Stable Diffusion's kind, tiny and random."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("sd-vae")
    kinds = {"down_block_types": ["DownEncoderBlock2D"] * 3, "up_block_types": ["UpDecoderBlock2D"] * 3}
    model = diffusers.AutoencoderKL(
        **kinds, block_out_channels=[8, 8, 8], latent_channels=4, norm_num_groups=4, scaling_factor=0.18215
    )
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def taesd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("taesd")
    sizes = {"encoder_block_out_channels": (8, 8), "decoder_block_out_channels": (8, 8)}
    blocks = {"num_encoder_blocks": (1, 1), "num_decoder_blocks": (1, 1)}
    diffusers.AutoencoderTiny(**sizes, **blocks, latent_channels=4).save_pretrained(folder)
    return folder


def test_the_setting_knows_every_autoencoder_and_no_other() -> None:
    (choices,) = (each.metadata["choices"] for each in dataclasses.fields(AutoencoderConfig) if each.name == "name")
    assert choices == tuple(AUTOENCODERS) == ("pixels", "sd-vae", "taesd", "embedding")
    assert {name: each.name for name, each in AUTOENCODERS.items()} == {name: name for name in AUTOENCODERS}


def test_pixels_are_left_alone() -> None:
    pixels = build_autoencoder("pixels")
    assert (pixels.channels, pixels.downsampling, pixels.weights_sha256) == (3, 1, None)
    assert torch.equal(pixels.decode(pixels.encode(clips())), clips())


def test_latents_of_pixels_and_of_an_embedding() -> None:
    assert build_autoencoder("pixels").latent_shape(3, 16) == (3, 3, 16, 16)
    assert build_autoencoder("embedding").latent_shape(3, 16) == (DIM, 1, 1, 1)


def test_the_embedding_is_that_of_the_last_frame_as_long_as_noise() -> None:
    autoencoder, other = build_autoencoder("embedding"), clips()
    other[:, :, :-1] = 0
    latents = autoencoder.encode(clips())
    assert latents.shape == (2, DIM, 1, 1, 1)
    assert torch.equal(autoencoder.encode(other), latents)
    torch.testing.assert_close(latents.flatten(1).norm(dim=1), torch.full((2,), DIM**0.5))
    torch.testing.assert_close(latents.flatten(1) / DIM**0.5, FrameEmbedding()(clips()[:, :, -1]))
    with pytest.raises(StbenchError, match="makes embeddings of clips, and no clips of them"):
        autoencoder.decode(latents)


def test_sd_vae_encodes_each_frame_as_diffusers_does(sd_vae: Path) -> None:
    autoencoder = build_autoencoder("sd-vae", str(sd_vae))
    assert (autoencoder.channels, autoencoder.downsampling) == (4, 4)
    assert len(str(autoencoder.weights_sha256)) == 64
    latents = autoencoder.encode(clips(), torch.Generator().manual_seed(1))
    assert latents.shape == (2, 4, 3, 4, 4)
    reference = diffusers.AutoencoderKL.from_pretrained(sd_vae)
    frames = clips().transpose(1, 2).flatten(0, 1)
    with torch.no_grad():
        drawn = reference.encode(frames).latent_dist.sample(torch.Generator().manual_seed(1)) * 0.18215
        decoded = reference.decode(drawn / 0.18215).sample
    torch.testing.assert_close(latents.transpose(1, 2).flatten(0, 1), drawn, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(autoencoder.decode(latents).transpose(1, 2).flatten(0, 1), decoded, rtol=1e-4, atol=1e-5)


def test_latents_depend_on_the_generator_alone(sd_vae: Path) -> None:
    autoencoder = build_autoencoder("sd-vae", str(sd_vae))
    one, again, other = (autoencoder.encode(clips(), torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    mean = autoencoder.encode(clips())
    many = [autoencoder.encode(clips(), torch.Generator().manual_seed(seed)) for seed in range(200)]
    torch.testing.assert_close(
        torch.stack(many).mean(0), mean, rtol=0, atol=0.25 * float(torch.stack(many).std(0).max())
    )


@pytest.mark.parametrize("name", ["sd-vae", "taesd"])
def test_the_weights_are_frozen(name: str, sd_vae: Path, taesd: Path) -> None:
    folder = {"sd-vae": sd_vae, "taesd": taesd}[name]
    autoencoder = build_autoencoder(name, str(folder))
    assert not any(parameter.requires_grad for parameter in autoencoder.parameters())
    assert not autoencoder.model.training


def test_the_hash_is_of_the_weights_and_of_what_the_configuration_says(sd_vae: Path, tmp_path: Path) -> None:
    """Another scaling factor gave other latents under one hash."""

    def sha256(**changes: object) -> str | None:
        config = json.loads((sd_vae / "config.json").read_text())
        (tmp_path / "config.json").write_text(json.dumps({**config, **changes}))
        return build_autoencoder("sd-vae", str(tmp_path)).weights_sha256

    (weights,) = sd_vae.glob("*.safetensors")
    (tmp_path / weights.name).write_bytes(weights.read_bytes())
    same = sha256()
    assert len(str(same)) == 64
    assert sha256(scaling_factor=0.13025) != same
    assert sha256() == same
    save_file({name: -tensor for name, tensor in load_file(weights).items()}, tmp_path / weights.name)
    assert sha256() != same


def test_long_clips_go_through_in_parts(sd_vae: Path) -> None:
    autoencoder = build_autoencoder("sd-vae", str(sd_vae))
    latents = torch.randn(1, 4, FRAMES_AT_ONCE + 3, 4, 4)
    together = autoencoder.decode(latents)
    torch.testing.assert_close(together[:, :, -1:], autoencoder.decode(latents[:, :, -1:]), rtol=1e-4, atol=1e-5)


def test_taesd(taesd: Path) -> None:
    autoencoder = build_autoencoder("taesd", str(taesd))
    latents = autoencoder.encode(clips())
    assert latents.shape == (2, 4, 3, 16 // autoencoder.downsampling, 16 // autoencoder.downsampling)
    assert autoencoder.decode(latents).shape == clips().shape


def test_found_by_variable_and_cache(sd_vae: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(StbenchError, match=r"autoencoder\.name=sd-vae needs its weights .* STBENCH_SD_VAE"):
        build_autoencoder("sd-vae")
    (tmp_path / "stbench").mkdir()
    (tmp_path / "stbench" / "sd-vae").symlink_to(sd_vae)
    from_cache = build_autoencoder("sd-vae")
    monkeypatch.setenv("STBENCH_SD_VAE", str(sd_vae))
    assert build_autoencoder("sd-vae").weights_sha256 == from_cache.weights_sha256


def test_without_diffusers_it_says_what_to_install(sd_vae: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(
        StbenchError, match=r"^autoencoder\.name=sd-vae needs diffusers: pip install 'stbench\[sd-vae\]'$"
    ):
        build_autoencoder("sd-vae", str(sd_vae))


def test_what_cannot_be_loaded_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StbenchError, match="unknown autoencoder 'sdvae': did you mean 'sd-vae'"):
        build_autoencoder("sdvae")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(StbenchError, match="cannot load sd-vae from"):
        build_autoencoder("sd-vae", str(tmp_path))

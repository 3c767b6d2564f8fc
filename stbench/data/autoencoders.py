"""From clips to latents and back: pixels as they are, or a frozen image autoencoder applied to every frame.

What a prior learns is no way back: the embedding of a clip's last frame, where what moves has come to.

`sd-vae` is the KL autoencoder of Stable Diffusion (arXiv 2112.10752) as Latte uses it: latents are drawn from its
posterior and multiplied by 0.18215. `taesd` is its small distilled counterpart. Both are loaded through diffusers from
a folder on disk; nothing is downloaded.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from stbench import paths
from stbench.data.embeddings import DIM, FrameEmbedding
from stbench.errors import StbenchError, unknown_name
from stbench.storage.hashing import file_sha256

FRAMES_AT_ONCE = 16  # how many frames an image autoencoder is given in one call


class Autoencoder(nn.Module):
    """What every autoencoder offers; this one is the identity on pixels.

    Attributes:
        name: as in `AUTOENCODERS`.
        channels: C of the latents.
        downsampling: pixels of a clip per pixel of its latents, along H and W.
        makes_clips: whether there is a way back.
        weights_sha256: of config.json and the weights files laid end to end, None for pixels.
    """

    name = "pixels"
    channels = 3
    downsampling = 1
    makes_clips = True
    weights_sha256: str | None = None

    def __init__(self, weights: str | None = None) -> None:
        super().__init__()

    def latent_shape(self, num_frames: int, image_size: int) -> tuple[int, int, int, int]:
        """(C, F, H, W) of the latents of one clip of so many frames of that height and width."""
        side = image_size // self.downsampling
        return self.channels, num_frames, side, side

    def encode(self, clips: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Clips (B, 3, F, H, W) in [-1, 1] to latents (B, C, F, H / downsampling, W / downsampling).

        Args:
            clips: what to encode.
            generator: draws the latents where they have a distribution; without one they are its mean.
        """
        return clips

    def decode(self, latents: Tensor) -> Tensor:
        """Latents back to clips (B, 3, F, H, W); values may leave [-1, 1] a little."""
        return latents


class ImageAutoencoder(Autoencoder):
    """An autoencoder of diffusers, frozen and applied to single frames.

    Args:
        weights: folder in the diffusers layout; found as `build_autoencoder` says when None.

    Attributes:
        variable: environment variable that names the folder.
        model_class: name of the class in diffusers, which is optional.
        posterior: whether latents are drawn from a distribution that it returns.
        model: the network.
    """

    variable: str
    model_class: str
    posterior: bool
    model: Any

    def __init__(self, weights: str | None = None) -> None:
        super().__init__()
        named = weights or os.environ.get(self.variable)
        folder = Path(named).expanduser() if named else paths.user_cache() / self.name
        if not (folder / "config.json").is_file():
            raise StbenchError(
                f"autoencoder.name={self.name} needs its weights in the diffusers layout (config.json, safetensors): "
                f"not found in {folder}; name the folder by autoencoder.weights=... or {self.variable}"
            )
        try:
            import diffusers
        except ImportError as error:
            raise StbenchError(
                f"autoencoder.name={self.name} needs diffusers: pip install 'stbench[sd-vae]'"
            ) from error
        try:
            network = getattr(diffusers, self.model_class).from_pretrained(
                folder, local_files_only=True, use_safetensors=True, low_cpu_mem_usage=False
            )
        except (OSError, ValueError, RuntimeError) as error:
            raise StbenchError(f"cannot load {self.name} from {folder}: {' '.join(str(error).split())}") from error
        self.model = network.eval().requires_grad_(False)
        self.weights_sha256 = file_sha256(folder / "config.json", *sorted(folder.glob("*.safetensors")))
        self.channels = network.config.latent_channels
        # The frame is halved between two resolutions; `AutoencoderTiny` lists them for each direction.
        resolutions = getattr(network.config, "block_out_channels", None) or network.config.encoder_block_out_channels
        self.downsampling = 2 ** (len(resolutions) - 1)

    @torch.no_grad()
    def encode(self, clips: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """See `Autoencoder.encode`; the distribution is the posterior."""
        frames = clips.transpose(1, 2).flatten(0, 1)  # (B * F, 3, H, W)
        parts = []
        for part in frames.split(FRAMES_AT_ONCE):
            encoded = self.model.encode(part)
            latents = encoded.latent_dist.mean if self.posterior else encoded.latents
            if self.posterior and generator is not None:
                noise = torch.randn(latents.shape, generator=generator, device=part.device, dtype=part.dtype)
                latents = latents + encoded.latent_dist.std * noise
            parts.append(latents * self.model.config.scaling_factor)
        return torch.cat(parts).unflatten(0, (len(clips), clips.shape[2])).transpose(1, 2)

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """See `Autoencoder.decode`."""
        frames = latents.transpose(1, 2).flatten(0, 1)  # (B * F, C, H, W)
        scale = self.model.config.scaling_factor
        parts = [self.model.decode(part / scale).sample for part in frames.split(FRAMES_AT_ONCE)]
        return torch.cat(parts).unflatten(0, (len(latents), latents.shape[2])).transpose(1, 2)


class SdVae(ImageAutoencoder):
    """Stable Diffusion's KL autoencoder; latents are drawn from its posterior."""

    name, variable, model_class, posterior = "sd-vae", "STBENCH_SD_VAE", "AutoencoderKL", True


class Taesd(ImageAutoencoder):
    """The tiny autoencoder for Stable Diffusion's latents; deterministic."""

    name, variable, model_class, posterior = "taesd", "STBENCH_TAESD", "AutoencoderTiny", False


class Embedding(Autoencoder):
    """The embedding of a clip's last frame, a vector of length sqrt(D), as a clip of D channels and one pixel.

    Its values then have a variance of 1, as the noise has (DALLE2-pytorch's `image_embed_scale`).
    """

    name, channels, makes_clips = "embedding", DIM, False

    def __init__(self, weights: str | None = None) -> None:
        super().__init__()
        self.embed = FrameEmbedding()

    def latent_shape(self, num_frames: int, image_size: int) -> tuple[int, int, int, int]:
        """(D, 1, 1, 1) of any clip."""
        return self.channels, 1, 1, 1

    def encode(self, clips: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Clips (B, 3, F, H, W) to (B, D, 1, 1, 1)."""
        return self.embed(clips[:, :, -1])[:, :, None, None, None] * DIM**0.5

    def decode(self, latents: Tensor) -> Tensor:
        """Refuse.

        Raises:
            StbenchError: always.
        """
        raise StbenchError("autoencoder.name=embedding makes embeddings of clips, and no clips of them")


# The configuration's `autoencoder.name`.
AUTOENCODERS: dict[str, type[Autoencoder]] = {each.name: each for each in (Autoencoder, SdVae, Taesd, Embedding)}


def build_autoencoder(name: str, weights: str | None = None) -> Autoencoder:
    """Build an autoencoder by name.

    Args:
        name: one of `AUTOENCODERS`.
        weights: folder in the diffusers layout; when None, the environment variable STBENCH_SD_VAE or STBENCH_TAESD,
            and when that is not set, the user's cache.

    Raises:
        StbenchError: an unknown name, or the weights or diffusers are missing.
    """
    if name not in AUTOENCODERS:
        raise unknown_name("autoencoder", name, AUTOENCODERS)
    return AUTOENCODERS[name](weights)

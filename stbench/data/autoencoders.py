"""From clips to latents and back: pixels as they are, or a frozen image autoencoder applied to every frame.

`sd-vae` is the KL autoencoder of Stable Diffusion (arXiv 2112.10752) as Latte uses it: latents are drawn from its
posterior and multiplied by 0.18215. `taesd` is its small distilled counterpart. Both are loaded through diffusers from
a folder on disk; nothing is downloaded.
"""

from __future__ import annotations

import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from stbench import paths
from stbench.errors import StbenchError, unknown_name

FRAMES_AT_ONCE = 16


class Autoencoder(nn.Module):
    """What every autoencoder offers; this one is the identity on pixels.

    Attributes:
        name: as in the configuration.
        channels: C of the latents.
        downsampling: pixels of a clip per pixel of its latents, along H and W.
        weights_sha256: of the weights file, None for pixels.
    """

    name = "pixels"
    channels = 3
    downsampling = 1
    weights_sha256: str | None = None

    def encode(self, clips: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Clips (B, 3, F, H, W) in [-1, 1] to latents (B, C, F, H / downsampling, W / downsampling)."""
        return clips

    def decode(self, latents: Tensor) -> Tensor:
        """Latents back to clips (B, 3, F, H, W); values may leave [-1, 1] a little."""
        return latents


class _ImageAutoencoder(Autoencoder, ABC):
    """A diffusers autoencoder on single frames."""

    variable: str
    model_class: str
    model: Any  # a class of diffusers, which is optional

    def __init__(self, weights: str | None) -> None:
        super().__init__()
        folder = self._find(weights)
        self.weights_sha256 = _weights_hash(folder)
        self.model = self._load(folder).eval().requires_grad_(False)
        self.channels = self.model.config.latent_channels
        self.downsampling = 2 ** (len(_block_channels(self.model.config)) - 1)

    @torch.no_grad()
    def encode(self, clips: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """See `Autoencoder.encode`; the posterior is sampled with `generator`."""
        return _per_frame(clips, lambda frames: self._encode_frames(frames, generator))

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """See `Autoencoder.decode`."""
        return _per_frame(latents, self._decode_frames)

    @abstractmethod
    def _encode_frames(self, frames: Tensor, generator: torch.Generator | None) -> Tensor:
        """Frames (B * F, 3, H, W) to scaled latents."""

    @abstractmethod
    def _decode_frames(self, latents: Tensor) -> Tensor:
        """Scaled latents to frames (B * F, 3, H, W)."""

    def _find(self, weights: str | None) -> Path:
        named = weights or os.environ.get(self.variable)
        folder = Path(named).expanduser() if named else paths.user_cache() / self.name
        if not (folder / "config.json").is_file():
            raise StbenchError(
                f"autoencoder.name={self.name} needs its weights in the diffusers layout (config.json, safetensors): "
                f"not found in {folder}; name the folder by autoencoder.weights=... or {self.variable}"
            )
        return folder

    def _load(self, folder: Path) -> Any:
        try:
            import diffusers
        except ImportError as error:
            raise StbenchError(
                f"autoencoder.name={self.name} needs diffusers: pip install 'stbench[sd-vae]'"
            ) from error
        try:
            return getattr(diffusers, self.model_class).from_pretrained(
                folder, local_files_only=True, use_safetensors=True, low_cpu_mem_usage=False
            )
        except (OSError, ValueError, RuntimeError) as error:
            raise StbenchError(f"cannot load {self.name} from {folder}: {' '.join(str(error).split())}") from error


class SdVae(_ImageAutoencoder):
    """Stable Diffusion's KL autoencoder."""

    name, variable, model_class = "sd-vae", "STBENCH_SD_VAE", "AutoencoderKL"

    def _encode_frames(self, frames: Tensor, generator: torch.Generator | None) -> Tensor:
        posterior = self.model.encode(frames).latent_dist
        noise = torch.randn(posterior.mean.shape, generator=generator, device=frames.device, dtype=frames.dtype)
        return (posterior.mean + posterior.std * noise) * self.model.config.scaling_factor

    def _decode_frames(self, latents: Tensor) -> Tensor:
        return self.model.decode(latents / self.model.config.scaling_factor).sample


class Taesd(_ImageAutoencoder):
    """The tiny autoencoder for Stable Diffusion's latents; deterministic."""

    name, variable, model_class = "taesd", "STBENCH_TAESD", "AutoencoderTiny"

    def _encode_frames(self, frames: Tensor, generator: torch.Generator | None) -> Tensor:
        return self.model.encode(frames).latents * self.model.config.scaling_factor

    def _decode_frames(self, latents: Tensor) -> Tensor:
        return self.model.decode(latents / self.model.config.scaling_factor).sample


def build_autoencoder(name: str, weights: str | None = None) -> Autoencoder:
    """Build an autoencoder by name.

    Args:
        name: "pixels", "sd-vae" or "taesd".
        weights: folder in the diffusers layout; else the environment variable STBENCH_SD_VAE or STBENCH_TAESD, else
            the user's cache.

    Raises:
        StbenchError: when the name, the weights or diffusers are missing.
    """
    builders: dict[str, Callable[[], Autoencoder]] = {
        "pixels": Autoencoder,
        "sd-vae": lambda: SdVae(weights),
        "taesd": lambda: Taesd(weights),
    }
    if name not in builders:
        raise unknown_name("autoencoder", name, builders)
    return builders[name]()


def _per_frame(clips: Tensor, work: Callable[[Tensor], Tensor]) -> Tensor:
    """Apply `work` to the frames of clips (B, C, F, H, W), a bounded number at once."""
    B, _, F, _, _ = clips.shape
    frames = clips.transpose(1, 2).flatten(0, 1)  # (B * F, C, H, W)
    done = torch.cat([work(part) for part in frames.split(FRAMES_AT_ONCE)])
    return done.unflatten(0, (B, F)).transpose(1, 2)


def _block_channels(config: Any) -> tuple[int, ...]:
    """Channels per resolution, whose number says how often the autoencoder halves the frame."""
    return getattr(config, "block_out_channels", None) or config.encoder_block_out_channels


def _weights_hash(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest()

"""How each video model of diffusers is called: which entries of its configuration follow from the run, which inputs no
run has, and what they are given.

A model is built from weights that its constructor draws, and sees one context: tokens (B, L, D), or the class as one of
them (`stbench.backbones.layers.ContextTokens`). Nothing is loaded and nothing is downloaded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, cast
from unittest import mock

import torch
from torch import Tensor, nn
from torch.fx.experimental import _config as fake_tensors

from stbench.errors import StbenchError

Config = Mapping[str, Any]


@dataclass(frozen=True)
class Figures:
    """What a run says of a network, as configurations of diffusers want it."""

    in_channels: int
    out_channels: int
    num_frames: int
    height: int
    width: int


@dataclass(frozen=True)
class Given:
    """What a call of a model is made of.

    Attributes:
        latents: (B, C, F, H, W)
        timesteps: (B,), or (B, F) where a model takes one for each frame.
        context: (B, L, D)
        fps: (B,) frames per second, where they are known.
    """

    latents: Tensor
    timesteps: Tensor
    context: Tensor
    fps: Tensor | None

    @property
    def full_mask(self) -> Tensor:
        """A mask (B, L) that leaves no token of the context out."""
        return torch.ones(self.context.shape[:2], dtype=torch.bool, device=self.context.device)


def _call_plainly(model: Any, given: Given) -> Tensor:
    told = {"timestep": given.timesteps, "encoder_hidden_states": given.context}
    return model(given.latents, **told, return_dict=False)[0]


def _call_wan(model: Any, given: Given) -> Tensor:
    told = {"timestep": _of_tokens(model, given), "encoder_hidden_states": given.context}
    return model(given.latents, **told, return_dict=False)[0]


def _of_tokens(model: Any, given: Given) -> Tensor:
    """Timesteps of clips (B,) as they are, those of frames (B, F) as those of their tokens (B, F * N)."""
    if given.timesteps.ndim == 1:
        return given.timesteps
    (_, side), (height, width) = cell(model.config), given.latents.shape[3:]
    return given.timesteps.repeat_interleave(height // side * (width // side), dim=1)


def _call_svd(model: Any, given: Given) -> Tensor:
    B, frames = len(given.latents), given.latents.transpose(1, 2)  # (B, F, C, H, W)
    fps = torch.full((B,), 7.0, device=frames.device) if given.fps is None else given.fps.float()
    others = torch.tensor([127.0, 0.02], device=frames.device).expand(B, -1)
    times = torch.cat([fps[:, None] - 1, others], dim=1)  # trained on one frame per second less than was meant
    frames = torch.cat([frames, torch.zeros_like(frames)], dim=2)
    return model(frames, given.timesteps, given.context, times, return_dict=False)[0].transpose(1, 2)


def _call_animatediff(model: Any, given: Given) -> Tensor:
    context = given.context.repeat_interleave(given.latents.shape[2], dim=0)  # (B * F, L, D)
    return model(given.latents, given.timesteps, context, return_dict=False)[0]


def _call_cogvideox(model: Any, given: Given) -> Tensor:
    frames = given.latents.transpose(1, 2)  # (B, F, C, H, W)
    missing = model.config.max_text_seq_length - given.context.shape[1]
    if missing < 0:
        raise StbenchError(
            f"conditioning.context: expected at most config.max_text_seq_length={model.config.max_text_seq_length} "
            f"tokens, got {given.context.shape[1]}"
        )
    context = nn.functional.pad(given.context, (0, 0, 0, missing))
    told = {"timestep": given.timesteps, "image_rotary_emb": _cogvideox_rotary(model, frames)}
    return model(frames, context, **told, return_dict=False)[0].transpose(1, 2)


def _cogvideox_rotary(model: Any, frames: Tensor) -> tuple[Tensor, Tensor] | None:
    """Rotary positions of frames (B, F, C, H, W) at the size that the model was built for, where it has such."""
    if not model.config.use_rotary_positional_embeddings:
        return None
    from diffusers.models.embeddings import get_3d_rotary_pos_embed

    grid = tuple(size // model.config.patch_size for size in frames.shape[3:])
    head_dim = model.config.attention_head_dim
    cos_and_sin = get_3d_rotary_pos_embed(head_dim, ((0, 0), grid), grid, frames.shape[1], device=frames.device)
    return cast(tuple[Tensor, Tensor], cos_and_sin)


def _call_hunyuan(model: Any, given: Given) -> Tensor:
    B, device = len(given.latents), given.latents.device
    pooled = torch.zeros(B, model.config.pooled_projection_dim, device=device)
    guidance = torch.full((B,), 6000.0, device=device) if model.config.guidance_embeds else None
    inputs = (given.latents, given.timesteps, given.context, given.full_mask, pooled, guidance)
    return model(*inputs, return_dict=False)[0]


def _call_ltx(model: Any, given: Given) -> Tensor:
    patch = model.config.patch_size
    patches = given.latents.transpose(1, 2)  # (B, F, C, H, W)
    patches = nn.functional.pixel_unshuffle(patches, patch)  # (B, F, C * patch^2, H / patch, W / patch)
    _, F, _, H, W = patches.shape
    out = model(
        patches.movedim(2, 4).flatten(1, 3),  # (B, F * H * W / patch^2, C * patch^2)
        given.context,
        _of_tokens(model, given),
        given.full_mask,
        num_frames=F,
        height=H,
        width=W,
        rope_interpolation_scale=(8 / 25, 32, 32),  # 8 frames of 25 a second and 32 pixels to a latent
        return_dict=False,
    )[0]
    out = out.unflatten(1, (F, H, W)).movedim(4, 2)
    return nn.functional.pixel_shuffle(out, patch).transpose(1, 2)


def _call_mochi(model: Any, given: Given) -> Tensor:
    inputs = (given.latents, given.context, given.timesteps, given.full_mask)
    with _mochi_without_values(model) if given.latents.is_meta else nullcontext():
        return model(*inputs, return_dict=False)[0]


@contextmanager
def _mochi_without_values(model: Any) -> Iterator[None]:
    """Let Mochi run on the meta device, where it cannot look which tokens its mask leaves, nor enter an autocast."""

    def rope(frequencies: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        angles = torch.einsum("nd,dhf->nhf", positions, frequencies)
        return angles.cos(), angles.sin()

    all_left = mock.patch.object(fake_tensors, "meta_nonzero_assume_all_nonzero", True)
    with all_left, mock.patch.object(model.rope, "_create_rope", rope):
        yield


def _no_facts(figures: Figures, config: Config) -> dict[str, Any]:
    return {}


def _sana_facts(figures: Figures, config: Config) -> dict[str, Any]:
    return {"sample_size": figures.height}


def _svd_facts(figures: Figures, config: Config) -> dict[str, Any]:
    return {"in_channels": 2 * figures.in_channels, "num_frames": figures.num_frames}


def _latte_facts(figures: Figures, config: Config) -> dict[str, Any]:
    return {"sample_size": figures.height, "video_length": figures.num_frames}


def _cogvideox_facts(figures: Figures, config: Config) -> dict[str, Any]:
    sample_frames = 4 * (figures.num_frames - 1) + 1  # of the video; one latent frame is four of them
    return {"sample_height": figures.height, "sample_width": figures.width, "sample_frames": sample_frames}


def _ltx_facts(figures: Figures, config: Config) -> dict[str, Any]:
    pixels = config.get("patch_size", 1) ** 2  # of a patch, which is cut out before the model sees it
    return {"in_channels": pixels * figures.in_channels, "out_channels": pixels * figures.out_channels}


@dataclass(frozen=True)
class Model:
    """One class of diffusers.

    Attributes:
        context_width: what its configuration calls the width D of a context token.
        facts: entries of its configuration that follow from the run; in_channels and out_channels do by themselves.
        call: the prediction (B, C or 2C, F, H, W).
        fills_in: the inputs that no run has, and what they are given.
        most_frames: what its configuration calls the largest number of frames, where it has one.
        per_frame: whether tokens may have timesteps of their own.
        reads_frame_rate: whether it is told frames per second.
    """

    context_width: str
    facts: Callable[[Figures, Config], dict[str, Any]] = _no_facts
    call: Callable[[Any, Given], Tensor] = _call_plainly
    fills_in: str = "nothing: latents, timesteps and context are all it takes"
    most_frames: str | None = None
    per_frame: bool = False
    reads_frame_rate: bool = False


MODELS = {
    "LatteTransformer3DModel": Model("caption_channels", _latte_facts),
    "UNet3DConditionModel": Model("cross_attention_dim"),
    "UNetSpatioTemporalConditionModel": Model(
        "cross_attention_dim",
        _svd_facts,
        _call_svd,
        "the latents of the conditioning image, C more input channels, with zeros; added_time_ids with "
        "conditioning.fps - 1 (6 where there is none), motion bucket 127, noise augmentation 0.02",
        reads_frame_rate=True,
    ),
    "UNetMotionModel": Model(
        "cross_attention_dim",
        call=_call_animatediff,
        fills_in="nothing; the context is repeated for every frame",
        most_frames="motion_max_seq_length",
    ),
    "CogVideoXTransformer3DModel": Model(
        "text_embed_dim",
        _cogvideox_facts,
        _call_cogvideox,
        "the context with tokens of zeros, up to max_text_seq_length; image_rotary_emb, where the configuration has "
        "it, with the positions of the latents' own grid",
    ),
    "WanTransformer3DModel": Model("text_dim", call=_call_wan, per_frame=True),
    "HunyuanVideoTransformer3DModel": Model(
        "text_embed_dim",
        call=_call_hunyuan,
        fills_in="pooled_projections with zeros; guidance with 6 (times 1000); the mask of the context with ones",
    ),
    "LTXVideoTransformer3DModel": Model(
        "caption_channels",
        _ltx_facts,
        _call_ltx,
        "rope_interpolation_scale with (8/25, 32, 32); the mask of the context with ones",
        per_frame=True,
    ),
    "MochiTransformer3DModel": Model("text_embed_dim", call=_call_mochi, fills_in="the mask of the context with ones"),
    "SanaVideoTransformer3DModel": Model("caption_channels", _sana_facts),
}
"""Class of diffusers -> how it is called."""


def cell(config: Config) -> tuple[int, int]:
    """What the frames, and what the height and the width of the latents must be multiples of."""
    if "block_out_channels" in config:  # a U-Net halves between its levels
        return 1, 2 ** (len(config["block_out_channels"]) - 1)
    patch = config["patch_size"]
    if isinstance(patch, list | tuple):
        return patch[0], patch[1]
    return config.get("patch_size_t") or 1, patch

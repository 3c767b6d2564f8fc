"""A video model of diffusers as a backbone: built from its configuration, called through `models`.

`model` names a class of diffusers, `config` what differs from the defaults of its constructor, which are the published
configuration of most. What follows from the run (channels, frames, size) is filled in, and so are the inputs that no
run has: `fills_in` says which, and how.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from stbench.backbones.base import UNCONDITIONAL, Conditioning
from stbench.backbones.diffusers_adapter.models import MODELS, Figures, Given, cell
from stbench.backbones.layers import ContextTokens
from stbench.errors import StbenchError, check_whole, unknown_name


class DiffusersAdapter(nn.Module):
    """A video model of diffusers.

    Attributes:
        fills_in: the inputs of the model that no run has, and what they are given.

    Raises:
        StbenchError: diffusers is missing, or too old for the model; figures that do not fit it.
    """

    model: Any

    def __init__(
        self,
        *,
        model: str,  # a class of diffusers, one of `MODELS`
        config: Mapping[str, Any] | None = None,  # what differs from the defaults of its constructor
        context_tokens: int = 77,  # L of the context that published costs refer to
        in_channels: int = 4,  # C of the latents
        sample_size: int | Sequence[int] = 32,  # H = W of the latents, or (H, W)
        num_frames: int = 16,  # F of the latents
        num_classes: int = 0,  # 0 for an unconditional network; the label `num_classes` is the null class
        learned_variance: bool = True,  # predict 2C channels, noise and variance
    ) -> None:
        super().__init__()
        if model not in MODELS:
            raise unknown_name("model", model, MODELS)
        height, width = (sample_size, sample_size) if isinstance(sample_size, int) else sample_size
        check_whole(1, in_channels=in_channels, num_frames=num_frames, context_tokens=context_tokens)
        check_whole(0, num_classes=num_classes)
        out_channels = in_channels * (2 if learned_variance else 1)
        figures = Figures(in_channels, out_channels, num_frames, height, width)
        self.rule, self.name = MODELS[model], model
        self.latent_shape = (in_channels, num_frames, height, width)
        self.model = _build(model, config or {}, figures)
        self._check_figures()
        self.context_tokens = context_tokens
        self.context = ContextTokens(self.model.config[self.rule.context_width], num_classes)

    @property
    def fills_in(self) -> str:
        """The inputs of the model that no run has, and what they are given."""
        return self.rule.fills_in

    @property
    def per_frame_timesteps(self) -> bool:
        """Frames may have a timestep each, where the model takes them and no token holds several frames."""
        return self.rule.per_frame and cell(self.model.config)[0] == 1

    @property
    def reads_frame_rate(self) -> bool:
        """Whether the model is told frames per second."""
        return self.rule.reads_frame_rate

    @property
    def context_shape(self) -> tuple[int, int] | None:
        """Of the context that published costs refer to; a network with classes has them in its place."""
        return None if self.context.class_embed else (self.context_tokens, self.context.width)

    def forward(self, noisy_latents: Tensor, timesteps: Tensor, conditioning: Conditioning = UNCONDITIONAL) -> Tensor:
        """Predict noise (and variance) of a batch of clips.

        Args:
            noisy_latents: (B, C, F, H, W), of the size that the network was built for.
            timesteps: (B,), or (B, F) where `per_frame_timesteps`.
            conditioning: a context (B, L, D), or class labels (B,); frames per second where the model takes them.

        Returns:
            (B, C or 2C, F, H, W)
        """
        if conditioning.num_images:
            raise StbenchError(f"{self.name} has no image-video joint training: set train.joint_images=0")
        if tuple(noisy_latents.shape[1:]) != self.latent_shape:
            expected = ", ".join(map(str, self.latent_shape))
            raise StbenchError(
                f"{self.name} expects latents (B, C, F, H, W) = (B, {expected}), got {tuple(noisy_latents.shape)}"
            )
        context = self.context(conditioning, noisy_latents)
        return self.rule.call(self.model, Given(noisy_latents, timesteps, context, conditioning.fps))

    def _check_figures(self) -> None:
        """Refuse latents that the model cannot cut up, or too many frames."""
        _, num_frames, height, width = self.latent_shape
        frames, side = cell(self.model.config)
        if num_frames % frames or height % side or width % side:
            raise StbenchError(
                f"{self.name} works on latents in cells of {frames} x {side} x {side}: "
                f"F x H x W = {num_frames} x {height} x {width} must be multiples of it"
            )
        most = self.rule.most_frames
        if most and num_frames > self.model.config[most]:
            raise StbenchError(f"num_frames={num_frames}: {self.name} has config.{most}={self.model.config[most]}")


def _build(name: str, config: Mapping[str, Any], figures: Figures) -> nn.Module:
    """A model of diffusers with the weights that its constructor draws, on torch's current default device."""
    model_class = _model_class(name)
    facts = {
        "in_channels": figures.in_channels,
        "out_channels": figures.out_channels,
        **MODELS[name].facts(figures, config),
    }
    known = inspect.signature(model_class).parameters
    for key in config:
        if key in facts:
            raise StbenchError(f"config.{key} of {name} follows from the run")
        if key not in known:
            raise unknown_name(f"key of {name}'s config", key, known)
    # Not all of its parameters are made on the default device.
    return model_class(**config, **facts).to(torch.get_default_device())


def _model_class(name: str) -> Any:
    try:
        import diffusers
    except ImportError as error:
        raise StbenchError(f"model={name} needs diffusers: pip install 'stbench[diffusers]'") from error
    if not hasattr(diffusers, name):
        raise StbenchError(
            f"model={name}: diffusers {diffusers.__version__} has no such class: pip install -U diffusers"
        )
    return getattr(diffusers, name)

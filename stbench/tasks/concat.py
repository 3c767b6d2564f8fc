"""Any backbone with channels for what is given of the clip behind those of the noise (`Conditioning.concat`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from stbench.backbones.base import UNCONDITIONAL, Conditioning
from stbench.errors import StbenchError
from stbench.settings.components import Component, load_target
from stbench.storage.weights import load_strictly
from stbench.tasks.restorations import Animation


class WithConcat(nn.Module):
    """A network with C + E channels, E of them of what is given; of its prediction those of the noise count.

    Args:
        backbone: built with `in_channels` = C + E.
        channels: C.
        concat_channels: E.
        learned_variance: whether the prediction has a variance behind the noise.
    """

    def __init__(self, backbone: nn.Module, channels: int, concat_channels: int, learned_variance: bool) -> None:
        super().__init__()
        self.backbone = backbone
        self.channels, self.concat_channels, self.learned_variance = channels, concat_channels, learned_variance

    @property
    def num_tokens(self) -> int | None:
        """See `backbones.base`."""
        return getattr(self.backbone, "num_tokens", None)

    @property
    def frame_blocks(self) -> Sequence[nn.Module]:
        """See `backbones.base`."""
        return getattr(self.backbone, "frame_blocks", ())

    @property
    def reads_frame_rate(self) -> bool:
        """See `backbones.base`."""
        return getattr(self.backbone, "reads_frame_rate", False)

    def forward(self, noisy_latents: Tensor, timesteps: Tensor, conditioning: Conditioning = UNCONDITIONAL) -> Tensor:
        """Predict noise (and variance) of (B, C, F, H, W) with `conditioning.concat` (B, E, F, H, W) beside it.

        Returns:
            (B, C or 2C, F, H, W)

        Raises:
            StbenchError: without `conditioning.concat` of that shape.
        """
        both = torch.cat([noisy_latents, self.checked(noisy_latents, conditioning.concat)], dim=1)
        prediction = self.backbone(both, timesteps, replace(conditioning, concat=None))
        parts = prediction.chunk(2 if self.learned_variance else 1, dim=1)
        return torch.cat([part[:, : self.channels] for part in parts], dim=1)

    def checked(self, noisy_latents: Tensor, concat: Tensor | None) -> Tensor:
        """What is given beside (B, C, F, H, W), refused where its shape is another than (B, E, F, H, W)."""
        B, _, *size = noisy_latents.shape
        expected = (B, self.concat_channels, *size)
        if concat is None or tuple(concat.shape) != expected:
            got = None if concat is None else tuple(concat.shape)
            raise StbenchError(f"conditioning.concat: expected (B, E, F, H, W) = {expected}, got {got}")
        return concat.to(noisy_latents)

    def start_from(self, state: Mapping[str, Tensor], origin: object) -> None:
        """Take the weights of a network to which nothing is given, and predict what it does, whatever is given.

        Args:
            state: of the same backbone for C channels.
            origin: where it came from, for messages.

        Raises:
            StbenchError: naming what does not fit.
        """
        own = self.backbone.state_dict()
        load_strictly(self.backbone, {name: self._widened(own.get(name), each) for name, each in state.items()}, origin)

    def _widened(self, own: Tensor | None, given: Tensor) -> Tensor:
        """A tensor for C channels as one for C + E: what is new in its input counts for nothing."""
        if own is None or own.shape == given.shape or own.ndim != given.ndim or own.shape[2:] != given.shape[2:]:
            return given
        places = [self._places(*sizes) for sizes in zip(own.shape[:2], given.shape[:2], strict=True)]
        if any(len(kept) != size for kept, size in zip(places, given.shape, strict=False)):
            return given
        widened = own.clone()
        widened[places[0]] = 0
        widened[torch.meshgrid(*places, indexing="ij")] = given
        return widened

    def _places(self, own: int, given: int) -> Tensor:
        """Where the channels of a dimension lie in the wider one, of which each C + E begin with C of the noise."""
        places = torch.arange(own)
        return places if own == given else places[places % (self.channels + self.concat_channels) < self.channels]


class WithAnimation(WithConcat):
    """A network with C channels that reads as such what `task=animate` gives (`animates`)."""

    def forward(self, noisy_latents: Tensor, timesteps: Tensor, conditioning: Conditioning = UNCONDITIONAL) -> Tensor:
        """See `WithConcat.forward`."""
        concat = self.checked(noisy_latents, conditioning.concat)
        first, mask, strength = concat.split([self.channels, 1, 1], dim=1)
        told = replace(
            conditioning,
            concat=None,
            first_frame=first[:, :, :1],
            motion_mask=mask[:, :, :1],
            motion_strength=strength[:, 0, 0, 0, 0],
        )
        return self.backbone(noisy_latents, timesteps, told)


def with_concat(component: Component, facts: Mapping[str, Any], concat_channels: int) -> nn.Module:
    """Build a backbone with room for what is given of a clip; where that is nothing, as it is.

    Args:
        component: of the backbone. One that says `animates` needs no room for what `task=animate` gives.
        facts: as of `RUN_FACTS`; their `in_channels` is C.
        concat_channels: E, 0 for nothing.
    """
    if not concat_channels:
        return component.construct(facts)
    C = facts["in_channels"]
    shape = (C, concat_channels, facts["learned_variance"])
    if concat_channels == Animation().num_channels(C) and getattr(load_target(component), "animates", False):
        return WithAnimation(component.construct(facts), *shape)
    return WithConcat(component.construct({**facts, "in_channels": C + concat_channels}), *shape)

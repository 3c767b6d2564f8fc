"""The diffusion prior of DALL-E 2 (arXiv 2204.06125, section 2.2), Make-A-Video's P (arXiv 2209.14792, section 3.1).

A causal transformer that reads, in this order, a text token by token, the text's embedding, the timestep, the noisy
embedding of an image and a learned query, and predicts from the query what the image's embedding was. An image's
embedding (D,) is a clip of D channels, one frame and one pixel.

What the paper leaves open follows DALLE2-pytorch, whose parameters, names and outputs it has. Class labels and learned
variance are additions of this benchmark.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stbench.backbones.base import UNCONDITIONAL, Conditioning
from stbench.backbones.layers import ContextTokens, Rotary
from stbench.backbones.prior.layers import Block, RescaledNorm, TimestepMlp
from stbench.backbones.prior.published import PriorLayout
from stbench.backbones.relative_position import CausalBias
from stbench.errors import StbenchError, check_whole

MAX_ROTATED = 32  # channels of a head


class DiffusionPrior(nn.Module):
    """From the embedding of a text to that of an image; both have as many channels as the latents.

    Raises:
        StbenchError: when the figures do not fit together, or the latents are more than one embedding.
    """

    published_layout = PriorLayout()

    def __init__(
        self,
        *,
        depth: int = 12,  # blocks
        num_heads: int = 12,  # of queries; keys and values have one
        head_dim: int = 64,  # channels of a head
        max_text_len: int = 77,  # tokens of a text besides its embedding; those that are missing are learned
        normformer: bool = True,  # a norm within each feed-forward
        num_timesteps: int = 1000,  # of which each has a vector; 0 for sinusoids, and timesteps that are no integers
        image_dropout: float = 0.0,  # share of training without the noisy embedding; above 0 guidance is without it too
        in_channels: int = 768,  # D
        num_frames: int = 1,
        sample_size: int = 1,
        num_classes: int = 0,  # whose tokens take the place of a text; the label `num_classes` is no text
        learned_variance: bool = False,  # predict 2D channels, the second half for the variance
    ) -> None:
        super().__init__()
        if (num_frames, sample_size) != (1, 1):
            raise StbenchError(
                f"a prior makes one embedding a clip (autoencoder.name=embedding): got latents of {num_frames} frames "
                f"of {sample_size}x{sample_size}"
            )
        check_whole(1, depth=depth, num_heads=num_heads, max_text_len=max_text_len, in_channels=in_channels)
        check_whole(2, head_dim=head_dim)
        check_whole(0, num_timesteps=num_timesteps, num_classes=num_classes)
        if head_dim % 2:
            raise StbenchError(f"head_dim={head_dim} must be even: pairs of channels are rotated")
        if not num_timesteps and (in_channels < 4 or in_channels % 2):
            raise StbenchError(
                f"num_timesteps=0 makes sinusoids of D={in_channels} channels: expected an even number above 2"
            )
        if not 0 <= image_dropout <= 1:
            raise StbenchError(f"image_dropout={image_dropout}: expected a share from 0 to 1")
        self.in_channels, self.num_classes, self.max_text_len = in_channels, num_classes, max_text_len
        self.num_timesteps, self.image_dropout = num_timesteps, image_dropout
        rotary = Rotary(min(MAX_ROTATED, head_dim))

        self.context = ContextTokens(in_channels, num_classes)
        self.null_encodings = nn.Parameter(torch.randn(1, max_text_len, in_channels))
        self.null_text = nn.Parameter(torch.randn(1, 1, in_channels))
        self.null_image = nn.Parameter(torch.randn(1, in_channels))
        self.timestep_embed = nn.Embedding(num_timesteps, in_channels) if num_timesteps else TimestepMlp(in_channels)
        self.query = nn.Parameter(torch.randn(in_channels))
        self.position_bias = CausalBias(num_heads)
        self.blocks = nn.ModuleList(Block(in_channels, num_heads, head_dim, rotary, normformer) for _ in range(depth))
        self.norm_out = RescaledNorm(in_channels)
        self.proj_out = nn.Linear(in_channels, in_channels * (2 if learned_variance else 1), bias=False)

    @property
    def context_shape(self) -> tuple[int, int]:
        """(L, D) of a text with all its tokens."""
        return self.max_text_len + 1, self.in_channels

    def forward(self, noisy_latents: Tensor, timesteps: Tensor, conditioning: Conditioning = UNCONDITIONAL) -> Tensor:
        """Predict the embeddings of images (and a variance).

        Args:
            noisy_latents: (B, D, 1, 1, 1)
            timesteps: (B,)
            conditioning: a `context` (B, L, D) of which the last token is the embedding of the text and those before it
                are the text's own, or class labels (B,); a token of zeros is none.

        Returns:
            (B, D or 2D, 1, 1, 1)
        """
        text = self._text(noisy_latents, conditioning)  # (B, L, D)
        self._check_input(noisy_latents, timesteps, conditioning, text.shape[1])
        image = torch.where(self._dropped(text), self.null_image, noisy_latents.flatten(1))  # (B, D)
        tokens = torch.cat(
            [
                self._padded(text),  # (B, T + 1, D)
                self.timestep_embed(timesteps)[:, None],
                image[:, None],
                self.query.expand(len(image), 1, -1),
            ],
            dim=1,
        )
        out = self.proj_out(self.norm_out(self.transform(tokens)[:, -1]))
        return out[:, :, None, None, None]

    def transform(self, tokens: Tensor) -> Tensor:
        """Take tokens (B, N, D) through all blocks; none sees those behind it."""
        bias = self.position_bias(tokens.shape[1])
        for block in self.blocks:
            tokens = block(tokens, bias)
        return tokens

    def _text(self, noisy_latents: Tensor, conditioning: Conditioning) -> Tensor:
        """The tokens of each text (B, L, D), zeros where the class says that there is none."""
        text, labels = self.context(conditioning, noisy_latents), conditioning.class_labels
        if conditioning.context is None and self.num_classes and labels is not None:
            text = text * (labels != self.num_classes)[:, None, None]
        return text

    def _padded(self, text: Tensor) -> Tensor:
        """Tokens (B, L, D) with learned ones in the place of those that are missing or none: (B, T + 1, D)."""
        missing = self.max_text_len + 1 - text.shape[1]
        tokens = torch.cat([F.pad(text[:, :-1], (0, 0, 0, missing)), text[:, -1:]], dim=1)
        null = torch.cat([self.null_encodings, self.null_text], dim=1)
        return torch.where(tokens.any(dim=-1, keepdim=True), tokens, null)

    def _dropped(self, text: Tensor) -> Tensor:
        """Whose noisy embedding is not shown (B, 1): drawn in training, and otherwise those without a text."""
        if self.training:
            return torch.rand(len(text), 1, device=text.device) < self.image_dropout
        told = text.flatten(1).any(dim=1, keepdim=True)
        return ~told if self.image_dropout else torch.zeros_like(told)

    def _check_input(
        self, noisy_latents: Tensor, timesteps: Tensor, conditioning: Conditioning, num_tokens: int
    ) -> None:
        """Refuse input of the wrong shape, in words."""
        shape, expected = tuple(noisy_latents.shape), (len(noisy_latents), self.in_channels, 1, 1, 1)
        if shape != expected:
            raise StbenchError(f"DiffusionPrior expects latents (B, D, 1, 1, 1) = {expected}, got {shape}")
        if not 1 <= num_tokens <= self.max_text_len + 1:
            raise StbenchError(
                f"DiffusionPrior reads a text's embedding and up to max_text_len={self.max_text_len} tokens before it: "
                f"got a context of {num_tokens} tokens, expected 1 to {self.max_text_len + 1}"
            )
        if self.num_timesteps and timesteps.is_floating_point():
            raise StbenchError(
                f"num_timesteps={self.num_timesteps}: this DiffusionPrior knows whole timesteps alone, got "
                f"{timesteps.dtype}; variant.num_timesteps=0 takes any"
            )
        if conditioning.num_images:
            raise StbenchError("DiffusionPrior has no image-video joint training: set train.joint_images=0")
